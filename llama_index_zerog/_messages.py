"""Between LlamaIndex's messages and the OpenAI-shaped payloads and replies that providers speak."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from zg_core.errors import ConfigError
from zg_core.frameworks.history import arguments_text, complete_calls
from zg_core.frameworks.tool_calls import ToolCall, call_id, new_call_id
from zg_core.jsontext import parse_json
from zg_core.tasks.replies import content_text, reasoning_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "assistant_message",
    "openai_messages",
    "tool_arguments",
    "tool_calls_of",
    "whole_arguments",
    "with_tool_calls",
]

_ROLES = {MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant", MessageRole.FUNCTION: "tool"}


# messages out


def openai_messages(messages: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """`messages` as the ``messages`` of a chat request; nothing of ours but what a provider reads goes into them.

    Raises:
        ConfigError: a block that cannot be sent, or a value that JSON cannot hold; nothing was.
    """
    return complete_calls([_one(message) for message in messages])


def _one(message: ChatMessage) -> dict[str, Any]:
    beside = message.additional_kwargs
    role = _ROLES.get(message.role, str(message.role.value))
    parts: list[dict[str, Any]] = []
    for block in message.blocks:
        if isinstance(block, CachePoint):  # up to the part before it
            if parts:
                control = block.cache_control.model_dump(include={"type", "ttl"}, exclude_none=True)
                parts[-1] = {**parts[-1], "cache_control": control}
        elif (part := _part(block)) is not None:
            parts.append(part)
    calls = [_wire_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    if not calls:  # as older messages hold them
        calls = [call for call in beside.get("tool_calls") or [] if isinstance(call, dict)]
    texts = [part["text"] for part in parts if part["type"] == "text" and "cache_control" not in part]
    made: dict[str, Any] = {"role": role}
    made["content"] = "\n".join(texts) if len(texts) == len(parts) else parts
    if role == "assistant" and calls:
        made["tool_calls"] = calls
        made["content"] = made["content"] or None
    elif role == "assistant" and isinstance(beside.get("function_call"), dict):  # OpenAI's first form
        made["function_call"] = beside["function_call"]
        made["content"] = made["content"] or None
    if message.role is MessageRole.FUNCTION and not beside.get("tool_call_id"):
        made["role"] = "function"
    elif role == "tool":
        made["tool_call_id"] = beside.get("tool_call_id", "")
    if name := beside.get("name"):
        made["name"] = name
    return made


def _part(block: Any) -> dict[str, Any] | None:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageBlock):
        if block.url is not None:
            url = str(block.url)
        else:
            data = block.resolve_image(as_base64=True).read().decode()
            url = f"data:{block.image_mimetype or 'image/png'};base64,{data}"
        return {"type": "image_url", "image_url": {"url": url, **({"detail": block.detail} if block.detail else {})}}
    if isinstance(block, AudioBlock):
        data = block.resolve_audio(as_base64=True).read().decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": block.format or "wav"}}
    if isinstance(block, DocumentBlock):
        encoded = base64.b64encode(block.resolve_document().read()).decode()
        mime = block.document_mimetype or "application/pdf"
        return {"type": "file", "file": {"filename": block.title, "file_data": f"data:{mime};base64,{encoded}"}}
    if isinstance(block, ToolCallBlock | ThinkingBlock):
        return None  # calls travel in `tool_calls`, and reasoning is not sent back
    raise ConfigError(
        f"a {type(block).__name__} cannot be sent",
        code="bad_message",
        hint="use text, image, audio, document and tool call blocks",
    )


def _wire_call(block: ToolCallBlock) -> dict[str, Any]:
    function = {"name": block.tool_name, "arguments": block.tool_kwargs}
    return {"id": block.tool_call_id or "", "type": "function", "function": function}


def _call(block: ToolCallBlock) -> dict[str, Any]:
    call = _wire_call(block)
    return {**call, "function": {**call["function"], "arguments": arguments_text(block.tool_kwargs, block.tool_name)}}


# replies in


def assistant_message(said: Mapping[str, Any]) -> ChatMessage:
    """The message of a whole reply's choice."""
    calls = tool_calls_of(said.get("tool_calls"))
    return with_tool_calls(content_text(said.get("content")), calls, reasoning_of(said))


def tool_calls_of(value: Any) -> list[ToolCall]:
    """The calls of a whole reply."""
    calls: list[ToolCall] = []
    for entry in value if isinstance(value, list) else []:
        function = entry.get("function") if isinstance(entry, dict) else None
        if isinstance(function, dict) and isinstance(name := function.get("name"), str):
            arguments = function.get("arguments") or ""
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            calls.append(ToolCall(len(calls), call_id(entry.get("id")) or new_call_id(), name, text))
    return calls


def with_tool_calls(text: str, calls: Sequence[ToolCall], reasoning: str = "") -> ChatMessage:
    """An assistant's message; calls are there as blocks, and as LlamaIndex's streaming programs still read them."""
    blocks: list[Any] = [ThinkingBlock(content=reasoning)] if reasoning else []
    blocks += [TextBlock(text=text)] if text or not calls else []
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments or "{}") for call in calls
    ]
    beside = {"tool_calls": [_call(block) for block in blocks if isinstance(block, ToolCallBlock)]} if calls else {}
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=beside)


def whole_arguments(text: Any) -> dict[str, Any] | None:
    """A call's arguments when the reply has come to its end; None where they are no JSON object."""
    if isinstance(text, dict):
        return text
    try:
        value = parse_json(text or "{}", strict=False)
    except (ValueError, RecursionError):
        return None
    if value is None:  # some servers write null where a call takes no arguments
        return {}
    return value if isinstance(value, dict) else None


def tool_arguments(text: Any) -> dict[str, Any]:
    """A call's arguments; as far as they have come, while a stream is under way."""
    if isinstance(text, dict):
        return text
    try:
        value = parse_json(text or "{}", strict=False)
    except (ValueError, RecursionError):
        from llama_index.core.llms.utils import parse_partial_json

        try:
            value = parse_partial_json(text)
        except (ValueError, RecursionError):
            value = {}
    return value if isinstance(value, dict) else {}
