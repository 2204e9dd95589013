"""From LangChain's messages to the OpenAI-shaped ones that providers read, whoever wrote the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, convert_to_openai_messages

from langchain_zerog._convert import PROVIDER, REASONING_NAME
from langchain_zerog.media.pictures import IN_CONTENT, picture, said_images
from zg_core.errors import ConfigError
from zg_core.frameworks.history import check_plain, complete_calls
from zg_core.tasks.replies import thoughts_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

__all__ = ["openai_messages"]

# What the content of an assistant's message may hold on the wire. A reply in LangChain's v1 format also lists its tool
# calls and its reasoning as content blocks, which travel beside it.
_ASSISTANT_BLOCKS = ("text", "refusal", "tool_use")
_TEXTS = ("output_text", "input_text", "text-plain")
# OpenAI's names of audio formats, by what follows ``audio/`` in a type.
_AUDIO = {"mpeg": "mp3", "mpeg3": "mp3", "x-mpeg": "mp3", "wave": "wav", "x-wav": "wav", "vnd.wave": "wav"}


def openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """`messages` as the ``messages`` of a chat request.

    Raises:
        ConfigError: a content block of no known form, or a value that JSON cannot hold; nothing was sent.
    """
    made: list[dict[str, Any]] | Any = [entry for message in messages if (entry := _words(message))]
    if len(made) == len(messages):
        return made
    plain = [_plain(message, index) for index, message in enumerate(messages)]
    try:
        converted = convert_to_openai_messages(plain)
    except (ValueError, TypeError, KeyError) as error:
        # What follows is the whole block, prompt and pictures included.
        said = str(error).partition(" Full content block")[0].partition("\n")[0]
        raise ConfigError(
            f"a message cannot be sent: {said}",
            code="bad_message",
            hint="use LangChain's standard content blocks: text, image, audio, file",
        ) from None
    made = converted if isinstance(converted, list) else [converted]
    if any(isinstance(message, AIMessage) for message in plain):
        _add_said(messages, made)
    for position, message in enumerate(plain):
        if len(made) == len(plain) and _has_cache_control(message):
            made[position]["content"] = _parts(message)
    _name_audio(made)
    return complete_calls(made)


_ROLES: dict[type, str] = {HumanMessage: "user", SystemMessage: "system", AIMessage: "assistant"}


def _words(message: BaseMessage) -> dict[str, Any] | None:
    """What LangChain's conversion and all else here make of a message that is a text and nothing else; else None."""
    role = _ROLES.get(type(message))
    if role is None or type(message.content) is not str or message.additional_kwargs or message.name:
        return None
    if role == "assistant" and (message.tool_calls or message.invalid_tool_calls):  # type: ignore[attr-defined]
        return None
    return {"role": role, "content": message.content}


def _plain(message: BaseMessage, index: int) -> BaseMessage:
    """`message` with its content in forms that LangChain converts."""
    if isinstance(message, AIMessage):
        for number, call in enumerate(message.tool_calls):
            check_plain(call["args"], f"messages[{index}].tool_calls[{number}].args")
    if isinstance(message.content, str):
        return message
    blocks = [_plain_block(block) for block in message.content]
    if not isinstance(message, AIMessage):  # what a model has drawn goes back as it came, or not at all
        pictures = [
            picture(block, f"messages[{index}].content[{number}]") if isinstance(block, dict) else None
            for number, block in enumerate(blocks)
        ]
        blocks = [
            block if shown is None else _kept(block, shown) for block, shown in zip(blocks, pictures, strict=True)
        ]
    for number, block in enumerate(blocks):
        if not isinstance(block, str) and not _may_hold_bytes(block):
            check_plain(block, f"messages[{index}].content[{number}]")
    if isinstance(message, AIMessage):
        blocks = [block for block in blocks if isinstance(block, str) or block.get("type") in _ASSISTANT_BLOCKS]
    if len(blocks) == len(message.content) and all(map(_same, blocks, message.content)):
        return message
    return message.model_copy(update={"content": blocks or ""})


