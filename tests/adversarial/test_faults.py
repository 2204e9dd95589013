"""Every fault of the local network, met through the core client and through ChatZeroG in all four ways.

What must come of each is the table of `tests/zg_core/test_faults.py`; a fault without a row there fails that module.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from tests.zg_core.test_faults import ACCEPTED, ERRORS, REFUSED, STREAM_ONLY, name
from zg_core import StreamTruncated, VerificationFailed, VerificationUnavailable, VerificationWarning
from zg_core.localnet import Fault
from zg_core.verify import Reason, Status

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France? Say it as « Paris, é 😀 »."}]}


def streamed(everyone: Any, fault: Fault) -> Any:
    """The same caller as a stream, for faults that only a stream can have."""
    return type(everyone)(loop=everyone.loop, stream=True) if fault in STREAM_ONLY else everyone


@pytest.mark.parametrize(("fault", "how", "verdict"), ACCEPTED, ids=name)
def test_an_honest_reply_in_an_odd_form(everyone, options, provider, tally, fault, how, verdict):
    status, _, reason = verdict.partition("/")
    provider.fault(fault, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerificationWarning)
        found = streamed(everyone, fault).call(options, QUESTION).receipt.verdict
    assert (found.status, found.reason) == (Status(status), Reason(reason)), found
    tally("honest reply in an odd form", honest=1, accepted=1)


@pytest.mark.parametrize(("fault", "how", "reason"), REFUSED, ids=name)
@pytest.mark.parametrize("verify", ["warn", "require"])
def test_a_lie(everyone, options, provider, tally, verify, fault, how, reason):
    settings = {**options, "verify": verify}
    if fault is Fault.REPLAY_OWN:
        everyone.call(settings, {"messages": [{"role": "user", "content": "What is 2 + 2?"}]})
    provider.fault(fault, **how)
    with pytest.raises(VerificationFailed) as caught:
        everyone.call(settings, QUESTION)
    assert caught.value.code == reason, caught.value
    assert caught.value.receipt.verdict.status is Status.FAILED
    assert caught.value.text
    tally(f"fault {fault.value}", tried=1, caught=1)


def test_somebody_elses_genuine_exchange(everyone, options, provider, net, tally):
    other = net.new_wallet()
    net.open_account(other, provider)
    everyone.call({**options, "private_key": other.private_key}, {"messages": [{"role": "user", "content": "Hello."}]})
    provider.fault(Fault.REPLAY_OTHER)
    # response_bound by itself; replayed here, since the other user's client ran in this very process
    with pytest.raises((VerificationFailed, VerificationUnavailable)) as caught:
        everyone.call({**options, "verify": "require", "minimum": "verified"}, QUESTION)
    assert not caught.value.receipt.verdict.satisfies("verified")
    tally("fault replay_other", tried=1, caught=1)


@pytest.mark.parametrize(("fault", "how", "error", "code"), ERRORS, ids=name)
def test_a_failure(everyone, options, provider, tally, fault, how, error, code):
    provider.fault(fault, **how, times=None)
    with pytest.raises(error) as caught:
        everyone.call(options, QUESTION)
    assert caught.value.code == code, caught.value
    tally(f"fault {fault.value}", tried=1, caught=1)


def test_a_truncated_stream(everyone, options, provider, tally):
    provider.fault(Fault.TRUNCATED_STREAM, events=4)
    with pytest.raises(StreamTruncated) as caught:
        streamed(everyone, Fault.TRUNCATED_STREAM).call(options, QUESTION)
    assert caught.value.text
    tally("fault truncated_stream", tried=1, caught=1)
