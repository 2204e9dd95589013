"""From a message back to its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.receipts.recent import receipt_in

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from zg_core.receipts.model import Receipt

__all__ = ["receipt_of"]


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
    return receipt_in(message.response_metadata)
