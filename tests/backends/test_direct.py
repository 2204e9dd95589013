"""0G Direct passes what every backend must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.suite import Misdeed, Suite, World
from tests.zg_core.conftest import CALM
from zg_core import Receipt
from zg_core.backends.direct.audit.anchors import chain_anchor
from zg_core.config import NETWORKS, Network
from zg_core.contracts.reader import ChainReader
from zg_core.http.transport import SyncTransport, run
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.receipts.checking import Anchor

FAULTS: dict[Misdeed, tuple[str, dict[str, Any]]] = {
    "refused": ("unavailable", {}),
    "rejected": ("session_rejected", {"reason": "signature"}),
    "cut": ("truncated_stream", {}),
    "silent": ("cut_before_first_byte", {}),
    "altered": ("body_changed", {}),
}


class Direct(World):
    """Two providers of a model on a local network."""

    name = "direct"
    model = "m"
    candidates = 2

    def __init__(self, net: LocalNet) -> None:
        self.net = net
        self.wallet = net.new_wallet()
        for provider in net.providers:
            net.open_account(self.wallet, provider, 20 * 10**18)
        self._left = 0

    def settings(self) -> dict[str, Any]:
        where = {"rpc_url": self.net.rpc_url, "ledger": self.net.ledger, "inference": self.net.inference}
        return {"private_key": self.wallet.private_key, "network": "local", "environ": {}, **where}

    def prompts(self) -> int:
        requests = (request for provider in self.net.providers for request in provider.requests)
        return sum(request.path.endswith("/chat/completions") for request in requests)

    def fault(self, misdeed: Misdeed, times: int = 1) -> bool:
        name, more = FAULTS[misdeed]
        self.net.providers[0].fault(name, times=times, **more)  # the cheaper one, where calls go first
        return True

    def calm(self) -> None:
        for provider in self.net.providers:
            provider.clear_faults()

    def secrets(self) -> list[str]:
        return [self.wallet.private_key.removeprefix("0x")]

    def anchor(self, receipt: Receipt) -> Anchor:
        here = Network(
            **{
                **{name: getattr(NETWORKS["local"], name) for name in ("name", "chain_id")},
                "rpc_url": self.net.rpc_url,
                "ledger": self.net.ledger,
                "inference": self.net.inference,
            }
        )
        return run(chain_anchor(receipt, ChainReader(here, SyncTransport())))


class TestDirect(Suite):
    """See `Suite`."""

    @pytest.fixture(scope="class")
    def world(self) -> Iterator[World]:
        """Its network."""
        specs = [ProviderSpec(model="m"), ProviderSpec(model="m", input_price=10**12, output_price=10**13)]
        with LocalNet(providers=specs, settings=CALM) as net:
            yield Direct(net)
