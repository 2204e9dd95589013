"""From a response back to its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.receipts.recent import receipt_in

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt

__all__ = ["receipt_of"]


def receipt_of(response: Any) -> Receipt | Any:
    """The receipt of the call that made `response`.

    It is the live object: with ``verify="background"`` its verdict arrives later, and ``receipt.resolve()`` waits.

    Args:
        response: A ``ChatResponse`` or ``CompletionResponse`` of `ZeroG`, the last one of a stream, or an agent's
            output, whose ``raw`` holds the same facts.

    Returns:
        The receipt, or None where there is none (``Any`` spares a check where there must be one): another model's
        response, one from the middle of a stream, or one older than the newest 2,048 calls of this process.

    Example:
        >>> from llama_index.core.llms import ChatMessage, ChatResponse
        >>> receipt_of(ChatResponse(message=ChatMessage("hello"))) is None
        True
    """
    places = (getattr(response, name, None) for name in ("additional_kwargs", "raw"))
    return next((found for place in places if (found := receipt_in(place)) is not None), None)
