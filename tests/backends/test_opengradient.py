"""OpenGradient passes what every backend must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.suite import Misdeed, Suite, World
from zg_core import ChatClient, OpenGradient, Receipt
from zg_core.localnet import GatewaySettings, OpenGradientNet
from zg_core.receipts.checking import Anchor

FAULTS: dict[Misdeed, tuple[str, dict[str, Any]]] = {
    "refused": ("unavailable", {"granted": True}),
    "rejected": ("session_expired", {}),
    "cut": ("cut", {}),
    "silent": ("cut_before_answer", {}),
    "altered": ("tamper", {}),
}


class Gateways(World):
    """One gateway, and a wallet whose calls have a session there; failover has its own tests (test_backend.py)."""

    name = "opengradient"
    model = "gpt-5"
    currency = "OPG"
    candidates = 1
    other_kind = "TeeML"

    def __init__(self, net: OpenGradientNet) -> None:
        self.net = net
        self.wallet = net.new_wallet(approved=500 * 10**18)
        self.first = min(net.gateways, key=lambda gateway: gateway.tee_id)
        self.open()

    def open(self) -> None:
        """Have a session: what is refused within one is refused for certain."""
        with ChatClient(**self.settings(), model=self.model) as client:
            client.create({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5})

    def settings(self) -> dict[str, Any]:
        backend = OpenGradient(registry_rpc_url=self.net.registry_rpc_url, rpc_url=self.net.rpc_url)
        return {"private_key": self.wallet.private_key, "backend": backend, "environ": {}}

    def prompts(self) -> int:
        return sum(each.permit or bool(each.session) for gateway in self.net.gateways for each in gateway.seen)

    def fault(self, misdeed: Misdeed, times: int = 1) -> bool:
        if misdeed == "refused":
            self.open()
        name, more = FAULTS[misdeed]
        self.first.fail(name, times=times, **more)
        if misdeed == "rejected" and times > 1:  # nor does what is granted instead
            self.first.fail("payment_refused", times=times)
        return True

    def calm(self) -> None:
        for gateway in self.net.gateways:
            gateway.behave()

    def secrets(self) -> list[str]:
        session = next((each.session for each in reversed(self.first.seen) if each.session), "")
        return [self.wallet.private_key.removeprefix("0x"), session] if session else []

    def anchor(self, receipt: Receipt) -> Anchor:
        gateway = next(each for each in self.net.gateways if each.tee_id == receipt.provider)
        return Anchor("the registry", signers=(gateway.tee_id,))


class TestOpenGradient(Suite):
    @pytest.fixture(scope="class")
    def world(self) -> Iterator[World]:
        with OpenGradientNet(gateways=1, settings=GatewaySettings(idle=None)) as network:
            yield Gateways(network)
