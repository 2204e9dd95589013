"""Images as bytes: what they are, how large, and how they stand in an answer. No decoder, no dependency."""

from __future__ import annotations

import base64
import binascii
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zg_core.crypto import sha256_hex
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

__all__ = ["Image", "images_asked", "images_in", "picture_type", "size_of", "urls_in"]

BIGGEST = 50 * 1024 * 1024
"""Bytes of an image that a provider still decodes (services §1.1)."""
_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


@dataclass(frozen=True, slots=True)
class Image:
    r"""One image of an answer.

    Attributes:
        data: Its bytes.
        revised_prompt: What the model made of the prompt, "" if it does not say.
        url: Where it was fetched from, "" where it stood in the answer.

    Example:
        >>> Image(b"GIF89a" + b"\x02\x00\x03\x00").size
        (2, 3)
    """

    data: bytes = field(repr=False)
    revised_prompt: str = ""
    url: str = ""

    @property
    def sha256(self) -> str:
        """Lower-case hex hash of the bytes: what the provider signs."""
        return sha256_hex(self.data)

    @property
    def content_type(self) -> str:
        """What it is by its first bytes, ``application/octet-stream`` where that is not known."""
        return picture_type(self.data) or "application/octet-stream"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels as its header says; None where it says none that is understood."""
        return size_of(self.data)

    @property
    def b64(self) -> str:
        """The bytes as base64."""
        return base64.b64encode(self.data).decode()

    def save(self, path: str | PathLike[str]) -> Path:
        """Write it to a new file; an ending that says what it is is added where `path` has none.

        Raises:
            ConfigError: there is such a file (code ``file_exists``), or it cannot be written (``unwritable_file``).
        """
        place = Path(path)
        if not place.suffix:
            place = place.with_suffix(_ENDINGS.get(self.content_type, ".bin"))
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            message = f"there is a file {place.name} already"
            raise ConfigError(message, code="file_exists", hint="give another name") from None
        except OSError as error:
            raise ConfigError(
                f"{place.name} cannot be written: {error.strerror}", code="unwritable_file", hint="check the folder"
            ) from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.data)
        return place

    def _repr_png_(self) -> bytes | None:
        return self.data if self.content_type == "image/png" else None

    def _repr_jpeg_(self) -> bytes | None:
        return self.data if self.content_type == "image/jpeg" else None

    def __repr__(self) -> str:
        shown = "unknown size" if self.size is None else "{}x{}".format(*self.size)
        return f"Image({self.content_type}, {shown}, {len(self.data)} bytes, sha256={self.sha256[:16]}…)"


def picture_type(data: bytes) -> str:
    """The content type of an image by its first bytes; "" if it is none of PNG, JPEG, WebP and GIF.

    Example:
        >>> picture_type(bytes.fromhex("89504e470d0a1a0a")), picture_type(b"text")
        ('image/png', '')
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/gif" if data[:6] in (b"GIF87a", b"GIF89a") else ""


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height by the header of an image; None where it has none that is understood."""
    kind = picture_type(data)
    try:
        if kind == "image/png" and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
        elif kind == "image/gif":
            width, height = struct.unpack_from("<HH", data, 6)
        elif kind == "image/jpeg":
            return _jpeg_size(data)
        elif kind == "image/webp":
            return _webp_size(data)
        else:
            return None
    except struct.error:
        return None
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        if marker in (0x01, *range(0xD0, 0xD8)):
            place += 2
            continue
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20:21] == b"\x2f":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def decoded(text: Any) -> bytes | None:
    """Base64 as Go's standard decoder reads it: padding is required, line ends inside count for nothing."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return None


def images_asked(request: Mapping[str, Any]) -> int:
    """Images that a request asks for, as its provider reads it: `n` where it is a number (in a form, digits), else 1.

    Example:
        >>> images_asked({"n": 2.9}), images_asked({"n": "2"}), images_asked({})
        (2, 2, 1)
    """
    n = request.get("n")
    if isinstance(n, str) and n.isascii() and n.isdigit() and len(n) < 4:
        n = int(n)
    counts = isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 1000  # false for NaN, too
    return int(n) if counts and n is not None else 1


def urls_in(said: dict[str, Any]) -> list[str]:
    """The addresses of an answer that holds nothing else; [] where it holds images, or is none."""
    entries = said.get("data")
    urls = [entry.get("url") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    found = [url for url in urls if isinstance(url, str) and url]
    return found if isinstance(entries, list) and len(found) == len(entries) else []


def images_in(body: bytes | dict[str, Any], *, most: int | None = None) -> list[bytes] | None:
    """The images of an answer as its provider decodes them; None where it cannot: then it signs and bills otherwise.

    Args:
        body: The answer.
        most: Images that were asked for; an answer with more counts as one that cannot be decoded.
    """
    if isinstance(body, bytes):
        try:
            said = parse_json(body)
        except (ValueError, RecursionError):
            return None
    else:
        said = body
    entries = said.get("data") if isinstance(said, dict) else None
    if not isinstance(entries, list) or (most is not None and len(entries) > most):
        return None
    found = [decoded(entry.get("b64_json")) if isinstance(entry, dict) else None for entry in entries]
    images = [image for image in found if image is not None and len(image) <= BIGGEST]
    return images if len(images) == len(entries) else None
