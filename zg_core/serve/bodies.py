"""Bodies of requests: read whole, within a bound of bytes and of time; and what they ask for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.jsontext import encode_body, parse_json
from zg_core.serve.answers import HttpError
from zg_core.tasks.forms import fields_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope

__all__ = ["Gone", "parsed", "read_body", "renamed"]

_SECONDS = 120.0
_DRAINED = 256 * 1024 * 1024
"""What is read and thrown away of a body that is refused: clients listen for the answer once they have sent it all."""
_MODEL = b'name="model"'
_BOUNDING = frozenset({"max_completion_tokens", "max_tokens", "messages", "model", "n", "stream", "stream_options"})


class Gone(Exception):
    """Whoever asked is not there any more."""


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The body of a request.

    Raises:
        HttpError: it is larger than `most` bytes (413), or takes too long (408).
        Gone: it ended early.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            return await _read(receive, most, told=_length(scope))
    except TimeoutError:
        raise HttpError(408, "body_too_slow", f"the request takes longer than {_SECONDS:.0f} s") from None


async def _read(receive: Receive, most: int, told: int | None) -> bytes:
    parts: list[bytes] = []
    size, kept = 0, told is None or told <= most
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            kept = False
            parts.clear()
        if kept:
            parts.append(part)
        if not message.get("more_body", False) or size > _DRAINED:
            break
    if kept:
        return b"".join(parts)
    raise HttpError(
        413,
        "body_too_large",
        f"the request is larger than {most} bytes",
        "send less, or let the owner raise --max-body",
    )


def _length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def parsed(data: bytes, form: str = "json") -> dict[str, Any]:
    """The JSON object, or the fields of the form, that a request is; what readers would read differently is refused.

    Args:
        data: Its bytes.
        form: How requests of the task are encoded: ``"json"``, or ``"multipart"``, which may be JSON as well.

    Raises:
        ConfigError: it is none, a name is there twice, or one that bounds its cost is spelt in another case, which some
            providers read all the same (code ``bad_request_body``).
    """
    if form == "multipart" and data.startswith(b"--"):
        return _fields(data)
    try:
        payload = parse_json(data, unique=True)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the request is not JSON: {str(error)[:200]}") from None
    if not isinstance(payload, dict):
        raise _bad(f"the request is a JSON {type(payload).__name__}, not an object")
    for name in payload:
        if name not in _BOUNDING and name.lower() in _BOUNDING:
            raise _bad(f"the request names {name[:40]!r}, which is written {name.lower()!r}")
    if not isinstance(payload.get("model"), str | None):
        raise _bad(f"model is a {type(payload['model']).__name__}, not text")
    if not isinstance(payload.get("stream"), bool | None):
        raise _bad(f"stream is a {type(payload['stream']).__name__}, not true or false")
    return payload


def _fields(data: bytes) -> dict[str, Any]:
    fields, end = fields_in(data), data.partition(b"\r\n")[0] + b"--"
    if not fields or not data.rstrip(b"\r\n").endswith(end):
        raise ConfigError(
            "the request is no whole form", code="bad_request_body", hint="send multipart/form-data, up to its end"
        )
    if data.count(_MODEL) != ("model" in fields) or not isinstance(fields.get("model"), str | None):
        raise ConfigError("a form names one model, as text", code="bad_request_body", hint="send model=… once")
    return {**fields, "stream": fields.get("stream") == "true"}


def renamed(payload: Mapping[str, Any], model: str, data: bytes = b"") -> bytes:
    """The request, for the model that stands behind the name that was asked for; the rest stays in its order.

    Example:
        >>> renamed({"model": "mine", "n": 1}, "theirs"), renamed({"model": "mine", "n": 1}, "")
        (b'{"model":"theirs","n":1}', b'{"n":1}')
    """
    if data.startswith(b"--"):
        return _form_renamed(data, model.encode())
    if not model:
        return encode_body({name: value for name, value in payload.items() if name != "model"})
    if "model" in payload:
        return encode_body({name: model if name == "model" else value for name, value in payload.items()})
    return encode_body({"model": model, **payload})


def _form_renamed(data: bytes, model: bytes) -> bytes:
    """A form whose part for the model, of which there is one or none (`_fields`), says `model`, or is gone without."""
    mark = data.partition(b"\r\n")[0]
    place = data.find(_MODEL)
    if place < 0:
        begin = end = 0
    else:
        begin = data.rindex(mark, 0, place)
        end = data.index(b"\r\n" + mark, place) + 2
    said = mark + b"\r\nContent-Disposition: form-data; " + _MODEL + b"\r\n\r\n" + model + b"\r\n" if model else b""
    return data[:begin] + said + data[end:]


def _bad(message: str) -> ConfigError:
    return ConfigError(message, code="bad_request_body", hint="send one JSON object")
