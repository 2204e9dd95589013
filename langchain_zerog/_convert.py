"""From the OpenAI-shaped replies that providers give to LangChain's messages."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_zerog._receipts import said_of
from langchain_zerog.media.pictures import IN_CONTENT
from zg_core.errors import RequestError
from zg_core.frameworks.copies import Copies
from zg_core.frameworks.tool_calls import arguments_in, calls_in
from zg_core.receipts.recent import KEY, metadata_of
from zg_core.tasks.replies import (
    beside_of,
    content_text,
    first_choice,
    images_in_content,
    reasoning_name,
    reasoning_of,
    usage_in,
)
from zg_core.types import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zg_core.calls.call import Reply
    from zg_core.receipts.model import Receipt

__all__ = [
    "chat_result",
    "combined_usage",
    "reasoning_kwargs_of",
    "reply_metadata",
    "token_usage",
    "usage_metadata",
]

PROVIDER = KEY
REASONING_NAME = "reasoning_name"
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
# Of a reply: in places of its own, or of no meaning to its reader.
_SHOWN_ELSEWHERE = frozenset({"choices", "created", "error", "model", "object", "usage", "x_groq", KEY})


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
    usage = usage_in(body)
    message, thought = _message(said, usage_metadata(usage))
    metadata = message.response_metadata = reply_metadata(body, receipt, said_of(message), thought)
    if images_in_content(said):
        metadata[IN_CONTENT] = True
    info = {name: value for name in ("finish_reason", "logprobs") if (value := choice.get(name))}
    # Where LangChain's older handlers look for it.
    output = {"token_usage": token_usage(usage), "model_name": metadata["model_name"]}
    _, generations, results = _copies()
    generation = generations.made({"message": message, "text": message.text, "generation_info": info or None})
    return results.made({"generations": [generation], "llm_output": output})


def _message(said: Mapping[str, Any], counts: UsageMetadata | None) -> tuple[AIMessage, str]:
    """The message for what a reply `said`, without metadata; and the server's own name for its reasoning."""
    content = said.get("content")
    if isinstance(content, str) and not any(said[name] for name in said if name not in ("role", "content")):
        beside, thought = {}, ""  # what nearly all of them are; only a number or a False is left, and shown
        if len(said) > ("role" in said) + 1:
            beside = beside_of(said)
    else:
        beside, thought = {**reasoning_kwargs_of(said), **beside_of(said)}, reasoning_name(said)
        content = content_text(content)
        calls, invalid = _tool_calls(said)
        if calls or invalid:
            return AIMessage(
                content=content,
                additional_kwargs=beside,
                tool_calls=calls,
                invalid_tool_calls=invalid,
                usage_metadata=counts,
                response_metadata={},
            ), thought
    values = {"content": content, "additional_kwargs": beside, "response_metadata": {}, "usage_metadata": counts}
    return _copies()[0].made({**values, "tool_calls": [], "invalid_tool_calls": []}), thought


@cache
def _copies() -> tuple[Copies[AIMessage], Copies[ChatGeneration], Copies[ChatResult]]:
    message = AIMessage(
        content="",
        additional_kwargs={},
        tool_calls=[],
        invalid_tool_calls=[],
        usage_metadata=None,
        response_metadata={},
    )
    generation = ChatGeneration(message=message, generation_info=None)
    return Copies(message), Copies(generation), Copies(ChatResult(generations=[generation], llm_output=None))


def token_usage(usage: Any) -> dict[str, int]:
    """The counts of an OpenAI ``usage`` object, under OpenAI's names."""
    if usage is None:
        return {}
    return {name: count for name in _COUNTS if (count := count_of(usage, name)) is not None}


def combined_usage(outputs: Iterable[Mapping[str, Any] | None]) -> dict[str, Any]:
    """What the ``llm_output`` of several results says together."""
    combined: dict[str, Any] = {}
    total: dict[str, int] = {}
    for output in outputs:
        for name, value in (output or {}).items():
            if name != "token_usage":
                combined[name] = value
                continue
            for counted, count in value.items():
                total[counted] = total.get(counted, 0) + count
    return {"token_usage": total, **combined} if combined or total else {}


def reasoning_kwargs_of(said: Mapping[str, Any], *, named: bool = False) -> dict[str, str]:
    """What a message or delta says of its reasoning (`reasoning_of`), where LangChain looks for it."""
    text = reasoning_of(said, named=named)
    return {"reasoning_content": text} if text else {}


def reply_metadata(body: Mapping[str, Any], receipt: Receipt, said: str, thought: str = "") -> dict[str, Any]:
    """The ``response_metadata`` of a reply (or of what a stream said about itself), receipt included.

    Args:
        body: The reply.
        receipt: Its receipt.
        said: Hash of the message that is made of it.
        thought: The server's own name for its reasoning, by which it is sent back.
    """
    model = body.get("model")
    metadata: dict[str, Any] = {
        "model_name": model if isinstance(model, str) and model else receipt.model,
        "model_provider": PROVIDER,
    }
    for name, value in body.items():
        if name not in _SHOWN_ELSEWHERE and value is not None:
            metadata.setdefault(name, value)
    if thought not in ("", "reasoning_content"):
        metadata[REASONING_NAME] = thought
    metadata[PROVIDER] = metadata_of(receipt, said)
    return metadata


def usage_metadata(usage: Any) -> UsageMetadata | None:
    """An OpenAI ``usage`` object as LangChain's; None when it is missing or malformed."""
    if not isinstance(usage, dict):
        return None
    read, written = count_of(usage, "prompt_tokens"), count_of(usage, "completion_tokens")
    if read is None and written is None:
        return None
    total = count_of(usage, "total_tokens")
    counts = UsageMetadata(
        input_tokens=read or 0,
        output_tokens=written or 0,
        total_tokens=(read or 0) + (written or 0) if total is None else total,
    )
    of_input, of_output = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    if of_input is None and of_output is None:
        return counts
    input_details, output_details = InputTokenDetails(), OutputTokenDetails()
    if (audio := count_of(of_input, "audio_tokens")) is not None:
        input_details["audio"] = audio
    if (cached := count_of(of_input, "cached_tokens")) is not None:
        input_details["cache_read"] = cached
    if (audio := count_of(of_output, "audio_tokens")) is not None:
        output_details["audio"] = audio
    if (reasoning := count_of(of_output, "reasoning_tokens")) is not None:
        output_details["reasoning"] = reasoning
    if input_details:
        counts["input_token_details"] = input_details
    if output_details:
        counts["output_token_details"] = output_details
    return counts


def _tool_calls(said: Mapping[str, Any]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in calls_in(said):
        try:
            if not call.name:
                raise ValueError("a call without a name")
            calls.append(tool_call(name=call.name, args=arguments_in(call.arguments), id=call.id))
        except ValueError as error:
            invalid.append(invalid_tool_call(name=call.name or None, args=call.arguments, id=call.id, error=str(error)))
    return calls, invalid
