"""The bytes of a request: the caller's own, or its payload encoded, with a model where it names none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.jsontext import encode_body
from zg_core.tasks.chat import for_model

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["json_bytes"]


def json_bytes(model: str, payload: Mapping[str, Any], data: bytes | None = None) -> bytes:
    """A request as JSON.

    Args:
        model: Filled in where `payload` names none.
        payload: The request.
        data: The bytes that were parsed to `payload`, where the caller brought them: they are sent as they are.

    Example:
        >>> json_bytes("m", {"messages": []}), json_bytes("m", {"model": "n"}, b'{ "model": "n" }')
        (b'{"model":"m","messages":[]}', b'{ "model": "n" }')
    """
    if not payload.get("model"):
        return encode_body(for_model(payload, model))
    return encode_body(payload) if data is None else data