def _kept(block: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """The part `shown` in the place of `block`, which may be such a part already."""
    if block.get("type") == "image_url" and block.get("image_url") == shown["image_url"]:
        return block
    return {**shown, "cache_control": block["cache_control"]} if "cache_control" in block else shown


def _may_hold_bytes(block: dict[str, Any]) -> bool:
    """Whether LangChain's conversion takes bytes: from Bedrock's and Vertex's blocks."""
    return "image" in block or block.get("type") == "media"  # of what is no picture


def _same(one: object, other: object) -> bool:
    return one is other


def _plain_block(block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    kind = block.get("type")
    if kind == "non_standard" and isinstance(block.get("value"), dict):  # a provider's own
        return _plain_block(block["value"])
    if (kind is None or kind in _TEXTS) and isinstance(block.get("text"), str):
        kept = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
        return {"type": "text", "text": block["text"], **kept}
    return block


def _has_cache_control(message: BaseMessage) -> bool:
    return not isinstance(message.content, str) and any(
        isinstance(block, dict) and "cache_control" in block for block in message.content
    )


def _parts(message: BaseMessage) -> list[dict[str, Any]]:
    """The content of `message` part by part, each with its ``cache_control``: LangChain's conversion leaves it out."""
    parts: list[dict[str, Any]] = []
    for block in message.content:
        if isinstance(block, dict) and block.get("type") in ("tool_use", "refusal"):
            continue
        alone: Any = convert_to_openai_messages(HumanMessage([block]), text_format="block")
        kept = {"cache_control": block["cache_control"]} if isinstance(block, dict) and "cache_control" in block else {}
        parts += [{**part, **kept} for part in alone["content"]]
    return parts


def _add_said(messages: Sequence[BaseMessage], made: list[dict[str, Any]]) -> None:
    """Add what LangChain leaves out of what a model said.

    Images that it drew: a model that is to change one has to see it.

    Calls whose arguments are no JSON, and those in OpenAI's first form: the message that answers such a call would be
    an orphan without it. And reasoning, under the name by which its server sent it: models that call tools between
    their thoughts go on from there, and providers that sign thoughts want them back.
    """
    assistants = iter([entry for entry in made if entry["role"] == "assistant"])
    for index, message in enumerate(messages):
        if not isinstance(message, AIMessage) or (entry := next(assistants, None)) is None:
            continue
        for call in message.invalid_tool_calls:
            function = {"name": call["name"] or "", "arguments": call["args"] or ""}
            entry.setdefault("tool_calls", []).append({"type": "function", "id": call["id"], "function": function})
        beside = message.additional_kwargs
        legacy = beside.get("function_call")
        if isinstance(legacy, dict) and not entry.get("tool_calls"):
            entry["function_call"] = {"name": legacy.get("name") or "", "arguments": legacy.get("arguments")}
        thought = beside.get("reasoning_content")
        if not isinstance(thought, str) and isinstance(message.content, list):
            blocks = [block for block in message.content if isinstance(block, dict)]
            thought = thoughts_in([block for block in blocks if block.get("type") == "reasoning"])
        if isinstance(thought, str) and thought:
            name = message.response_metadata.get(REASONING_NAME)
            entry[name if isinstance(name, str) and name else "reasoning_content"] = thought
        if (images := said_images(message)) and message.response_metadata.get("model_provider") == PROVIDER:
            check_plain(images, f"messages[{index}].images")
            if message.response_metadata.get(IN_CONTENT):
                text = [{"type": "text", "text": entry["content"]}] if entry.get("content") else []
                entry["content"] = [*text, *images]
            else:
                entry["images"] = images
        if details := beside.get("reasoning_details"):
            check_plain(details, f"messages[{index}].reasoning_details")
            entry["reasoning_details"] = details


def _name_audio(made: list[dict[str, Any]]) -> None:
    for entry in made:
        for part in entry["content"] if isinstance(entry.get("content"), list) else ():
            audio = part.get("input_audio") if isinstance(part, dict) else None
            if isinstance(audio, dict) and (name := _AUDIO.get(str(audio.get("format")))):
                part["input_audio"] = {**audio, "format": name}
