"""What a refusal means: every row of the provider's error table, in the words of several broker versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zg_core.backends.direct.refusals import refusal
from zg_core.errors import (
    InsufficientFunds,
    ModelNotServed,
    NotAcknowledged,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    ZeroGError,
)
from zg_core.types import ServiceRecord

PROVIDER = "0xa48f01287233509FD694a22Bf840225062E67836"
SERVICE = ServiceRecord(PROVIDER, "chatbot", "https://p", 1, 1, 0, "served", "TeeML", "", PROVIDER, True)


def refused(status: int, body: Any, headers: dict[str, str] | None = None) -> ZeroGError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(SERVICE, "asked", status, headers or {}, raw)


def says(text: str) -> dict[str, str]:
    return {"error": text}


# 0g-direct §4.6, §4.5, §3.2
TABLE = [
    (400, says("validate session: session token expired"), SessionRejected, "expired", False),
    (400, says("validate session: session token is for different provider"), SessionRejected, "other_provider", False),
    (400, says("validate session: session token has been revoked"), SessionRejected, "revoked", False),
    (
        400,
        says("validate session: session token has been revoked (generation expired)"),
        SessionRejected,
        "revoked",
        False,
    ),
    (
        400,
        says("validate session: invalid session token (future generation)"),
        SessionRejected,
        "future_generation",
        True,
    ),
    (
        400,
        says("validate session: signature verification failed: address mismatch"),
        SessionRejected,
        "session_rejected",
        False,
    ),
    (
        400,
        says("missing or invalid Authorization header, must be Bearer app-sk-<base64(rawMessage:signature)>"),
        SessionRejected,
        "session_rejected",
        False,
    ),
    (401, says("no"), SessionRejected, "session_rejected", False),
    (
        400,
        says(
            "validate request: insufficient balance: your locked balance is 0.9 0G, but the required minimum is 1.1 0G"
        ),
        InsufficientFunds,
        "insufficient_funds",
        False,
    ),
    (
        400,
        says("validate request: get account from contract, account not exist"),
        InsufficientFunds,
        "insufficient_funds",
        False,
    ),
    (
        400,
        says("validate request: user not acknowledge the provider, please use acknowledgeProviderSigner function"),
        NotAcknowledged,
        "not_acknowledged",
        False,
    ),
    (
        400,
        says("validate request: service not acknowledge the tee signer"),
        NotAcknowledged,
        "not_acknowledged",
        False,
    ),
    (400, says("model not supported: requested gpt-9, served m"), ModelNotServed, "model_not_served", False),
    (404, {"error": {"message": "The model `x` does not exist"}}, ModelNotServed, "model_not_served", False),
    (410, says("this one is past its expiration date"), ModelNotServed, "model_not_served", False),
    (402, says("pay"), PaymentRequired, "payment_required", False),
    (429, says("Too many requests. Please try again later."), RateLimited, "rate_limited", True),
    (
        429,
        {"error": {"type": "rate_limit_error", "message": "Rate limit exceeded. Please slow down your request rate"}},
        RateLimited,
        "rate_limited",
        True,
    ),
    (429, says("Too many concurrent requests. You have 5"), RateLimited, "rate_limited", True),
    (429, says("too many invalid model requests, blocked for 1h"), RateLimited, "model_blocked", False),
    (503, says("Server is currently processing too many requests."), ProviderUnavailable, "provider_unavailable", True),
    (502, b"Bad Gateway", OutcomeUnknown, "gateway_error", False),
    (504, b"", OutcomeUnknown, "gateway_error", False),
    *[(status, b"", OutcomeUnknown, "gateway_error", False) for status in (408, 499, 520, 524)],
    *[(status, b"", OutcomeUnknown, "server_error", False) for status in (500, 501, 507, 527, 529, 599, 999, 418, 424)],
    *[(status, b"", ProviderUnavailable, "provider_unavailable", True) for status in (521, 522, 523, 525, 526, 530)],
    (500, says("validate session: session token expired"), OutcomeUnknown, "server_error", False),
    (504, says("insufficient balance"), OutcomeUnknown, "gateway_error", False),
    (400, says("context_length_exceeded: 9000 tokens"), RequestError, "context_length_exceeded", False),
    (
        400,
        {"error": {"message": "This model's maximum context length is 4096 tokens", "code": 400}},
        RequestError,
        "context_length_exceeded",
        False,
    ),
    (413, b"", RequestError, "too_large", False),
    (400, says("unsupported endpoint: endpoint not supported"), RequestError, "refused", False),
    (404, b"not found", RequestError, "refused", False),
    (403, says("forbidden"), RequestError, "refused", False),
    (415, b"\xff\xfe", RequestError, "refused", False),
    *[(status, b"", RequestError, "redirect", False) for status in (301, 302, 303, 307, 308, 304)],
]


@pytest.mark.parametrize(("status", "body", "cls", "code", "retryable"), TABLE)
def test_every_row_of_the_error_table(status: int, body: Any, cls: type, code: str, retryable: bool) -> None:
    error = refused(status, body)
    assert type(error) is cls
    assert (error.code, error.retryable) == (code, retryable)
    assert error.details["status"] == status
    assert error.hint
    assert PROVIDER in str(error)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, says("validate session: session token expired"), ["zerog keys create"]),
        (400, says("validate request: insufficient balance"), ["zerog transfer", PROVIDER]),
        (400, says("user not acknowledge the provider"), ["zerog acknowledge", PROVIDER]),
        (400, says("service not acknowledge the tee signer"), ["another provider"]),
        (400, says("model not supported: requested x"), ["'served'"]),
        (307, b"", ["another provider"]),
    ],
)
def test_the_hint_names_the_command_to_run(status: int, body: Any, words: list[str]) -> None:
    hint = refused(status, body).hint
    assert [word for word in words if word not in hint] == []


@pytest.mark.parametrize(
    "text", ["Validate Session: Session Token EXPIRED", "x validate session: session token expired y"]
)
def test_fragments_are_found_in_any_case_and_place(text: str) -> None:
    assert refused(400, says(text)).code == "expired"


def test_a_token_that_the_provider_repeats_is_blotted_out() -> None:
    assert "c2VjcmV0" not in str(refused(400, b"cannot read Bearer app-sk-c2VjcmV0IHRva2Vu=="))


def test_how_long_to_wait_rides_on_the_error() -> None:
    assert refused(429, says("slow"), {"x-ratelimit-reset-requests": "3s"}).details["retry_after"] == 3.0
    assert refused(503, says("busy"), {"retry-after": "2"}).details["retry_after"] == 2.0
    assert refused(429, says("Please wait 9 seconds (limit: 5)")).details["retry_after"] == 9.0


EXPIRED = json.dumps({"error": "validate session: session token expired"}).encode()


@pytest.mark.parametrize("date", ["Tue, 03 Feb 2026 04:05:06 GMT", "junk", None])
def test_a_session_signed_here_that_has_expired_is_a_matter_of_the_clock(date: str | None) -> None:
    headers = {} if date is None else {"date": date}
    error = refusal(SERVICE, "asked", 400, headers, EXPIRED, signed_here=True)
    assert (error.code, error.retryable) == ("expired", False)
    assert "set this machine's clock: this machine's says 20" in error.hint
    assert ("the provider's 2026-02-03 04:05" in error.hint) == (date is not None and date.startswith("Tue"))
    assert "keys create" not in error.hint
