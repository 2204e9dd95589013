"""How a response is read: bytes are hashed as they pass, events are understood, and the end is decided."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from zg_core.errors import RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.jsontext import parse_json
from zg_core.redaction import blot
from zg_core.sse import DONE
from zg_core.types import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.call import Call

__all__ = ["MAX_REPLY_BYTES", "consume", "event", "id_of", "take"]

MAX_REPLY_BYTES = 64 * 1024 * 1024


async def consume(call: Call, parts: list[bytes]) -> None:
    """Read the whole response into `parts`."""
    assert call.response is not None  # noqa: S101 - _open returns with one
    try:
        async for chunk in call.response.chunks():
            take(call, chunk)
            parts.append(chunk)
    finally:
        await call.response.close()


def take(call: Call, chunk: bytes) -> None:
    """Hash the next bytes of the response.

    Raises:
        BodyBroken: the response has grown too large.
    """
    if call.exchange.size == 0:
        call.receipt.first_byte_seconds = time.monotonic() - call.started
    call.exchange.feed(chunk)
    if call.kept is not None:
        call.kept.append(chunk)
    if call.exchange.size > MAX_REPLY_BYTES:
        raise BodyBroken(f"the reply is larger than {MAX_REPLY_BYTES} bytes")


def event(call: Call, data: bytes) -> dict[str, Any] | None:
    """Parse one event and note what the receipt needs of it; None for ``[DONE]``.

    Raises:
        RequestError: it is no JSON object, or carries the provider's error.
    """
    if data == DONE:
        call.done = True
        return None
    try:
        event = parse_json(data)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise RequestError("the stream holds an event that is no JSON object", code="malformed_reply")
    if not call.exchange.body_id:
        call.exchange.body_id = id_of(event)
    if event.get("usage") is not None:
        call.usage = Usage.parse(event["usage"]) or call.usage
    choices = event.get("choices")
    if choices:
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            delta = choice.get("delta")
            content = delta.get("content") if isinstance(delta, dict) else None
            if content and isinstance(content, str):
                call.text.append(content)
            if choice.get("finish_reason"):
                call.finished = True
    elif (error := event.get("error")) is not None:
        message = blot(str(error.get("message") if isinstance(error, dict) else error))[:2000]
        raise RequestError(f"the provider broke off with an error: {message}", code="error_in_stream")
    return event


def id_of(body: Mapping[str, Any]) -> str:
    """The ``id`` that a body or event names, "" if it names none."""
    value = body.get("id")
    return value if isinstance(value, str) else ""
