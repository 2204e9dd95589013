"""From the OpenAI-shaped replies that providers give to LangChain's messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_zerog._receipts import said_of
from zg_core.errors import RequestError
from zg_core.frameworks.tool_calls import call_id, new_call_id
from zg_core.jsontext import parse_json
from zg_core.receipts.recent import KEY, metadata_of
from zg_core.tasks.replies import content_text, first_choice, reasoning_of
from zg_core.types import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zg_core.calls.call import Reply
    from zg_core.receipts.model import Receipt

__all__ = [
    "additional_kwargs_of",
    "chat_result",
    "combined_usage",
    "reply_metadata",
    "token_usage",
    "usage_metadata",
]

PROVIDER = KEY


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
    generation = ChatGeneration(message=message, generation_info=info or None)
    # Where LangChain's older handlers look for it.
    output = {"token_usage": token_usage(body.get("usage")), "model_name": message.response_metadata["model_name"]}
    return ChatResult(generations=[generation], llm_output=output)


def token_usage(usage: Any) -> dict[str, int]:
    """The counts of an OpenAI ``usage`` object, under OpenAI's names."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: count for name in names if (count := count_of(usage, name)) is not None}


def combined_usage(outputs: Iterable[Mapping[str, Any] | None]) -> dict[str, Any]:
    """What the ``llm_output`` of several results says together."""
    combined: dict[str, Any] = {}
    total: dict[str, int] = {}
    for output in outputs:
        for name, count in (output or {}).get("token_usage", {}).items():
            total[name] = total.get(name, 0) + count
        combined |= {name: value for name, value in (output or {}).items() if name != "token_usage"}
    return {"token_usage": total, **combined} if combined or total else {}


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
