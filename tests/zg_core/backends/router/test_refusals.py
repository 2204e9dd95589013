"""What the Router's refusals mean, one row for each documented code, and whatever else may answer in its place."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from zg_core.backends.router.networks import ROUTERS
from zg_core.backends.router.refusals import refusal, request_id_of
from zg_core.backends.sealing import key_changed
from zg_core.errors import (
    InsufficientFunds,
    ModelNotServed,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    ZeroGError,
    never_served,
)


def said(status: int, code: str = "", message: str = "no", kind: str = "server_error", **headers: str) -> ZeroGError:
    body = json.dumps({"error": {"message": message, "type": kind, "code": code}, "request_id": "r-9"}).encode()
    return refusal(ROUTERS["testnet"], "m", status, {k.replace("_", "-"): v for k, v in headers.items()}, body)


ROWS = [
    (400, "invalid_body", RequestError, False),
    (400, "no_provider_within_max_price", RequestError, False),
    (400, "provider_model_mismatch", RequestError, False),
    (400, "model_not_capable", RequestError, False),
    (401, "invalid_api_key", SessionRejected, False),
    (402, "insufficient_balance", InsufficientFunds, False),
    (403, "insufficient_scope", SessionRejected, False),
    (404, "model_not_found", ModelNotServed, False),
    (423, "refund_pending", ProviderUnavailable, False),
    (424, "video_job_failed", RequestError, False),
    (429, "rate_limit_exceeded", RateLimited, True),
    (429, "too_many_requests", RateLimited, True),
    (500, "internal_error", OutcomeUnknown, False),
    (501, "usd_not_supported", RequestError, False),
    (502, "provider_error", ProviderUnavailable, True),
    (503, "no_available_provider", ProviderUnavailable, False),
    (503, "no_provider_for_trust_mode", ProviderUnavailable, False),
    (503, "vault_unavailable", ProviderUnavailable, True),
    (504, "", OutcomeUnknown, False),
    (524, "", OutcomeUnknown, False),
    (599, "", OutcomeUnknown, False),
    (409, "video_not_ready", RequestError, False),
]


@pytest.mark.parametrize(("status", "code", "kind", "again"), ROWS)
def test_every_documented_refusal(status: int, code: str, kind: type[ZeroGError], again: bool) -> None:
    error = said(status, code)
    assert type(error) is kind
    assert error.code == code or not code or kind is OutcomeUnknown
    assert never_served(error) is again
    assert error.hint
    assert error.details["request_id"] == "r-9"


def test_a_gateway_in_between_says_nothing_about_what_was_served() -> None:
    page = refusal(ROUTERS["testnet"], "m", 502, {}, b"<html><title>Bad gateway</title></html>")
    assert isinstance(page, OutcomeUnknown)
    assert not never_served(page)


def test_a_key_mismatch_of_the_enclave_is_told_apart() -> None:
    body = b'{"error":"e2ee_key_mismatch: sealed to another key"}'
    error = key_changed(409, body)
    assert error is not None
    assert error.code == "e2ee_key_mismatch"
    assert key_changed(409, b'{"error":"video_not_ready"}') is None
    assert key_changed(400, body) is None


def test_a_provider_that_cannot_seal_says_so_and_nothing_goes_in_the_clear() -> None:
    error = refusal(ROUTERS["testnet"], "m", 400, {}, b'{"error":"unknown field _e2ee"}', sealed=True)
    assert (error.code, "never sent in the clear" in error.hint) == ("seal_refused", True)


def test_the_other_networks_key_is_said_to_be_one() -> None:
    assert "testnet" in said(401, "invalid_api_key").hint


def test_the_reset_of_a_minute_is_a_time() -> None:
    reset = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    error = said(429, "rate_limit_exceeded", x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests=reset)
    assert 20 < error.details["retry_after"] <= 30
    assert said(429, "", retry_after="7").details["retry_after"] == 7
    assert said(429, "", x_ratelimit_reset_requests="2026-13-99").details["retry_after"] is None


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"error":null}', b"\xff", b'{"error":{"code":["x"]}}'])
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 503])
def test_no_body_is_odd_enough_to_break_it(status: int, body: bytes) -> None:
    assert refusal(ROUTERS["mainnet"], "m", status, {}, body).code


def test_a_request_id_that_is_none_is_not_taken() -> None:
    assert request_id_of({"x-request-id": "a b"}) == ""
    assert request_id_of({}, b'{"request_id":"r"}') == "r"
