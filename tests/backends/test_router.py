"""0G Router passes what every backend must, in the clear and sealed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.suite import QUESTION, Misdeed, Suite, World
from tests.zg_core.backends.router.conftest import settings_for
from tests.zg_core.conftest import CALM
from zg_core import ChatClient, Receipt
from zg_core.backends.direct.audit.anchors import chain_anchor
from zg_core.config import NETWORKS, Network
from zg_core.contracts.reader import ChainReader
from zg_core.errors import ConfigError, VerificationUnavailable, ZeroGError
from zg_core.http.transport import SyncTransport, run
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.router.faults import RouterFault
from zg_core.receipts.checking import Anchor, check
from zg_core.verify.verdict import Status

MISMATCH = '{"error":"e2ee_key_mismatch: the request is sealed to another key"}'


class Routed(World):
    """Two providers of a model behind a Router."""

    name = "router"
    model = "m"
    sealed = False

    def __init__(self, net: LocalNet) -> None:
        self.net = net

    def settings(self) -> dict[str, Any]:
        return settings_for(self.net, sealed=self.sealed, model=self.model)

    def prompts(self) -> int:
        return sum(passed.startswith(b"POST /v1/chat/completions") for passed in self.net.router.seen)

    def fault(self, misdeed: Misdeed, times: int = 1) -> bool:
        if misdeed == "refused":
            self.net.router.fault(RouterFault.REFUSED, times=times)
        elif misdeed == "cut":
            self.net.router.fault(RouterFault.CUT_BEFORE_FINAL, times=times)
        else:
            return False
        return True

    def calm(self) -> None:
        self.net.router.clear_faults()

    def secrets(self) -> list[str]:
        return [self.net.router.api_key.removeprefix("sk-")]

    def anchor(self, receipt: Receipt) -> Anchor:
        contracts = {"rpc_url": self.net.rpc_url, "ledger": self.net.ledger, "inference": self.net.inference}
        here = Network(name="local", chain_id=NETWORKS["local"].chain_id, **contracts)
        return run(chain_anchor(receipt, ChainReader(here, SyncTransport())))


class InTheClear(Routed):
    """Claims."""

    best = Status.SIGNER_ONLY


class Sealed(Routed):
    """Proof; each enclave is a candidate."""

    sealed = True
    candidates = 2

    def one(self) -> dict[str, Any]:
        return {"provider": self.net.providers[0].address}

    def fault(self, misdeed: Misdeed, times: int = 1) -> bool:
        if misdeed == "rejected":
            self.net.router.fault(RouterFault.REFUSED, times=times, status=409, body=MISMATCH)
        elif misdeed == "altered":
            self.net.router.fault(RouterFault.FIELD_CHANGED, times=times)
        else:
            return super().fault(misdeed, times)
        return True


@pytest.fixture(scope="module")
def routed() -> Iterator[LocalNet]:
    """The network of both."""
    specs = [ProviderSpec(model="m"), ProviderSpec(model="m", input_price=10**12, output_price=10**13)]
    with LocalNet(providers=specs, settings=CALM, router=True) as net:
        yield net


class TestInTheClear(Suite):
    """See `Suite`."""

    @pytest.fixture(scope="class")
    def world(self, routed: LocalNet) -> World:
        """Its network."""
        return InTheClear(routed)

    def test_a_receipt_is_checked_again_offline(self, options: dict[str, Any], world: World) -> None:
        """A claim is nobody's proof: a receipt says so itself, and nothing more can be made of it."""
        with ChatClient(**{**options, "keep_bytes": True}) as client:
            receipt = client.create(QUESTION).receipt
        found = check(receipt.to_dict(), minimum=world.best)
        assert found.result == "unproven", found

    def test_why_a_call_goes_where_it_goes_is_explained(self, options: dict[str, Any], world: World) -> None:
        """To the Router; who of all providers it is then, the Router says afterwards."""
        with ChatClient(**options) as client:
            explanation = client.explain()
            assert explanation.chosen is not None
            assert explanation.chosen.service.provider == "router"
            answered = client.create(QUESTION)
        assert answered.receipt.provider == answered.receipt.service.provider
        assert answered.receipt.provider in {each.address for each in world.net.providers}  # type: ignore[attr-defined]

    def test_a_policy_that_no_service_can_meet_is_told_before_the_prompt_leaves(
        self, options: dict[str, Any], world: World
    ) -> None:
        """The Router itself reads the prompt, and is of no kind that may."""
        before = world.prompts()
        for demand in ({"kinds": ["TeeML"]}, {"verify": "require"}):
            with ChatClient(**{**options, **demand}) as client, pytest.raises(ZeroGError) as caught:
                client.create(QUESTION)
            assert isinstance(caught.value, VerificationUnavailable | ConfigError), caught.value
        assert world.prompts() == before


class TestSealed(Suite):
    """See `Suite`."""

    @pytest.fixture(scope="class")
    def world(self, routed: LocalNet) -> World:
        """Its network."""
        return Sealed(routed)
