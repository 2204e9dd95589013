"""A user with a wallet on a local network, whose node stands behind a relay."""

from __future__ import annotations

from typing import Any

from tests.cases.chain.field import Relay, network_of
from tests.patience import PATIENCE
from zg_core import Broker, Sending, Store
from zg_core.localnet import LocalNet

QUICK = Sending(timeout=PATIENCE, heal_after=0.2)


class User:
    """A fresh wallet."""

    def __init__(self, net: LocalNet, store: str) -> None:
        self.net, self.wallet, self.store = net, net.new_wallet(), Store.open(store)

    def broker(self, relay: Relay | None = None, sending: Sending = QUICK, **more: Any) -> Broker:
        """A broker of the wallet, at the relay if there is one."""
        network = network_of(self.net, None if relay is None else relay.url)
        options = {"private_key": self.wallet.private_key, "store": self.store, "environ": {}, **more}
        return Broker(network=network, sending=sending, **options)

    def ledger(self) -> str:
        """What the ledger holds, by an honest node."""
        with Broker.read_only(network=network_of(self.net), user=self.wallet.address, environ={}) as honest:
            found = honest.ledger()
        return "0 0G" if found is None else str(found.total)

    def close(self) -> None:
        """Close the store."""
        self.store.close()
