"""Between LangChain's messages and the OpenAI-shaped payloads and replies that providers speak."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall, convert_to_openai_messages
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_function
from pydantic import BaseModel

from langchain_zerog._receipts import said_of
from zg_core.errors import ConfigError, RequestError
from zg_core.frameworks.tool_calls import call_id, new_call_id
from zg_core.jsontext import parse_json
from zg_core.receipts.recent import KEY, metadata_of
from zg_core.tasks.replies import content_text, first_choice, reasoning_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from zg_core.calls.call import Reply
    from zg_core.receipts.model import Receipt

__all__ = [
    "additional_kwargs_of",
    "chat_result",
    "is_schema_class",
    "openai_messages",
    "openai_response_format",
    "reply_metadata",
    "usage_metadata",
]

PROVIDER = KEY
# What an assistant's message may hold on the wire. A reply in LangChain's v1 format also lists its tool calls and its
# reasoning as content blocks: tool calls travel in `tool_calls`, and reasoning is not sent back.
_ASSISTANT_BLOCKS = ("text", "refusal", "tool_use")


# messages out


def openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """`messages` as the ``messages`` of a chat request.

    Raises:
        ConfigError: a content block of no known form; nothing was sent.
    """
    try:
        converted = convert_to_openai_messages([_without_foreign_blocks(message) for message in messages])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"a message cannot be sent: {error}",
            code="bad_message",
            hint="use LangChain's standard content blocks: text, image, audio, file",
        ) from error
    made: list[dict[str, Any]] = converted if isinstance(converted, list) else [converted]
    if any(isinstance(message, AIMessage) and message.invalid_tool_calls for message in messages):
        _add_invalid_tool_calls(messages, made)
    return made


def _without_foreign_blocks(message: BaseMessage) -> BaseMessage:
    if not isinstance(message, AIMessage) or isinstance(message.content, str):
        return message
    kept = [b for b in message.content if isinstance(b, str) or b.get("type") in _ASSISTANT_BLOCKS]
    return message if len(kept) == len(message.content) else message.model_copy(update={"content": kept or ""})


def _add_invalid_tool_calls(messages: Sequence[BaseMessage], made: list[dict[str, Any]]) -> None:
    # The tool message that answers such a call would be an orphan without it.
    assistants = iter([entry for entry in made if entry["role"] == "assistant"])
    for message in messages:
        if isinstance(message, AIMessage) and (entry := next(assistants, None)) is not None:
            for call in message.invalid_tool_calls:
                entry.setdefault("tool_calls", []).append(
                    {
                        "type": "function",
                        "id": call["id"],
                        "function": {"name": call["name"] or "", "arguments": call["args"] or ""},
                    }
                )


def openai_response_format(schema: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """`schema` as the ``response_format`` of a chat request: a class, a JSON schema, or a format already."""
    if isinstance(schema, dict) and schema.get("type") in ("text", "json_object", "json_schema"):
        return schema
    if isinstance(schema, dict) and "name" in schema and "schema" in schema:
        return {"type": "json_schema", "json_schema": schema}
    function = convert_to_openai_function(schema, strict=strict)
    wanted: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        wanted["description"] = function["description"]
    wanted["schema"] = function.get("parameters", {})
    if strict is not None:
        wanted["strict"] = strict
    return {"type": "json_schema", "json_schema": wanted}


def is_schema_class(value: object) -> bool:
    """Whether `value` is a class that describes an answer (pydantic, or a typed dictionary)."""
    return isinstance(value, type) and (issubclass(value, BaseModel) or hasattr(value, "__annotations__"))


# replies in


def chat_result(reply: Reply) -> ChatResult:
    """The reply as LangChain's result.

    Raises:
        RequestError: it holds no choice.
    """
    body, receipt = reply.body, reply.receipt
    choice = first_choice(body)
    said = None if choice is None else choice.get("message")
    if choice is None or not isinstance(said, dict):
        detail = body.get("error")
        raise RequestError(
            f"the reply of provider {receipt.provider} holds no answer" + (f": {detail}" if detail else ""),
            code="malformed_reply",
            hint="choose another provider; error.receipt says what it cost",
            receipt=receipt,
            text=json.dumps(body, ensure_ascii=False)[:10_000],
        )
    calls, invalid = _tool_calls(said.get("tool_calls"))
    message = AIMessage(
        content=content_text(said.get("content")),
        additional_kwargs=additional_kwargs_of(said),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=usage_metadata(body.get("usage")),
    )
    message.response_metadata = reply_metadata(body, receipt, said_of(message))
    info = {name: choice[name] for name in ("finish_reason", "logprobs") if choice.get(name) is not None}
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=info or None)])


def additional_kwargs_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a message or delta says beside its content: reasoning and refusal."""
    found: dict[str, Any] = {}
    if reasoning := reasoning_of(said):
        found["reasoning_content"] = reasoning
    if (refusal := said.get("refusal")) and isinstance(refusal, str):
        found["refusal"] = refusal
    return found


