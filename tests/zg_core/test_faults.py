"""Every fault a local provider can have, met by the client in all four ways: what must come of it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import hastily, until
from zg_core import (
    NotAcknowledged,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    StreamTruncated,
    VerificationFailed,
    VerificationWarning,
)
from zg_core.localnet import Fault
from zg_core.verify.verdict import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France? Say it as « Paris, é 😀 »."}]}

# Fault, its options, and what the client makes of it: a verdict ("status" or "status/reason") or an error class.
ACCEPTED: list[tuple[Fault, dict[str, Any], str]] = [
    (Fault.BODY_REMARSHALLED, {}, "verified"),
    (Fault.SIGNATURE_LATE, {"misses": 2}, "verified"),
    (Fault.NO_HEADER, {}, "verified"),
    (Fault.SPLIT_UTF8, {}, "verified"),
    (Fault.SPLIT_JSON, {}, "verified"),
    (Fault.USAGE_NULL, {}, "verified"),
    (Fault.TRAILING_EVENT, {}, "verified"),
    (Fault.COMMENT_AFTER_DONE, {}, "verified"),
    (Fault.GZIP, {}, "verified"),
    (Fault.SLOW_DRIP, {"size": 64, "delay": 0.0005}, "verified"),
    (Fault.USAGE_INFLATED, {}, "verified"),  # signed and billed so: only an audit can tell
    (Fault.PRICE_RAISED, {}, "verified"),
    (Fault.SIGNER_ROTATED, {}, "verified"),
    (Fault.SIGNATURE_NEVER, {}, "unavailable/no_signature"),
]
REFUSED: list[tuple[Fault, dict[str, Any], str]] = [
    (Fault.BODY_CHANGED, {}, "content_mismatch"),
    (Fault.USAGE_CHANGED, {}, "content_mismatch"),
    (Fault.SIGNATURE_OTHER_BYTES, {}, "content_mismatch"),
    (Fault.OTHER_SIGNER, {"claim": "tee"}, "signer_mismatch"),
    (Fault.OTHER_SIGNER, {"claim": "own"}, "signer_mismatch"),
    (Fault.REPLAY_OWN, {}, "replayed"),
]
ERRORS: list[tuple[Fault, dict[str, Any], type[Exception], str]] = [
    (Fault.REDIRECT, {}, RequestError, "redirect"),
    (Fault.RATE_LIMITED, {}, RateLimited, "rate_limited"),
    (Fault.UNAVAILABLE, {}, ProviderUnavailable, "provider_unavailable"),
    (Fault.REFUSED_AFTER_SERVICE, {}, ProviderUnavailable, "provider_unavailable"),
    (Fault.SESSION_REJECTED, {"reason": "signature"}, SessionRejected, "session_rejected"),
    (Fault.CLOCK_AHEAD, {}, SessionRejected, "expired"),
    (Fault.SIGNER_ROTATED, {"acknowledged": False}, NotAcknowledged, "not_acknowledged"),
    (Fault.CUT_BEFORE_FIRST_BYTE, {}, OutcomeUnknown, "connection_lost"),
    (Fault.CUT_AFTER_FIRST_BYTE, {}, StreamTruncated, "stream_truncated"),
]
STREAM_ONLY = {Fault.TRUNCATED_STREAM, Fault.TRAILING_EVENT, Fault.COMMENT_AFTER_DONE}


def name(value: object) -> str | None:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or None
    return str(value) if isinstance(value, Fault) else None


@pytest.fixture
def mine(options, provider, net) -> Iterator[dict[str, Any]]:
    """Settings for the TeeML provider; the chain's state comes back afterwards."""
    snapshot = net.snapshot()
    yield {**options, "provider": provider.address, "max_retries": 0}
    net.revert(snapshot)


@pytest.mark.parametrize(("fault", "how", "verdict"), ACCEPTED, ids=name)
def test_honest_replies_in_odd_forms_are_not_accused(caller, mine, provider, fault, how, verdict):
    if fault in STREAM_ONLY and not caller.stream:
        caller = type(caller)(loop=caller.loop, stream=True)
    provider.fault(fault, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerificationWarning)
        receipt = caller.call(mine, QUESTION).receipt
    status, _, reason = verdict.partition("/")
    assert (receipt.verdict.status, receipt.verdict.reason) == (Status(status), Reason(reason)), receipt.verdict


