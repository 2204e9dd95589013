"""One key on two records: told apart by what it signs, or refused where nothing tells which enclave signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.adversarial.conftest import settings_for
from tests.adversarial.operator import Enclave
from zg_core import ChatClient, VerificationUnavailable
from zg_core.http.transport import run
from zg_core.localnet import LocalNet
from zg_core.verify import AllOf, Attested, Kinds, Reason, Status, Verified
from zg_core.verify.replay import ReplayGuard

QUESTION = {"messages": [{"role": "user", "content": "What is the price of ETH?"}], "max_tokens": 20}
SEPARATED = '{"TargetSeparated":true,"TargetTeeAddress":"{key}"}'
RELAY = '{"ProviderType":"centralized","TargetSeparated":true,"ProviderIdentity":"openai"}'

Make = Callable[..., Enclave]


@pytest.fixture
def make(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes enclaves whose first record says TeeML, with the chain as it was afterwards."""
    monkeypatch.setattr("zg_core.client._GUARD", ReplayGuard())
    snapshot, made = net.snapshot(), []

    def enclave() -> Enclave:
        made.append(Enclave(net, "chatcmpl-9xyz"))
        return made[-1]

    yield enclave
    for each in made:
        each.stop()
    net.revert(snapshot)


def client_of(net: LocalNet, provider: str, **more: Any) -> ChatClient:
    return ChatClient(**settings_for(net, net.wallet, provider), environ={}, **{"verify": "require", **more})


DEMANDS: dict[str, dict[str, Any]] = {
    "kinds": {"kinds": ["TeeML"]},
    "a condition": {"verify": AllOf(Verified(), Kinds("TeeML", "TeeML-separated"))},
    "an attestation": {"attest": 1},
    "an attestation as a condition": {"verify": Attested(1)},
}


@pytest.mark.parametrize("demand", DEMANDS)
def test_who_asks_for_a_kind_sends_no_prompt_to_a_key_of_two(net, make, tally, demand: str) -> None:
    enclave = make()
    other = enclave.register(net, SEPARATED)
    for provider in (enclave.address, other):
        with client_of(net, provider, **DEMANDS[demand]) as client, pytest.raises(VerificationUnavailable) as caught:
            client.create(QUESTION)
        if demand == "kinds" and provider == other:
            assert caught.value.code == "kind_not_allowed"
        else:
            assert caught.value.code == "signer_shared"
        tally("key of two kinds", tried=1, caught=1)
    assert [asked for asked in enclave.asked if asked.is_chat] == []


@pytest.mark.parametrize("stream", [False, True])
def test_who_knows_both_records_takes_no_answer_of_their_key_for_proven(net, make, tally, stream: bool) -> None:
    enclave = make()
    enclave.register(net, SEPARATED)
    with client_of(net, enclave.address) as client:
        run(client.backend.services())
        with pytest.raises(VerificationUnavailable) as caught:
            list(client.stream(QUESTION)) if stream else client.create(QUESTION)
    verdict = caught.value.receipt.verdict
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.SIGNER_SHARED)
    tally("key of two kinds", tried=1, caught=1)


@pytest.mark.parametrize(
    ("info", "acknowledged"),
    [("{}", True), (RELAY, True), (SEPARATED, False), ('{"TargetSeparated":true,"TargetTeeAddress":"0x1"}', True)],
    ids=["same kind", "a form of its own", "a stranger's claim", "another key"],
)
def test_a_record_beside_it_that_can_be_told_apart_harms_nobody(
    net, make, tally, info: str, acknowledged: bool
) -> None:
    enclave = make()
    enclave.register(net, info, acknowledged=acknowledged)
    with client_of(net, enclave.address, kinds=["TeeML"]) as client:
        run(client.backend.services())
        assert client.create(QUESTION).receipt.verdict.status is Status.VERIFIED
    tally("key on two records", honest=1, accepted=1)
