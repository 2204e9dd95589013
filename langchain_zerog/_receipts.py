"""From a message back to its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_zerog._blocks import blocks_beside
from zg_core.receipts.recent import hash_of, is_of, receipt_in

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

    from zg_core.receipts.model import Receipt

__all__ = ["is_what_was_said", "media_of", "receipt_of", "said_of"]


def is_what_was_said(message: AIMessage, receipt: Receipt) -> bool:
    """Whether `message` says and calls for what the reply of `receipt` did: its facts may be another message's."""
    return is_of(receipt, said_of(message))


def said_of(message: AIMessage) -> str:
    """The hash of what `message` says, shows and which tools it calls; of a stream, of the sum of its chunks."""
    if not message.tool_calls and not message.additional_kwargs and isinstance(message.content, str):
        return hash_of(message.content)
    # In the v1 format images and audio stand twice, and must be the same.
    beside = media_of(blocks_beside(message.additional_kwargs))
    content = message.content if isinstance(message.content, list) else []
    shown = media_of([block for block in content if isinstance(block, dict)])
    media = beside if shown in ([], beside) else [*beside, *shown]
    return hash_of(str(message.text), [(call["name"], call["args"]) for call in message.tool_calls], media)


def media_of(blocks: list[Any]) -> list[str]:
    """The images and the audio among content blocks, as texts that differ where these do."""
    shown = [block for block in blocks if block.get("type") in ("image", "audio")]
    return ["|".join(str(block.get(name) or "") for name in ("mime_type", "base64", "url")) for block in shown]


def receipt_of(message: BaseMessage) -> Receipt | Any:
    """The receipt of the call that made `message`.

    It is the live object: with ``verify="background"`` its verdict arrives later, and ``receipt.resolve()`` waits for
    it. A copy of the message leads to the same receipt, and so does a reply from LangChain's cache.

    Args:
        message: A message that `ChatZeroG` returned, or the sum of the chunks that it streamed.

    Returns:
        The receipt, or None where there is none (``Any`` spares a check where there must be one): another model's
        message, a chunk from the middle of a stream, a message made by another process, or one older than the newest
        2,048 calls of this one. What a message says about itself is in ``message.response_metadata["zerog"]`` in any
        case.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> receipt_of(AIMessage("hello")) is None
        True
    """
    return receipt_in(message.response_metadata)
