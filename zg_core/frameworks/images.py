"""Pictures in messages: the one form in which providers read them, and what can be said of one before it is sent."""

from __future__ import annotations

import base64
import re
import string
from typing import Any

from zg_core.errors import ConfigError
from zg_core.tasks.pictures import picture_type

__all__ = ["data_url", "image_part"]

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?);base64,", re.IGNORECASE)
_DIGITS = string.ascii_letters.encode() + b"0123456789+/"
_PIECE = 64 * 1024
_HINT = "give an https address, or base64.b64encode(path.read_bytes()).decode() with its mime_type"


def data_url(data: Any, kind: Any, place: str) -> str:
    """Base64 as an address; what is an address already stays one.

    Raises:
        ConfigError: it is neither text nor the bytes of a picture (code ``bad_image``).

    Example:
        >>> data_url("R0lGODlh", "image/gif", "content[0]"), data_url(b"GIF89a", None, "content[0]")
        ('data:image/gif;base64,R0lGODlh', 'data:;base64,R0lGODlh')
    """
    if isinstance(data, bytes | bytearray | memoryview):
        if not picture_type(bytes(data[:64])):  # it may be anything, base64 as well
            raise _bad(f"the image at {place} is bytes, and no picture of a known form")
        data = base64.b64encode(data).decode()
    if not isinstance(data, str):
        raise _bad(f"the image at {place} is a {type(data).__name__}")
    if data[:5].lower() == "data:":
        return data
    return f"data:{kind if isinstance(kind, str) else ''};base64,{data}"


def image_part(url: Any, place: str, detail: Any = None) -> dict[str, Any]:
    """The part of a content that shows a picture, once it is known that there can be one.

    A missing type is read from the first bytes. What is behind an ``https`` address is read by the provider: the
    signature covers the address then, not the picture.

    Args:
        url: Its address, or its data as one.
        place: Where it stands, for the error.
        detail: ``"low"``, ``"high"`` or ``"auto"``.

    Raises:
        ConfigError: there is no picture to be had (code ``bad_image``); nothing was sent.

    Example:
        >>> image_part("data:;base64,R0lGODlh", "content[0]")
        {'type': 'image_url', 'image_url': {'url': 'data:image/gif;base64,R0lGODlh'}}
    """
    if not isinstance(url, str) or not url:
        raise _bad(f"the image at {place} has no address and no data")
    if url[:5].lower() == "data:":
        url = _checked(url, place)
    elif url[:8].lower() != "https://" and url[:7].lower() != "http://":
        raise _bad(f"the image at {place} is at {url[:40]!r}, which no provider can read")
    image = {"url": url, **({"detail": detail} if detail else {})}
    return {"type": "image_url", "image_url": image}


def _checked(url: str, place: str) -> str:
    found = _DATA_URL.match(url)
    if found is None or not _is_base64(url, found.end()):
        raise _bad(f"the image at {place} is empty, or no base64")
    kind, known = found[1].lower(), picture_type(_beginning(url, found.end()))
    if not kind.startswith("image/"):
        if not known or kind not in ("", "application/octet-stream"):
            said = f"is said to be {kind}" if kind else "has no mime_type, and its first bytes tell none"
            raise _bad(f"the image at {place} {said}")
        return f"data:{known}{found[2]};base64,{url[found.end() :]}"
    return f"data:image/jpeg{found[2]};base64,{url[found.end() :]}" if kind == "image/jpg" else url


def _is_base64(text: str, start: int = 0) -> bool:
    r"""Whether this is base64 of something, lines allowed; a large picture is looked at in pieces, not decoded.

    Example:
        >>> [_is_base64(each) for each in ("QUJD", "QUI=", "QUJD\nQQ==", "QUJ", "QU=I", "QQ===", "Q-_D", "")]
        [True, True, True, False, False, False, False, False]
    """
    if not text.isascii():
        return False
    pieces = (text[place : place + _PIECE].encode() for place in range(start, len(text), _PIECE))
    left = b"".join([piece.translate(None, _DIGITS) for piece in pieces])  # the padding, and line breaks
    padding = left.translate(None, b"\r\n")
    size = len(text) - start - len(left) + len(padding)
    fits = padding in (b"", b"=", b"==") and text.rstrip("\r\n").endswith(padding.decode())
    return fits and size > len(padding) and size % 4 == 0


def _beginning(text: str, start: int) -> bytes:
    """The first bytes of base64 that is known to be some."""
    some = text[start : start + 120].replace("\r", "").replace("\n", "")
    return base64.b64decode(some[: len(some) // 4 * 4])


def _bad(message: str) -> ConfigError:
    return ConfigError(message, code="bad_image", hint=_HINT)