@pytest.mark.parametrize(("fault", "how", "reason"), REFUSED, ids=name)
def test_lies_are_caught_with_text_and_receipt(caller, mine, provider, fault, how, reason):
    if fault is Fault.REPLAY_OWN:
        caller.call(mine, {"messages": [{"role": "user", "content": "What is 2 + 2?"}]})
    provider.fault(fault, **how)
    with pytest.raises(VerificationFailed) as caught:
        caller.call(mine, QUESTION)
    error = caught.value
    assert error.code == reason, error
    assert error.receipt.verdict.status is Status.FAILED
    assert error.text
    if reason == "content_mismatch":
        verdict = error.receipt.verdict
        assert verdict.signed_response_sha256 != verdict.response_sha256


def test_somebody_elses_genuine_exchange_is_never_verified(caller, mine, provider, net):
    other = net.new_wallet()
    net.open_account(other, provider)
    caller.call({**mine, "private_key": other.private_key}, {"messages": [{"role": "user", "content": "Say hello."}]})
    provider.fault(Fault.REPLAY_OTHER)
    try:
        receipt = caller.call(mine, QUESTION).receipt
    except VerificationFailed as error:  # the other user's client ran in this process, so its chat id is known
        receipt = error.receipt
        assert receipt.verdict.reason is Reason.REPLAYED
    assert not receipt.verdict.satisfies("verified")


@pytest.mark.parametrize(("fault", "how", "error", "code"), ERRORS, ids=name)
def test_failures_are_typed_and_keep_what_is_known(caller, mine, provider, fault, how, error, code):
    provider.fault(fault, **how, times=None)
    with pytest.raises(error) as caught:
        caller.call(mine, QUESTION)
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    assert caught.value.receipt is not None
    outcome = {OutcomeUnknown: "unknown", StreamTruncated: "truncated"}.get(error, "refused")
    assert caught.value.receipt.outcome == outcome
    assert not caught.value.receipt.fee.exact


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_a_truncated_stream_says_so_and_keeps_the_text(mine, provider, callers, loop):
    provider.fault(Fault.TRUNCATED_STREAM, events=4)
    with pytest.raises(StreamTruncated) as caught:
        callers(loop=loop, stream=True).call(mine, QUESTION)
    assert caught.value.text
    assert caught.value.receipt.verdict.reason is Reason.INCOMPLETE


@pytest.mark.parametrize("billed", [True, False])
def test_a_provider_that_never_answers_is_given_up_after_the_time_out(caller, mine, provider, billed):
    before = len(provider.log)
    hang = provider.fault(Fault.HANG, billed=billed)

    def given_up(seconds: float) -> OutcomeUnknown:
        with pytest.raises(OutcomeUnknown) as caught:
            caller.call({**mine, "timeout": seconds}, {**QUESTION, "max_tokens": 50})
        return caught.value

    error = hastily(given_up, ProviderUnavailable)
    until(lambda: hang.fired)  # it was sent, and has arrived: no other call meets the fault
    assert error.code == "timeout"
    assert error.receipt.outcome == "unknown"
    assert error.receipt.fee.upper
    assert caller.call(mine, QUESTION).receipt.outcome == "answered"
    # It bills once it sees that nobody listens any more, or never: not in the middle of the next test.
    until(lambda: len(provider.log) - before == 1 + billed)


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.UNAVAILABLE])
def test_refusals_before_any_byte_are_retried(caller, mine, provider, fault, monkeypatch):
    from zg_core.http.transport import AsyncTransport, SyncTransport

    async def at_once(self: Any, seconds: float) -> None:
        assert seconds > 0

    monkeypatch.setattr(SyncTransport, "sleep", at_once)
    monkeypatch.setattr(AsyncTransport, "sleep", at_once)
    provider.fault(fault, times=2)
    receipt = caller.call({**mine, "max_retries": 2, "verify": "off"}, QUESTION).receipt
    assert receipt.attempts == 3


def test_a_rejected_session_is_signed_anew_once(caller, mine, provider):
    provider.fault(Fault.SESSION_REJECTED, reason="generation_expired", times=1)
    assert caller.call(mine, QUESTION).receipt.verdict.satisfies("verified")


def test_every_fault_has_its_case():
    covered = {fault for fault, *_ in [*ACCEPTED, *REFUSED, *ERRORS]}
    covered |= {Fault.REPLAY_OTHER, Fault.TRUNCATED_STREAM}
    covered |= {Fault.HANG}  # test_a_provider_that_never_answers_is_given_up_after_the_time_out
    covered |= {Fault.SETTLEMENT_INFLATED}  # of settlements, not of replies: tests/zg_core/cli/test_receipts.py
    # Of pictures and jobs: tests/zg_core/localnet/services/test_media_faults.py
    covered |= {fault for fault in Fault if fault.value.startswith(("image", "duration", "job"))}
    assert covered == set(Fault)
