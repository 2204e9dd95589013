"""Content blocks of our messages: LangChain's own reading of them, and the refusal, which it leaves out."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as standard
from langchain_core.messages.block_translators import register_translator

from langchain_zerog._convert import PROVIDER

__all__ = ["refusal_block", "register"]

# Newer versions of langchain-core have a block for it.
_HAS_REFUSAL = hasattr(standard, "RefusalContentBlock")


def content_blocks(message: AIMessage) -> list[Any]:
    """The blocks of `message`: reasoning, text, tool calls, refusal."""
    metadata = {name: value for name, value in message.response_metadata.items() if name != "model_provider"}
    blocks: list[Any] = list(message.model_copy(update={"response_metadata": metadata}).content_blocks)
    refusal = message.additional_kwargs.get("refusal")
    if isinstance(refusal, str) and refusal and not any(_is_refusal(block) for block in blocks):
        blocks.append(refusal_block(refusal))
    return blocks


def refusal_block(refusal: str) -> dict[str, Any]:
    """The content block that says `refusal`."""
    block = {"type": "refusal", "refusal": refusal}
    return block if _HAS_REFUSAL else {"type": "non_standard", "value": block}


def _is_refusal(block: Any) -> bool:
    return block.get("type") == "refusal" or (block.get("value") or {}).get("type") == "refusal"


def chunk_blocks(message: AIMessageChunk) -> list[Any]:
    """The blocks of a chunk, or of the sum of chunks."""
    return content_blocks(message)


def register() -> None:
    """Tell LangChain how our messages are read."""
    register_translator(PROVIDER, content_blocks, chunk_blocks)
