"""Between LlamaIndex's messages and the OpenAI-shaped payloads and replies that providers speak."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

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

from llama_index_zerog._documents import document_part
from zg_core.errors import ConfigError
from zg_core.frameworks.history import arguments_text, complete_calls
from zg_core.frameworks.images import data_url, image_part
from zg_core.frameworks.tool_calls import arguments_in, calls_in
from zg_core.jsontext import parse_json
from zg_core.tasks.replies import (
    beside_of,
    content_text,
    image_url,
    images_in_content,
    reasoning_name,
    reasoning_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zg_core.frameworks.tool_calls import ToolCall

__all__ = [
    "Thought",
    "assistant_message",
    "message_of",
    "openai_messages",
    "tool_arguments",
    "whole_arguments",
]

_IN_CONTENT = "images_in_content"  # said beside the images of an answer that stood among the parts of its content
_ROLES = {MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant", MessageRole.FUNCTION: "tool"}


# messages out


def openai_messages(messages: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """`messages` as the ``messages`` of a chat request; nothing of ours but what a provider reads goes into them.

    Raises:
        ConfigError: a block that cannot be sent, or a value that JSON cannot hold; nothing was.
    """
    messages = list(messages)
    made = [entry for message in messages if (entry := _words(message))]
    if len(made) == len(messages):
        return made
    return complete_calls([_one(message, index) for index, message in enumerate(messages)])


_SPEAKERS = {MessageRole.USER: "user", MessageRole.SYSTEM: "system", MessageRole.ASSISTANT: "assistant"}


def _words(message: ChatMessage) -> dict[str, Any] | None:
    """What `_one` makes of a message that is a text and nothing else; None for others."""
    role, blocks = _SPEAKERS.get(message.role), message.blocks
    if role is None or message.additional_kwargs or len(blocks) != 1 or type(block := blocks[0]) is not TextBlock:
        return None
    return {"role": role, "content": block.text}


def _one(message: ChatMessage, index: int) -> dict[str, Any]:
    beside = message.additional_kwargs
    role = _ROLES.get(message.role, str(message.role.value))
    parts: list[dict[str, Any]] = []
    drawn = beside.get("image_parts") if role == "assistant" else None  # an answer of ours: they go back as they came
    for number, block in enumerate(message.blocks):
        if drawn and isinstance(block, ImageBlock):
            continue
        if isinstance(block, CachePoint):  # up to the part before it
            if parts:
                control = block.cache_control.model_dump(include={"type", "ttl"}, exclude_none=True)
                parts[-1] = {**parts[-1], "cache_control": control}
        elif (part := _part(block, f"messages[{index}].blocks[{number}]")) is not None:
            parts.append(part)
    if drawn and beside.get(_IN_CONTENT):
        parts = [part for part in parts if part.get("text") != ""] + list(drawn)
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
    if role == "assistant":
        for block in message.blocks:
            if isinstance(block, ThinkingBlock) and block.content:
                name = block.additional_information.get("name")
                made[name if isinstance(name, str) and name else "reasoning_content"] = block.content
        if drawn and not beside.get(_IN_CONTENT):
            made["images"] = drawn
        if details := beside.get("reasoning_details"):
            made["reasoning_details"] = details
    if message.role is MessageRole.FUNCTION and not beside.get("tool_call_id"):
        made["role"] = "function"
    elif role == "tool":
        made["tool_call_id"] = beside.get("tool_call_id", "")
    if name := beside.get("name"):
        made["name"] = name
    return made


def _part(block: Any, place: str) -> dict[str, Any] | None:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageBlock):
        return image_part(_address(block, place), place, block.detail)
    if isinstance(block, AudioBlock):
        data = block.resolve_audio(as_base64=True).read().decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": block.format or "wav"}}
    if isinstance(block, DocumentBlock):
        return document_part(block)
    if isinstance(block, ToolCallBlock | ThinkingBlock):
        return None  # they travel beside the content
    raise ConfigError(
        f"a {type(block).__name__} cannot be sent",
        code="bad_message",
        hint="use text, image, audio, document and tool call blocks",
    )


def _address(block: ImageBlock, place: str) -> str:
    if block.url is not None:
        return str(block.url)
    try:
        data = block.resolve_image(as_base64=True).read()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the image at {place} cannot be read: {error}",
            code="bad_image",
            hint="give ImageBlock an image, a path that can be read, or an https address",
        ) from None
    return data_url(bytes(data).decode("latin-1"), block.image_mimetype, place)


def _wire_call(block: ToolCallBlock) -> dict[str, Any]:
    function = {"name": block.tool_name, "arguments": block.tool_kwargs}
    return {"id": block.tool_call_id or "", "type": "function", "function": function}


def _call(block: ToolCallBlock) -> dict[str, Any]:
    call = _wire_call(block)
    return {**call, "function": {**call["function"], "arguments": arguments_text(block.tool_kwargs, block.tool_name)}}


# replies in


def assistant_message(said: Mapping[str, Any]) -> ChatMessage:
    """The message of a whole reply's choice."""
    thought = Thought(reasoning_of(said), reasoning_name(said))
    beside = beside_of(said)
    in_content = images_in_content(said)
    return message_of(content_text(said.get("content")), calls_in(said), thought, beside, in_content=in_content)


