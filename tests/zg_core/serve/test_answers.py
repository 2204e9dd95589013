"""How answers are shown: strangers' words in headers and comments, and statuses that make nobody pay twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.zg_core.serve.test_metrics import receipt_of
from zg_core import errors
from zg_core.serve.answers import (
    HttpError,
    comment,
    error_body,
    error_event,
    error_headers,
    facts_headers,
    passed_on,
    status_of,
)

REPEATED = {408, 409, 429, *range(500, 600)}
"""What official clients repeat by themselves."""
EVIL = ["m\r\nX-Evil: 1", "m\n\ndata: [DONE]\n\n", "\u2028\u202e\x00", "模型", '"}\n: x', "\ud800", "a" * 5000]


@pytest.mark.parametrize("text", EVIL, ids=repr)
def test_words_of_strangers_stay_in_their_line(text: str) -> None:
    receipt = receipt_of(text)
    receipt.chat_id = text
    for headers in (facts_headers(receipt), error_headers(errors.OutcomeUnknown(text, receipt=receipt))):
        for name, value in headers:
            assert all(0x20 <= byte < 0x7F for byte in name + value), (name, value)
    said = comment(receipt)
    assert said.count(b"\n") == 2
    assert said.startswith(b": zerog {")
    assert json.loads(said.removeprefix(b": zerog "))["model"] == text
    event = error_event(errors.RequestError(text))
    assert event.count(b"\n") == 2
    assert "error" in json.loads(event.removeprefix(b"data: "))


def test_of_an_upstreams_headers_only_harmless_ones_are_passed_on() -> None:
    said = {
        "content-type": "text/html; charset=utf-8",
        "zg-res-key": "abc",
        "x-request-id": "a b\r\nx: y",
        "x-zerog-verdict": "verified",
        "access-control-allow-origin": "*",
        "location": "https://evil.example",
        "content-security-policy": "",
        "x-should-retry": "true",
    }
    assert dict(passed_on(said)) == {b"content-type": b"application/json", b"zg-res-key": b"abc"}
    assert dict(passed_on({"content-type": "text/event-stream;charset=utf-8"})) == {
        b"content-type": b"text/event-stream"
    }


MAY_BE_BILLED: list[errors.ZeroGError] = [
    errors.OutcomeUnknown("x", status=502),
    errors.OutcomeUnknown("x", status=500),
    errors.StreamTruncated("x"),
    errors.VerificationFailed("x"),
    errors.VerificationUnavailable("x"),
    errors.RequestError("x", code="malformed_reply"),
    errors.RequestError("x", status=500),
    errors.RequestError("x", status=409),
    errors.ProviderUnavailable("x", status=504, retryable=False),
    errors.ZeroGError("x"),
]


@pytest.mark.parametrize("error", MAY_BE_BILLED, ids=lambda error: f"{type(error).__name__} {error.details}")
def test_what_may_have_been_billed_has_a_status_that_nobody_repeats(error: errors.ZeroGError) -> None:
    assert status_of(error) not in REPEATED
    assert dict(error_headers(error))[b"x-should-retry"] == b"false"


@pytest.mark.parametrize(
    ("error", "status", "again"),
    [
        (errors.ProviderUnavailable("x", code="connect_failed"), 503, b"true"),
        (errors.RateLimited("x", status=429, retry_after=3), 429, b"true"),
        (errors.BudgetExceeded("x"), 429, b"false"),
        (errors.InsufficientFunds("x"), 402, b"false"),
        (errors.SessionRejected("x", status=401), 502, b"false"),
        (errors.ModelNotServed("x"), 404, b"false"),
        (errors.RequestError("x", status=422), 422, b"false"),
        (errors.ConfigError("x", code="store_unavailable"), 503, b"false"),
        (errors.ArgumentError("x"), 400, b"false"),
        (HttpError(401, "bad_token", "x"), 401, b"false"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_errors_have_the_status_that_says_them(error: Any, status: int, again: bytes) -> None:
    assert status_of(error) == status
    headers = dict(error_headers(error))
    assert headers[b"x-should-retry"] == again
    assert (b"retry-after" in headers) is isinstance(error, errors.RateLimited)
    assert error_body(error)["error"]["code"] == error.code


def test_an_answer_that_is_refused_is_not_handed_on() -> None:
    error = errors.VerificationFailed("do not trust it", text="the lie", receipt=receipt_of("m"))
    assert "the lie" not in json.dumps(error_body(error))
