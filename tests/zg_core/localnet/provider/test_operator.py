"""The operator in front of a genuine provider: each thing he may do, and that he may do no more than that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from zg_core import ChatClient, VerificationFailed, VerificationUnavailable, ZeroGError
from zg_core.localnet import LocalNet
from zg_core.localnet.provider.operator import Operator, Passed
from zg_core.verify import Reason, Status

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 30}


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet() as made:
        made.open_account(made.wallet, made.providers[0], 20 * 10**18)
        yield made


@pytest.fixture
def operator(net: LocalNet) -> Iterator[Operator]:
    snapshot = net.snapshot()
    with net.operator(net.providers[0]) as made:
        yield made
    net.revert(snapshot)


@pytest.fixture
def client(net: LocalNet, operator: Operator) -> Iterator[ChatClient]:
    settings: dict[str, Any] = {"network": "local", "rpc_url": net.rpc_url, "private_key": net.wallet.private_key}
    settings |= {"verify": "require", "kinds": ["TeeML"], "environ": {}, "max_retries": 0}
    with ChatClient(provider=net.providers[0].address, **settings) as made:  # kinds: it reads the record before it asks
        yield made


def streamed(client: ChatClient) -> Any:
    stream = client.stream(QUESTION)
    list(stream)
    return stream.receipt


def test_honest_he_changes_nothing_and_reads_everything(client: ChatClient, operator: Operator) -> None:
    assert client.create(QUESTION).receipt.verdict.status is Status.VERIFIED
    assert streamed(client).verdict.status is Status.VERIFIED
    calls = [one for one in operator.seen if one.is_call]
    assert [b"capital of France" in one.body for one in calls] == [True, True]
    assert all(one.headers["authorization"].startswith("Bearer app-sk-") for one in calls)


@pytest.mark.parametrize("call", [lambda client: client.create(QUESTION), streamed], ids=["create", "stream"])
def test_a_substituted_answer_is_signed_and_not_ours(client: ChatClient, operator: Operator, call: Any) -> None:
    operator.substitute("What is 500 + 500?")
    with pytest.raises(VerificationUnavailable) as caught:
        call(client)
    verdict = caught.value.receipt.verdict
    assert (verdict.status, verdict.reason) == (Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN)
    assert "1000" in caught.value.text


def test_an_answer_is_replayed_once_too_often(client: ChatClient, operator: Operator) -> None:
    operator.replay()
    assert client.create(QUESTION).receipt.verdict.status is Status.VERIFIED
    with pytest.raises(VerificationFailed) as caught:
        client.create(QUESTION)
    assert caught.value.code == "replayed"


def test_he_asks_for_another_model_and_another_question(net: LocalNet, client: ChatClient, operator: Operator) -> None:
    operator.rename_model(net.providers[0].model)
    headers = {"authorization": f"Bearer {client.token().reveal()}", "content-type": "application/json"}
    body = json.dumps({**QUESTION, "model": "the one that was asked for"}).encode()
    said = operator.answer(Passed("POST", "/v1/proxy/chat/completions", headers, body))
    assert (said.status, json.loads(said.body)["model"]) == (200, net.providers[0].model)
    operator.plan = lambda passed: operator.forward(passed, passed.body.replace(b"France", b"Italy"))
    with pytest.raises(VerificationUnavailable) as caught:
        client.create(QUESTION)
    assert "Rome" in caught.value.text


@pytest.mark.parametrize("status", [503, 429, 500])
def test_what_was_served_and_then_refused_was_billed(
    net: LocalNet, client: ChatClient, operator: Operator, status: int
) -> None:
    before = len(net.providers[0].log)
    operator.refuse_after_serving(status)
    with pytest.raises(ZeroGError):
        client.create(QUESTION)
    assert len(net.providers[0].log) == before + 1


def test_a_raised_price_is_on_chain_and_billed(net: LocalNet, client: ChatClient, operator: Operator) -> None:
    cheap = client.create(QUESTION).receipt.fee
    operator.raise_price(3)
    dear = client.create(QUESTION).receipt.fee
    assert (dear.amount.units, dear.exact) == (3 * cheap.amount.units, True)
    assert net.providers[0].log[-1].fee == dear.amount.units


def test_when_he_leaves_the_record_leads_to_the_enclave(net: LocalNet, client: ChatClient) -> None:
    with net.operator(net.providers[0]) as second:
        assert client.create(QUESTION).receipt.verdict.status is Status.VERIFIED
        assert second.seen
    passed = len(second.seen)
    assert client.create(QUESTION).receipt.verdict.status is Status.VERIFIED
    assert len(second.seen) == passed