class Thought(NamedTuple):
    """Reasoning, and the server's own name for it, by which it is sent back."""

    text: str = ""
    name: str = ""


def message_of(
    text: str,
    calls: Sequence[ToolCall],
    thought: Thought | None = None,
    beside: Mapping[str, Any] | None = None,
    *,
    in_content: bool = False,
) -> ChatMessage:
    """An assistant's message; calls are there as blocks, and as LlamaIndex's streaming programs still read them.

    Args:
        text: The answer.
        calls: Tool calls.
        thought: What the model said of its reasoning.
        beside: What it said beside all of that: images and audio become blocks, too.
        in_content: Whether its images stood among the parts of its content.
    """
    blocks: list[Any] = []
    if thought is not None and thought.text:
        named = {"name": thought.name} if thought.name not in ("", "reasoning_content") else {}
        blocks.append(ThinkingBlock(content=thought.text, additional_information=named))
    if text or not calls:
        blocks.append(TextBlock(text=text))
    kept: dict[str, Any] = dict(beside or {})
    if kept:
        blocks += _media(kept)
        kept["image_parts"] = kept.pop("images", None)  # LlamaIndex takes that name for documents of its own
        kept = {name: value for name, value in kept.items() if value is not None}
        if in_content:
            kept[_IN_CONTENT] = True
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments or "{}") for call in calls
    ]
    if calls:
        kept["tool_calls"] = [_call(block) for block in blocks if isinstance(block, ToolCallBlock)]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=kept)


def _media(beside: Mapping[str, Any]) -> list[Any]:
    """Images and audio as blocks; what cannot be one stays in the message's ``additional_kwargs`` alone."""
    images = beside.get("images")
    urls = [image_url(image) for image in images] if isinstance(images, list) else []
    blocks: list[Any] = [_image(url) for url in urls if url]
    audio = beside.get("audio")
    if isinstance(audio, dict) and isinstance(data := audio.get("data"), str) and data:
        form = audio.get("format")
        with suppress(ValueError):
            blocks.append(AudioBlock(audio=data.encode(), format=form if isinstance(form, str) else None))
    return blocks


def _image(url: str) -> ImageBlock:
    head, _, data = url.partition(";base64,")
    if head.startswith("data:") and data:
        return ImageBlock(image=data.encode(), image_mimetype=head[len("data:") :].partition(";")[0] or None)
    return ImageBlock(url=url)


def whole_arguments(text: Any) -> dict[str, Any] | None:
    """A call's arguments when the reply has come to its end; None where they are no JSON object."""
    try:
        return arguments_in(text)
    except ValueError:
        return None


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
