"""From a message back to its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.receipts.memory import MemoryReceipts

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from zg_core.receipts.model import Receipt

__all__ = ["metadata_of", "receipt_of"]

# Messages are copied, merged and rebuilt on their way through a chain, so a receipt cannot hang on the object itself.
# Its id travels in the metadata; this is where the id leads, for the newest receipts of the process.
_RECENT = MemoryReceipts(capacity=2048)


def receipt_of(message: BaseMessage) -> Receipt | None:
    """The receipt of the call that made `message`.

    It is the live object: with ``verify="background"`` its verdict arrives later, and ``receipt.resolve()`` waits for
    it. A copy of the message leads to the same receipt, and so does a reply from LangChain's cache.

    Args:
        message: A message that `ChatZeroG` returned, or the sum of the chunks that it streamed.

    Returns:
        The receipt, or None where there is none: another model's message, a chunk from the middle of a stream, a
        message made by another process, or one older than the newest 2,048 calls of this one. What a message says
        about itself is in ``message.response_metadata["zerog"]`` in any case.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> receipt_of(AIMessage("hello")) is None
        True
    """
    facts = message.response_metadata.get("zerog")
    receipt_id = facts.get("receipt_id") if isinstance(facts, dict) else None
    return _RECENT.get(receipt_id) if isinstance(receipt_id, str) else None


def metadata_of(receipt: Receipt) -> dict[str, Any]:
    """What rides on a message as ``response_metadata["zerog"]``; from now on its id leads to `receipt`."""
    _RECENT.add(receipt)
    return receipt.metadata()
