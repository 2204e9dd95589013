"""The local OpenGradient as a thing: it leaves nothing behind, and says no to what is none of its forms."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core.localnet.opengradient.faults import Fault, FaultPlan, fault_meanings
from zg_core.localnet.opengradient.network import OpenGradientNet
from zg_core.localnet.opengradient.relay import tree_of


def post(gateway: Any, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    context = ssl.create_default_context(cadata=gateway.enclave.certificate.der)
    context.check_hostname = False
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(f"{gateway.url}/v1/chat/completions", data, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(asked, context=context, timeout=PATIENCE) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {name.lower(): value for name, value in refused.headers.items()}, refused.read()


TOKEN = {"Authorization": "Bearer 0x12"}
ASKED = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}


def test_requests_that_are_none_are_refused_before_a_payment(zerog_opengradient):
    gateway = zerog_opengradient.gateways[0]
    assert post(gateway, ASKED)[0] == 401
    assert post(gateway, b"{", **TOKEN)[0] == 400
    assert post(gateway, {**ASKED, "tool_choice": "any"}, **TOKEN)[0] == 400
    status, _, body = post(gateway, {**ASKED, "model": "gpt-0"}, **TOKEN)
    assert (status, json.loads(body)["error"]) == (400, "Model 'gpt-0' is not supported")


def test_without_a_payment_it_asks_for_one_and_an_unknown_session_has_no_challenge(zerog_opengradient):
    gateway = zerog_opengradient.gateways[0]
    status, headers, body = post(gateway, ASKED, **TOKEN)
    assert (status, json.loads(body), "payment-required" in headers) == (402, {}, True)
    status, headers, body = post(gateway, ASKED, **TOKEN, **{"X-Upto-Session": "none"})
    assert (status, "payment-required" in headers) == (402, False)
    assert json.loads(body) == {"error": "Session expired or exhausted"}
    assert post(gateway, ASKED, **TOKEN, **{"PAYMENT-SIGNATURE": "AAAA"})[0] == 402


def test_nothing_is_left_when_it_ends():
    before = threading.active_count()
    with OpenGradientNet(gateways=1) as net:
        directory = net.directory
        assert directory.is_dir()
        assert "PRIVATE_KEY" in "".join(net.env())
    assert not directory.exists()
    assert threading.active_count() <= before + 1  # x402 keeps one of its own


def test_a_clean_network_is_as_it_was(zerog_opengradient):
    net = zerog_opengradient
    payer = net.wallet.address
    held = net.tokens(payer)
    with net.clean():
        net.gateways[0].retire()
        net.gateways[0].fail("tamper")
        net.new_wallet()
    assert net.tokens(payer) == held
    assert net.gateways[0]._state.faults.take(Fault.TAMPER) is None


def test_faults_are_named_and_their_options_checked():
    plan = FaultPlan()
    assert set(fault_meanings()) == {each.value for each in Fault}
    with pytest.raises(ValueError, match="has no option factor"):
        plan.add("tamper", factor=2)
    with pytest.raises(ValueError, match="nonsense"):
        plan.add("nonsense")
    plan.add("greedy_amount", times=2)
    assert [plan.take(Fault.GREEDY_AMOUNT) is not None for _ in range(3)] == [True, True, False]


def test_a_tree_of_one_leaf_is_the_leaf():
    leaf = (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"sig", 5)
    root, dump = tree_of([leaf])
    assert dump["tree"] == ["0x" + root.hex()]
    root3, dump3 = tree_of([leaf, (*leaf[:4], 6), (*leaf[:4], 7)])
    assert len(dump3["tree"]) == 5
    assert dump3["tree"][0] == "0x" + root3.hex()


def test_what_waits_to_be_published_is_published_after_a_while(monkeypatch):
    done = threading.Event()
    with OpenGradientNet(gateways=1, publish_after=0.0) as net:
        honest = net.relay.publish

        def publish() -> str:
            transaction = honest()
            if transaction:
                done.set()
            return transaction

        monkeypatch.setattr(net.relay, "publish", publish)
        net.relay.add((bytes(32), bytes(32), bytes(32), b"signature", 1))
        assert done.wait(PATIENCE)
        assert len(net.relay.blobs) == 1