def reply_metadata(body: Mapping[str, Any], receipt: Receipt, said: str) -> dict[str, Any]:
    """The ``response_metadata`` of a reply (or of what a stream said about itself), receipt included.

    Args:
        body: The reply.
        receipt: Its receipt.
        said: Hash of the message that is made of it.
    """
    model = body.get("model")
    metadata: dict[str, Any] = {
        "model_name": model if isinstance(model, str) and model else receipt.model,
        "model_provider": PROVIDER,
    }
    for name in ("id", "system_fingerprint"):
        if (value := body.get(name)) and isinstance(value, str):
            metadata[name] = value
    metadata[PROVIDER] = metadata_of(receipt, said)
    return metadata


def usage_metadata(usage: Any) -> UsageMetadata | None:
    """An OpenAI ``usage`` object as LangChain's; None when it is missing or malformed."""
    if not isinstance(usage, dict):
        return None
    read, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if read is None and written is None:
        return None
    total = _count(usage, "total_tokens")
    counts = UsageMetadata(
        input_tokens=read or 0,
        output_tokens=written or 0,
        total_tokens=(read or 0) + (written or 0) if total is None else total,
    )
    of_input, of_output = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    input_details, output_details = InputTokenDetails(), OutputTokenDetails()
    if (audio := _count(of_input, "audio_tokens")) is not None:
        input_details["audio"] = audio
    if (cached := _count(of_input, "cached_tokens")) is not None:
        input_details["cache_read"] = cached
    if (audio := _count(of_output, "audio_tokens")) is not None:
        output_details["audio"] = audio
    if (reasoning := _count(of_output, "reasoning_tokens")) is not None:
        output_details["reasoning"] = reasoning
    if input_details:
        counts["input_token_details"] = input_details
    if output_details:
        counts["output_token_details"] = output_details
    return counts


def _count(source: Any, name: str) -> int | None:
    value = source.get(name) if isinstance(source, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _tool_calls(entries: Any) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for entry in entries if isinstance(entries, list) else ():
        function = entry.get("function") if isinstance(entry, dict) else None
        if not isinstance(function, dict):
            continue
        name, arguments = function.get("name"), function.get("arguments")
        identity = call_id(entry.get("id")) or new_call_id()
        error = ""
        parsed = arguments or {}
        if isinstance(parsed, str):
            try:
                parsed = parse_json(parsed, strict=False)
            except (ValueError, RecursionError) as problem:
                error = str(problem)
        if isinstance(parsed, dict) and not error:
            calls.append(tool_call(name=name if isinstance(name, str) else "", args=parsed, id=identity))
        else:
            shown = arguments if isinstance(arguments, str) else json.dumps(arguments)
            invalid.append(invalid_tool_call(name=name, args=shown, id=identity, error=error or "no JSON object"))
    return calls, invalid
