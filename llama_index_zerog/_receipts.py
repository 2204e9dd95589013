"""From a response back to its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.receipts.memory import MemoryReceipts

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt

__all__ = ["KEY", "metadata_of", "receipt_of"]

KEY = "zerog"
# Responses are copied and rebuilt on their way through engines, so the receipt's id travels; this is where it leads.
_RECENT = MemoryReceipts(capacity=2048)


def receipt_of(response: Any) -> Receipt | None:
    """The receipt of the call that made `response`.

    It is the live object: with ``verify="background"`` its verdict arrives later, and ``receipt.resolve()`` waits.

    Args:
        response: A ``ChatResponse`` or ``CompletionResponse`` of `ZeroG`, the last one of a stream, or an agent's
            output, whose ``raw`` holds the same facts.

    Returns:
        The receipt, or None where there is none: another model's response, one from the middle of a stream, or one
        older than the newest 2,048 calls of this process.

    Example:
        >>> from llama_index.core.llms import ChatMessage, ChatResponse
        >>> receipt_of(ChatResponse(message=ChatMessage("hello"))) is None
        True
    """
    for place in (getattr(response, "additional_kwargs", None), getattr(response, "raw", None)):
        facts = place.get(KEY) if isinstance(place, dict) else None
        receipt_id = facts.get("receipt_id") if isinstance(facts, dict) else None
        if isinstance(receipt_id, str):
            return _RECENT.get(receipt_id)
    return None


def metadata_of(receipt: Receipt) -> dict[str, Any]:
    """What rides on a response under ``"zerog"``; from now on its id leads to `receipt`."""
    _RECENT.add(receipt)
    return receipt.metadata()
