"""Images made and edited: requests checked before they are sent, answers as images (services §1, §2)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError, RequestError
from zg_core.tasks.forms import FilePart, part_of
from zg_core.tasks.pictures import BIGGEST, Image, decoded, picture_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.receipts.model import Receipt

__all__ = ["MOST_IMAGES", "edit_payload", "generation_payload", "image_urls", "images_of"]

MOST_IMAGES = 10
"""Images of one request: what servers of this form take at most."""
_SIZE = re.compile(r"[1-9]\d{1,4}x[1-9]\d{1,4}")
_FORMS = ("b64_json", "url")


def generation_payload(
    prompt: str, *, model: str | None, n: int, size: str | None, form: str, more: Mapping[str, Any]
) -> dict[str, Any]:
    """The request for `n` images of `prompt`.

    Raises:
        ConfigError: nothing was sent; `n` (code ``bad_count``), `size` (``bad_size``), the prompt or the form of the
            answer (``bad_request_body``) is none.
    """
    payload: dict[str, Any] = {} if model is None else {"model": model}
    return {**payload, **_common(prompt, n, size, form), **more}


def edit_payload(
    image: Any,
    prompt: str,
    *,
    model: str | None,
    n: int,
    size: str | None,
    form: str,
    mask: Any,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The form for `n` edits of an image, or of several.

    Raises:
        ConfigError: nothing was sent; as above, or an image is none (code ``bad_image``).
    """
    pictures = [_picture(one) for one in (image if isinstance(image, list | tuple) else [image])]
    if not pictures:
        raise ConfigError("no image to edit is given", code="bad_image", hint="edit(image, prompt)")
    payload: dict[str, Any] = {} if model is None else {"model": model}
    payload |= {**_common(prompt, n, size, form), **more, "image": pictures}
    if mask is not None:
        payload["mask"] = _picture(mask)
    return payload


def _common(prompt: str, n: int, size: str | None, form: str) -> dict[str, Any]:
    if not isinstance(prompt, str) or not prompt.strip():
        raise ConfigError("the prompt is empty", code="bad_request_body", hint="say in words what to draw")
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_IMAGES:
        raise ConfigError(
            f"n is {n!r}: from 1 to {MOST_IMAGES} images can be asked for at once; nothing was sent",
            code="bad_count",
            hint="ask several times for more",
        )
    if size is not None and size != "auto" and not (isinstance(size, str) and _SIZE.fullmatch(size)):
        raise ConfigError(
            f"size is {size!r}, not WIDTHxHEIGHT in pixels; nothing was sent",
            code="bad_size",
            hint='size="1024x1024", or leave it out',
        )
    if form not in _FORMS:
        message = f"response_format is {form!r}; images come as {' or '.join(_FORMS)}"
        raise ConfigError(message, code="bad_request_body", hint='response_format="b64_json"')
    payload: dict[str, Any] = {"prompt": prompt, "n": n}
    if size is not None:
        payload["size"] = size
    return {**payload, "response_format": form}


def _picture(given: Any) -> FilePart:
    data = given.data if isinstance(given, Image) else given
    part = part_of(data, what="an image", most=BIGGEST)
    kind = picture_type(part.head)
    if not kind:
        raise ConfigError(
            f"{part.name} is no PNG, JPEG, WebP or GIF by its first bytes; nothing was sent",
            code="bad_image",
            hint="give the bytes or the path of an image",
        )
    name = part.name if "." in part.name else f"image.{kind.partition('/')[2]}"
    return replace(part, content_type=kind, name=name)


def images_of(body: Mapping[str, Any], receipt: Receipt | None = None) -> list[Image | str]:
    """What an answer holds, in its order: images, or the addresses of those that are to be fetched.

    Raises:
        RequestError: it is no answer with images (code ``malformed_reply``).
    """
    entries = body.get("data")
    found: list[Image | str] = []
    for entry in entries if isinstance(entries, list) else [None]:
        said = entry if isinstance(entry, dict) else {}
        data, url, words = decoded(said.get("b64_json")), said.get("url"), said.get("revised_prompt")
        if data is not None:
            found.append(Image(data, words if isinstance(words, str) else ""))
        elif isinstance(url, str) and url:
            found.append(url)
        else:
            raise RequestError(
                "the answer does not hold images",
                code="malformed_reply",
                hint="choose another provider; the receipt is in error.receipt",
                receipt=receipt,
            )
    return found


def image_urls(found: Sequence[Image | str]) -> list[str]:
    """The addresses among what an answer holds."""
    return [one for one in found if isinstance(one, str)]
