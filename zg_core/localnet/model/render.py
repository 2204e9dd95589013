"""Writing an answer on the wire: as one chat completion, or as the chunks of a stream that add up to the same.

Both forms are made from the same pieces, one per token, so whatever a client merges from a stream is what it would have
got without streaming.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from zg_core.localnet.media.drawing import content_of, parts_of
from zg_core.localnet.model.json import compact_json
from zg_core.localnet.model.request import ChatRequest
from zg_core.localnet.model.tokens import IMAGE_TOKENS, count_tokens, split_tokens
from zg_core.localnet.model.values import ToolCall

DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the rules decided: text or tool calls, the reasoning shown before it (empty if none), pictures after it."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallOutput:
    """A tool call with its arguments in pieces."""

    id: str
    name: str
    arguments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Output:
    """An answer cut into tokens, after stop sequences and the token limit took their part."""

    finish_reason: str
    text: Sequence[str] = ()
    reasoning: Sequence[str] = ()
    calls: Sequence[CallOutput] = ()
    reasoning_tokens: int = 0
    completion_tokens: int = 0
    images: Sequence[str] = ()
    as_parts: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of one completion repeats."""

    id: str
    model: str
    created: int
    usage: Mapping[str, Any] = field(default_factory=dict)


def limit_answer(answer: Answer, stop: Sequence[str], max_tokens: int, *, as_parts: bool = False) -> Output:
    """Cut `answer` at the first stop sequence and after `max_tokens` tokens, reasoning included.

    Args:
        answer: What the rules decided.
        stop: Stop sequences.
        max_tokens: The most tokens; a picture that does not fit is left out whole.
        as_parts: Whether pictures stand among the parts of the content.
    """
    left = max_tokens
    reasoning = split_tokens(answer.reasoning)
    kept_reasoning = reasoning[:left]
    left -= len(kept_reasoning)
    whole = len(kept_reasoning) == len(reasoning)
    calls: list[CallOutput] = []
    text: list[str] = []
    for call in answer.calls:
        name_tokens = count_tokens(call.name)
        if not whole or name_tokens > left:
            whole = False
            break
        pieces = split_tokens(call.arguments)
        kept = pieces[: left - name_tokens]
        whole = len(kept) == len(pieces)
        left -= name_tokens + len(kept)
        calls.append(CallOutput(call.id, call.name, kept))
    if not answer.calls:
        ends = [place for sequence in stop if (place := answer.text.find(sequence)) >= 0]
        pieces = split_tokens(answer.text[: min(ends, default=len(answer.text))])
        text = pieces[:left]
        left -= len(text)
        whole = whole and len(text) == len(pieces)
    images = answer.images[: left // IMAGE_TOKENS] if whole else ()
    left -= IMAGE_TOKENS * len(images)
    whole = whole and len(images) == len(answer.images)
    finish = "length" if not whole else "tool_calls" if calls else "stop"
    counts = len(kept_reasoning), max_tokens - left
    return Output(finish, text, kept_reasoning, calls, *counts, images, as_parts)


def usage_of(prompt_tokens: int, output: Output, cached_tokens: int = 0) -> dict[str, Any]:
    """The `usage` object: exact, and the same for both forms of an answer."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output.completion_tokens,
        "total_tokens": prompt_tokens + output.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": output.reasoning_tokens},
    }


def render_completion(output: Output, head: Head, request: ChatRequest) -> bytes:
    """The answer as one `chat.completion` document."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(output.text)}
    if output.reasoning:
        message["reasoning_content"] = "".join(output.reasoning)
    if output.calls:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for call in output.calls
        ]
    if output.images and output.as_parts:
        message["content"] = content_of(message["content"], output.images)
    elif output.images:
        message["images"] = parts_of(output.images)
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": output.finish_reason}
    choice["logprobs"] = _logprobs(output.text, request) if request.logprobs else None
    document = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": [choice],
        "usage": head.usage,
    }
    return compact_json(document).encode()


def render_chunks(output: Output, head: Head, request: ChatRequest) -> Iterator[bytes]:
    """The answer as server-sent events: role, pieces, finish, usage if asked for, and `[DONE]`."""
    yield _chunk(head, {"role": "assistant", "content": None if output.calls else ""})
    for piece in output.reasoning:
        yield _chunk(head, {"reasoning_content": piece})
    for index, call in enumerate(output.calls):
        opening = {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield _chunk(head, {"tool_calls": [opening]})
        for piece in call.arguments:
            yield _chunk(head, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    for piece in output.text:
        yield _chunk(head, {"content": piece}, _logprobs([piece], request) if request.logprobs else None)
    for index, url in enumerate(output.images):  # each whole, in an event of its own
        if output.as_parts:
            yield _chunk(head, {"content": content_of("", [url])})
        else:
            yield _chunk(head, {"content": "", "images": parts_of([url], first=index)})
    yield _chunk(head, {}, finish_reason=output.finish_reason)
    if request.include_usage:
        yield _event({**_chunk_head(head), "choices": [], "usage": head.usage})
    yield DONE


def _chunk(head: Head, delta: Mapping[str, Any], logprobs: Any = None, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    return _event({**_chunk_head(head), "choices": [choice]})


def _chunk_head(head: Head) -> dict[str, Any]:
    return {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model}


def _event(document: Mapping[str, Any]) -> bytes:
    return f"data: {compact_json(document)}\n\n".encode()


def _logprobs(pieces: Sequence[str], request: ChatRequest) -> dict[str, Any]:
    return {"content": [_logprob(piece, request.top_logprobs) for piece in pieces], "refusal": None}


def _logprob(token: str, alternatives: int) -> dict[str, Any]:
    """A token is always certain to the rules; the number only has to look like one and stay the same."""
    doubt = hashlib.sha256(token.encode()).digest()[0] / 2048
    entry = {"token": token, "logprob": round(math.log1p(-doubt), 6), "bytes": list(token.encode())}
    return {**entry, "top_logprobs": [entry] if alternatives else []}
