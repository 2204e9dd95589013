"""Images by rule: what is asked for, and the answer in OpenAI's shape, always as base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from zg_core.localnet.media.forms import read_form
from zg_core.localnet.media.png import draw
from zg_core.localnet.model.json import compact_json
from zg_core.localnet.model.request import parse_body
from zg_core.localnet.model.values import InvalidRequestError, read_string, wrong_type

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST: Final = 10
"""Images in one request."""
_SIZE: Final = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")
_LARGEST: Final = 2048
_DEFAULT_SIZE: Final = "256x256"
_PICTURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8")


@dataclass(frozen=True)
class ImageRequest:
    """A request for images: made from words, or from words and pictures."""

    prompt: str
    count: int
    width: int
    height: int
    response_format: str
    pictures: tuple[bytes, ...] = ()


def read_generation(body: bytes) -> ImageRequest:
    """A request to `/images/generations`.

    Raises:
        InvalidRequestError: What a server would refuse.
    """
    return _read(parse_body(body), ())


def read_edit(body: bytes) -> ImageRequest:
    """A request to `/images/edits`, as JSON or as a form.

    Raises:
        InvalidRequestError: What a server would refuse.
    """
    if body.lstrip()[:1] == b"{":
        data = parse_body(body)
        given = [data.get("image"), *(data.get("ref_images") or [])]
        return _read(data, tuple(_decoded(one) for one in given if one is not None), edit=True)
    form = read_form(body)
    fields: dict[str, Any] = {name: values[-1] for name, values in form.fields.items()}
    if "n" in fields:
        fields["n"] = int(fields["n"]) if re.fullmatch(r"\d{1,4}", fields["n"]) else fields["n"]
    pictures = [content for name in ("image", "image[]") for _, content in form.files.get(name, [])]
    return _read(fields, tuple(pictures), edit=True)


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise wrong_type("image", "a string", value)
    try:
        return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError("Invalid 'image': not base64.", "image", "invalid_image") from None


def _read(data: Mapping[str, Any], pictures: tuple[bytes, ...], *, edit: bool = False) -> ImageRequest:
    prompt = read_string(data, "prompt", required=True)
    if edit and not pictures:
        raise InvalidRequestError("Missing required parameter: 'image'.", "image", "missing_required_parameter")
    if any(not picture.startswith(_PICTURES) for picture in pictures):
        raise InvalidRequestError("Invalid image file: no png, jpeg, webp or gif.", "image", "invalid_image")
    count = data.get("n", 1)
    count = 1 if not isinstance(count, int | float) or isinstance(count, bool) else int(count)
    if not 1 <= count <= MOST:
        raise InvalidRequestError(
            f"Invalid 'n': expected a value from 1 to {MOST}, but got {count} instead.", "n", "invalid_value"
        )
    size = read_string(data, "size") or _DEFAULT_SIZE
    found = _SIZE.fullmatch(_DEFAULT_SIZE if size == "auto" else size)
    if found is None or max(int(found[1]), int(found[2])) > _LARGEST:
        raise InvalidRequestError(
            f"Invalid value: '{size}'. Supported values are 'auto' and WIDTHxHEIGHT up to {_LARGEST}.",
            "size",
            "invalid_value",
        )
    form = read_string(data, "response_format") or "b64_json"
    if form not in ("b64_json", "url"):
        raise InvalidRequestError(
            f"Invalid value: '{form}'. Supported values are: 'b64_json' and 'url'.", "response_format", "invalid_value"
        )
    return ImageRequest(prompt, count, int(found[1]), int(found[2]), form, pictures)


def paint(request: ImageRequest, *, model: str, created: int) -> bytes:
    """The answer: `count` pictures that depend on the words, the pictures given, and their place."""
    seed = "|".join((model, request.prompt, *(hashlib.sha256(one).hexdigest() for one in request.pictures)))
    entries = [
        {"b64_json": base64.b64encode(draw(f"{seed}|{index}", request.width, request.height)).decode()}
        for index in range(request.count)
    ]
    return compact_json({"created": created, "data": entries}).encode()
