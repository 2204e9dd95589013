"""What a provider changes in an answer before it hashes and forwards it (0g-direct §4.4)."""

from __future__ import annotations

from typing import Any

from zg_core.localnet.provider import gojson

_LEAKS = frozenset({"provider", "is_byok", "cost", "cost_details", "native_finish_reason", "reasoning_details"})
_LEAKS_IF_ZERO = frozenset({"audio_tokens", "video_tokens", "image_tokens", "cache_write_tokens"})
_OPAQUE = frozenset({"content", "arguments"})


def sanitize_body(body: bytes, *, chat_id: str, model: str | None = None) -> bytes:
    """An answer with the provider's own id, without the fields that tell which vendor answered.

    Args:
        body: a JSON document.
        chat_id: replaces a top-level ``id`` if there is one.
        model: replaces ``model`` (the name of a fine-tuned adapter, where its base model answered).

    Returns:
        The document encoded anew, or `body` itself if nothing had to change or it is no JSON object.
    """
    try:
        document = gojson.loads_keeping_numbers(body)
    except ValueError:
        return body
    if not isinstance(document, dict):
        return body
    changed = _strip(document)
    if "id" in document:
        document["id"] = chat_id
        changed = True
    if model is not None and isinstance(document.get("model"), str):
        document["model"] = model
        changed = True
    return gojson.dumps(document, escape_html=False) if changed else body


def sanitize_event(event: bytes, *, chat_id: str, model: str | None = None) -> bytes:
    """One server-sent event with each JSON payload sanitised and comment lines dropped; may become empty."""
    lines = []
    for raw in event.splitlines(keepends=True):
        line, text = raw, raw.strip()
        if text.startswith(b":"):
            continue
        payload = text.removeprefix(b"data:").strip() if text.startswith(b"data:") else b""
        if payload.startswith(b"{"):
            cleaned = sanitize_body(payload, chat_id=chat_id, model=model)
            if cleaned is not payload:
                line = b"data: " + cleaned + raw[len(raw.rstrip(b"\r\n")) :]
        lines.append(line)
    return b"".join(lines) if any(line.strip() for line in lines) else b""


def event_payload(event: bytes) -> dict[str, Any] | None:
    """The JSON object in an event's data line, numbers as text; None for [DONE], comments and anything else."""
    for line in event.splitlines():
        if line.startswith(b"data:"):
            payload = line[5:].strip()
            if payload.startswith(b"{"):
                try:
                    document = gojson.loads_keeping_numbers(payload)
                except ValueError:
                    return None
                return document if isinstance(document, dict) else None
    return None


def _strip(value: Any) -> bool:
    changed = False
    if isinstance(value, dict):
        for name in list(value):
            if name in _LEAKS or (name in _LEAKS_IF_ZERO and _is_zero(value[name])):
                del value[name]
                changed = True
            elif name not in _OPAQUE:
                changed = _strip(value[name]) or changed
    elif isinstance(value, list):
        for item in value:
            changed = _strip(item) or changed
    return changed


def _is_zero(value: Any) -> bool:
    return isinstance(value, gojson.NumberText) and float(value) == 0
