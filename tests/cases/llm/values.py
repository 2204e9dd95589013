"""The right value of each input, in the words of no framework."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.cases.llm.inputs import Case

__all__ = ["HTTP", "Right", "right"]

OSLO = ("get_weather", {"city": "Oslo"})
SEPARATE, ENCLAVE = "TeeML-separated", "TeeML"


@dataclass(frozen=True)
class Right:
    """What a caller gets.

    Attributes:
        text: The answer.
        finish: Why it ended.
        usage: Tokens read and written; None where the reply does not say.
        exact: Whether the receipt may call its fee exact.
        calls: Names and arguments of the tool calls.
        invalid: How many calls there are whose arguments are none: no tool runs.
        reasoning: What the model thought.
        error: Words of the error, and its code; `text` is then what came before.
        code: The error's.
        beside: Names of what else is reachable from the message.
        kinds: Of the providers that can send this: one that rewrites what it signs leaves some of it out.
    """

    text: str = "Hello"
    finish: str | None = "stop"
    usage: tuple[int, int] | None = (9, 5)
    exact: bool = True
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    invalid: int = 0
    reasoning: str = ""
    error: str = ""
    code: str = ""
    beside: tuple[str, ...] = ()
    kinds: tuple[str, ...] = (ENCLAVE, SEPARATE)


HELLO = Right()
CALL = Right(text="", finish="tool_calls", calls=(OSLO,))
TWO = replace(CALL, calls=(OSLO, ("get_weather", {"city": "Rome"})))
BROKEN = replace(CALL, calls=(), invalid=1)
FIVE = Right(text="Five")

_RIGHT: dict[str, Right] = {
    "01-midstream-error-with-choices": Right(
        text="The answer is ", error="upstream left in the middle", code="error_in_stream"
    ),
    "03-whole-error-in-choice": Right(text="", error="model crashed", code="error_in_reply"),
    "05-empty-data-heartbeat": HELLO,
    "07-done-with-space": HELLO,
    "08-id-changes-each-chunk": CALL,
    "10-name-repeated-empty-tail": CALL,
    "11-first-index-1": CALL,
    "15-arguments-empty": replace(CALL, calls=(("ping", {}),)),
    "16-arguments-double-encoded": BROKEN,
    "17-arguments-object": CALL,
    "19-finish-reason-empty-text": HELLO,
    "20-no-finish-reason": replace(HELLO, finish=None),
    "22-usage-every-chunk": replace(HELLO, usage=(9, 2)),
    "23-usage-then-empty-usage": HELLO,
    "25-thinking-parts": replace(FIVE, reasoning="two plus three"),
    "27-choices-null": HELLO,
    "29-bom": HELLO,
    "30-message-in-chunk": HELLO,
    "31-json-for-stream": HELLO,
    "33-nan-logprobs": replace(HELLO, beside=("logprobs",)),
    "34-error-without-error-key": Right(text="Part", error="engine is dead", code="error_in_stream", kinds=(ENCLAVE,)),
    "35-two-calls-one-chunk-no-index": TWO,
    "36-nulls": HELLO,
    "36-nulls-whole": replace(HELLO, text=""),
    "37-images-annotations": replace(HELLO, text="See", beside=("images",)),
    "37-images-annotations-whole": replace(HELLO, text="See", beside=("images", "annotations")),
    "38-audio": replace(HELLO, text="", beside=("audio",)),
    "40-tool-calls-empty-list": HELLO,
    "41-x-groq-usage": replace(HELLO, exact=False),
    "43-whole-error-object-200": Right(text="", error="model is overloaded", code="error_in_reply"),
    "45-arguments-sent-twice": BROKEN,
    "47-numeric-id-empty-name": CALL,
    "49-multi-line-data": HELLO,
    "51-two-finish-chunks": CALL,
    "53-reasoning-details-alone": replace(
        FIVE, reasoning="two plus three", beside=("reasoning_details",), kinds=(SEPARATE,)
    ),
    "54-usage-strings": replace(HELLO, usage=None, exact=False),
    "54-usage-strings-whole": replace(HELLO, usage=(9, 0)),
    "55-empty-error-object": HELLO,
    "57-name-in-pieces": CALL,
    "59-done-twice": HELLO,
    "61-invalid-utf8": replace(HELLO, text="caf\N{REPLACEMENT CHARACTER}!"),
    "62-empty-fragment-at-finish": CALL,
    "63-id-and-name-again-at-finish": CALL,
    "65-two-finish-reasons": replace(CALL, finish="stop"),
    "68-usage-fractional": replace(HELLO, usage=(9, 0), exact=False),
}


def right(case: Case) -> Right:
    """The right value of `case`; that of its own form where the forms differ."""
    return _RIGHT.get(str(case)) or _RIGHT[case.name]


# name of the error's class, its code, words that it says, what more it tells
HTTP: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "h01-524-html": ("OutcomeUnknown", "gateway_error", "A timeout occurred", {"status": 524}),
    "h03-520-html": ("OutcomeUnknown", "gateway_error", "unknown error", {"status": 520}),
    "h04-522-html": ("ProviderUnavailable", "provider_unavailable", "Connection timed out", {"status": 522}),
    "h05-429-retry-after-date": ("RateLimited", "rate_limited", "slow down", {"status": 429}),
    "h06-429-retry-after-ms": ("RateLimited", "rate_limited", "slow down", {"retry_after": 1.5}),
    "h08-400-sglang-context": (
        "RequestError", "context_length_exceeded", "40321 tokens", {"context_window": 32768, "prompt_tokens": 40321},
    ),
    "h10-422-tgi-context": (
        "RequestError", "context_length_exceeded", "Given: 5000", {"context_window": 4096, "prompt_tokens": 5000},
    ),
    "h12-413-html": ("RequestError", "too_large", "Request Entity Too Large", {"status": 413}),
    "h13-408": ("OutcomeUnknown", "gateway_error", "Request timeout", {"status": 408}),
    "h14-500-context-text": (
        "RequestError", "context_length_exceeded", "4096 tokens", {"context_window": 4096, "prompt_tokens": 5000},
    ),
    "h16-403-moderation": ("RequestError", "refused", "Input was flagged", {"status": 403}),
    "h17-404-html-model-word": ("RequestError", "refused", "404", {"status": 404}),
    "h18-200-html": ("RequestError", "malformed_reply", "", {}),
    "h19-200-error-string": ("RequestError", "error_in_reply", "quota of the upstream is used up", {}),
    "h21-200-empty": ("RequestError", "malformed_reply", "", {}),
    "h22-200-error-object": ("RequestError", "error_in_reply", "model overloaded", {}),
    "h23-422-fastapi": ("RequestError", "refused", "field required", {"status": 422}),
    "h25-400-anthropic-context": (
        "RequestError", "context_length_exceeded", "prompt is too long",
        {"context_window": 200000, "prompt_tokens": 205000},
    ),
    "h26-401-upstream-key": ("ProviderUnavailable", "provider_unavailable", "Incorrect API key", {"status": 401}),
    "h27-504-html-contrast": ("OutcomeUnknown", "gateway_error", "Gateway Time-out", {"status": 504}),
}  # fmt: skip
