"""What every HTTP status means, the same through every face: what was refused, never reached, or may be billed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.enclave import ANSWER, Enclave
from tests.faces.faces import Face
from zg_core import Budget, neuron
from zg_core.errors import (
    InsufficientFunds,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    never_served,
)

PAGE = b"<!DOCTYPE html><html><title>A timeout occurred</title></html>"
POOR = b'{"error":"validate request: insufficient balance: your locked balance is 0 0G"}'

# status, body, our error, whether it is sent again by itself
REFUSED: list[tuple[str, bytes, type, bool]] = [
    ("429 Too Many Requests", b'{"error":"slow down"}', RateLimited, True),
    ("503 Service Unavailable", b'{"error":"busy"}', ProviderUnavailable, True),
    ("522 Connection Timed Out", PAGE, ProviderUnavailable, True),
    ("400 Bad Request", POOR, InsufficientFunds, False),
    ("401 Unauthorized", b"", SessionRejected, False),
    ("403 Forbidden", PAGE, RequestError, False),
    ("302 Found", b"", RequestError, False),
]
UNKNOWN = ["500 Oops", "408 Timeout", "524 Late", "529 Busy", "599 What", "418 Teapot"]


@pytest.mark.parametrize(("status", "body", "error", "again"), REFUSED, ids=[each[0][:3] for each in REFUSED])
def test_what_was_refused_or_never_reached(
    face: Face, enclave: Enclave, status: str, body: bytes, error: type, again: bool
) -> None:
    for _ in range(9):
        enclave.refuse(status, body)
    budget = Budget(per_run=neuron(10**15))
    seen = face.ask({**enclave.settings, "max_retries": 2, "budget": budget})
    assert isinstance(seen.error, error), seen.raised
    assert never_served(seen.error) is again
    assert "<html" not in str(seen.error).lower()
    sent = len(enclave.prompts())
    assert sent == (3 if again else 2 if error is SessionRejected else 1)  # a session is signed anew once
    assert seen.outcomes == ["refused"] * sent
    assert seen.error.receipt is seen.receipt
    assert (seen.text, str(seen.receipt.verdict)) == ("", "not_checked (refused)")
    assert seen.receipt.fee.upper


@pytest.mark.parametrize("status", UNKNOWN, ids=[each[:3] for each in UNKNOWN])
def test_what_may_have_been_served(face: Face, enclave: Enclave, status: str) -> None:
    enclave.refuse(status, PAGE)
    seen = face.ask({**enclave.settings, "max_retries": 2})
    assert isinstance(seen.error, OutcomeUnknown), seen.raised
    assert not never_served(seen.error)
    assert len(enclave.prompts()) == 1, "a request that may be billed was sent again"
    assert seen.outcomes == ["unknown"]
    assert seen.error.receipt is seen.receipt


def test_what_was_refused_once_is_answered_then(face: Face, enclave: Enclave) -> None:
    enclave.refuse("503 Busy", Retry_After="0")
    enclave.refuse("522 Unreached")
    seen = face.ask({**enclave.settings, "max_retries": 2, "verify": "require"})
    assert (seen.text, seen.outcomes) == (ANSWER, ["refused", "refused", "answered"])
    assert seen.verdict == "verified"


@pytest.mark.parametrize(
    "wait", [{"Retry_After": "99"}, {"retry-after-ms": "99000"}, {"x-ratelimit-reset-requests": "99s"}], ids=str
)
def test_a_long_wait_is_the_callers(face: Face, enclave: Enclave, wait: dict[str, Any]) -> None:
    enclave.refuse("429 Slow", b"", **{name.replace("_", "-"): value for name, value in wait.items()})
    seen = face.ask({**enclave.settings, "max_retries": 2})
    assert isinstance(seen.error, RateLimited)
    assert seen.error.details["retry_after"] == 99
    assert len(enclave.prompts()) == 1


def test_a_budget_per_call_counts_each_attempt(face: Face, enclave: Enclave) -> None:
    enclave.refuse("400 Bad")
    one = face.ask({**enclave.settings}).receipt.fee.upper
    assert one is not None
    enclave.refuse("429 Slow", Retry_After="0")
    seen = face.ask({**enclave.settings, "budget": Budget(per_call=neuron(2 * one))})
    assert (seen.text, seen.outcomes) == (ANSWER, ["refused", "answered"])
    enclave.refuse("429 Slow", Retry_After="0")
    seen = face.ask({**enclave.settings, "budget": Budget(per_call=neuron(2 * one - 1))})
    assert isinstance(seen.error, RateLimited), seen.raised
    assert "per_call" in seen.error.hint
    assert seen.outcomes == ["refused"]
