"""Chat: how a request is made to stream, which model it names, and what its answer says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.tasks.replies import content_text, first_choice

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["for_model", "streaming", "text_of"]


def text_of(body: Mapping[str, Any]) -> str:
    """Content of the first choice of a response, "" if it has none."""
    message = (first_choice(body) or {}).get("message")
    return content_text(message.get("content")) if isinstance(message, dict) else ""


def for_model(payload: Mapping[str, Any], model: str) -> dict[str, Any]:
    """`payload`, which names no model, for `model`."""
    return {"model": model, **{name: value for name, value in payload.items() if name != "model"}}


def streaming(payload: Mapping[str, Any]) -> dict[str, Any]:
    """`payload` for a stream that reports its usage."""
    options = payload.get("stream_options")
    # Asking for usage ourselves also keeps the provider from rewriting the body (0g-direct §4.3).
    return {
        **payload,
        "stream": True,
        "stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True},
    }
