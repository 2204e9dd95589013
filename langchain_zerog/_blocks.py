"""Content blocks of our messages: LangChain's own reading of them, and what it leaves out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as standard
from langchain_core.messages.block_translators import register_translator

from zg_core.receipts.recent import KEY
from zg_core.tasks.replies import image_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["blocks_beside", "register"]

# Newer versions of langchain-core have a block for it.
_HAS_REFUSAL = hasattr(standard, "RefusalContentBlock")
_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^,]*)?;base64,")


def content_blocks(message: AIMessage) -> list[Any]:
    """The blocks of `message`: reasoning, text with its citations, images, audio, tool calls, refusal."""
    metadata = {name: value for name, value in message.response_metadata.items() if name != "model_provider"}
    blocks: list[Any] = list(message.model_copy(update={"response_metadata": metadata}).content_blocks)
    there = {_kind(block) for block in blocks}
    beside = {name: value for name, value in message.additional_kwargs.items() if name in _MADE}
    citations = _citations(beside.pop("annotations", None))
    if citations and not any(block.get("annotations") for block in blocks):
        texts = [n for n, block in enumerate(blocks) if block.get("type") == "text"]
        if texts:
            blocks[texts[-1]] = {**blocks[texts[-1]], "annotations": citations}
        else:
            blocks.append({"type": "text", "text": "", "annotations": citations})
    return blocks + [block for block in blocks_beside(beside) if _kind(block) not in there]


def chunk_blocks(message: AIMessageChunk) -> list[Any]:
    """The blocks of a chunk, or of the sum of chunks."""
    return content_blocks(message)


def blocks_beside(beside: Mapping[str, Any]) -> list[Any]:
    """The content blocks of what a message says beside text, reasoning and calls."""
    blocks: list[Any] = []
    if citations := _citations(beside.get("annotations")):
        blocks.append({"type": "text", "text": "", "annotations": citations})
    images = beside.get("images")
    for image in images if isinstance(images, list) else ():
        blocks += [_image(url) for url in (image_url(image),) if url]
    audio = beside.get("audio")
    if isinstance(audio, dict) and isinstance(data := audio.get("data"), str) and data:
        extras = {name: value for name, value in audio.items() if name not in ("data", "format") and value is not None}
        form = audio.get("format")
        kind = {"mime_type": f"audio/{form}"} if isinstance(form, str) and form else {}
        blocks.append({"type": "audio", "base64": data, **kind, **({"extras": extras} if extras else {})})
    if (refusal := beside.get("refusal")) and isinstance(refusal, str):
        block = {"type": "refusal", "refusal": refusal}
        blocks.append(block if _HAS_REFUSAL else {"type": "non_standard", "value": block})
    return blocks


_MADE = ("annotations", "images", "audio", "refusal")


def _kind(block: Any) -> Any:
    value = block.get("value")
    return value.get("type") if block.get("type") == "non_standard" and isinstance(value, dict) else block.get("type")


def _image(url: str) -> dict[str, Any]:
    if (found := _DATA_URL.match(url)) is None:
        return {"type": "image", "url": url}
    return {"type": "image", "base64": url[found.end() :], "mime_type": found[1] or "image/png"}


def _citations(annotations: Any) -> list[dict[str, Any]]:
    made = []
    for one in annotations if isinstance(annotations, list) else ():
        said = one.get("url_citation", one) if isinstance(one, dict) else None
        if not (isinstance(said, dict) and isinstance(said.get("url"), str)):
            made.append({"type": "non_standard_annotation", "value": {"annotation": one}})
            continue
        citation = {
            name: said[name] for name in ("url", "title", "start_index", "end_index") if said.get(name) is not None
        }
        cited = {"cited_text": said["content"]} if isinstance(said.get("content"), str) else {}
        made.append({"type": "citation", **citation, **cited})
    return made


def register() -> None:
    """Tell LangChain how our messages are read."""
    register_translator(KEY, content_blocks, chunk_blocks)
