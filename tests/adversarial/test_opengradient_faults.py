"""What a gateway of OpenGradient does wrong, through every face of the package: named, raised, paid at most once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faces.faces import FACES, Face
from zg_core import Amount, OpenGradient
from zg_core.backends.opengradient import sessions
from zg_core.errors import VerificationFailed, VerificationUnavailable
from zg_core.localnet.opengradient.network import OpenGradientNet

# Fault: how its answer is judged under verify="require", whole and as a stream.
JUDGED = {
    "tamper": "content_mismatch",
    "call_injected": "content_mismatch",
    "wrong_key": "signer_mismatch",
    "clock_off": "stale",
    "other_request": "request_unknown",
    "other_model": "model_renamed",
    "no_signature": "no_signature",
    "replay": "replayed",
}
REFUSED = {
    "greedy_amount": "payment_amount",
    "wrong_payee": "payment_recipient",
    "wrong_asset": "payment_asset",
    "wrong_network": "payment_network",
    "unknown_scheme": "payment_scheme",
    "long_lifetime": "payment_lifetime",
}


@pytest.fixture
def og(zerog_opengradient: OpenGradientNet) -> OpenGradientNet:
    sessions._seats.clear()
    return zerog_opengradient


def settings(net: OpenGradientNet, **more: Any) -> dict[str, Any]:
    backend = OpenGradient(registry_rpc_url=net.registry_rpc_url, rpc_url=net.rpc_url, blobs_url=net.blobs_url)
    key = net.wallet.private_key
    return {"backend": backend, "model": "openai/gpt-5", "private_key": key, "verify": "require", **more}


def granted(net: OpenGradientNet) -> int:
    """Requests that came with a permit or a session."""
    return sum(each.permit or bool(each.session) for gateway in net.gateways for each in gateway.seen)


def fail(net: OpenGradientNet, fault: str) -> None:
    for gateway in net.gateways:
        gateway.fail(fault)


@pytest.mark.parametrize("face", FACES, ids=repr)
def test_no_fault_of_an_answer_passes_as_proven(og, tally, face: Face):
    gateway = og.gateways[0]
    for fault, reason in JUDGED.items():
        gateway.behave()
        honest = face.ask(settings(og, provider=gateway.tee_id))
        assert (honest.verdict, honest.raised) == ("verified", None)
        gateway.fail(fault)
        before = granted(og)
        seen = face.ask(settings(og, provider=gateway.tee_id))
        assert isinstance(seen.error, VerificationFailed | VerificationUnavailable), (fault, seen)
        wanted = {reason, "incomplete"} if fault == "no_signature" else {reason}
        assert str(seen.receipt.verdict.reason) in wanted, fault
        assert seen.error.receipt is seen.receipt
        assert granted(og) == before + 1, f"{fault}: sent again"
        tally("fault of a gateway's answer", tried=1, caught=1)


@pytest.mark.parametrize("face", FACES, ids=repr)
def test_no_prompt_leaves_for_terms_that_are_not_allowed(og, tally, face: Face):
    for fault, code in REFUSED.items():
        for gateway in og.gateways:
            gateway.behave()
            gateway.fail(fault, times=None)
        seen = face.ask(settings(og))
        assert seen.error is not None, fault
        assert seen.error.code == code, fault
        assert seen.receipts == []
        tally("terms of a gateway", tried=1, caught=1)
    assert granted(og) == 0


@pytest.mark.parametrize("fault", ["cut", "mid_stream_error"])
@pytest.mark.parametrize("face", FACES, ids=repr)
def test_an_answer_that_breaks_off_is_no_answer_and_is_not_paid_twice(og, face: Face, fault: str):
    if fault == "mid_stream_error" and not face.stream:
        fault = "cut_before_answer"
    fail(og, fault)
    seen = face.ask(settings(og, max_retries=2))
    assert seen.error is not None
    assert seen.receipt.verdict.status != "verified"
    assert seen.error.receipt is seen.receipt
    assert seen.receipt.fee.upper == Amount("5", "OPG").units
    assert granted(og) == 1
    assert sum(gateway.permits for gateway in og.gateways) <= 1


@pytest.mark.parametrize("face", [face for face in FACES if face.name != "core"], ids=repr)
def test_a_call_says_what_is_published_and_searched_in_every_face(og, face: Face):
    more = {"settlement": "private", "web_search": True}
    seen = face.ask(settings(og), extra_body=more)
    assert (seen.verdict, seen.raised) == ("verified", None)
    (asked,) = [each for gateway in og.gateways for each in gateway.seen if each.permit]
    assert asked.mode == "private"
    body = json.loads(asked.body)
    assert body["web_search"] is True
    assert "settlement" not in body
