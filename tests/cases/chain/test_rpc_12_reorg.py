"""A receipt is shown, then its block goes (web3.js#3608, go-ethereum#1746): the wallet stays usable."""

from __future__ import annotations

from typing import Any

from tests.cases.chain.field import Expectations, attempt, told
from tests.cases.chain.money import User
from zg_core import Sending, og
from zg_core.localnet import LocalNet


def test_nonces_heal_and_confirmations_can_be_asked_for(tmp_path: Any, expect: Expectations) -> None:
    with LocalNet(providers=0) as net:
        user = User(net, f"sqlite:///{tmp_path}/reorg.db")
        with user.broker() as broker:
            broker.deposit(og("5"))
            snapshot = net.snapshot()
            broker.deposit(og("4"))
            net.revert(snapshot)
            _, error = attempt(lambda: broker.deposit(og("3")))
        expect("the next deposit is made", error is None, error and told(error))
        expect("of the chain as it is now", user.ledger() == "8 0G", user.ledger())
        user.close()
    fields = list(Sending.__dataclass_fields__)
    expect("a wish for confirmations can be said", any("confirm" in name for name in fields), fields)
