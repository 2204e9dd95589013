"""Auto-funding at a node that takes each transfer and answers with a time-out (web3-proxy#128): the limit holds."""

from __future__ import annotations

from typing import Any

from tests.cases.chain.field import Expectations, Relay, RpcError
from tests.cases.chain.money import User
from zg_core import AutoFunding, Budget, Funder, og
from zg_core.localnet import LocalNet


def test_the_limit_holds_and_what_may_have_been_mined_counts(tmp_path: Any, expect: Expectations) -> None:
    with LocalNet(providers=4) as net:
        user = User(net, f"sqlite:///{tmp_path}/four.db")
        faulty: list[bool] = []

        def hook(method: str, params: Any, relay: Relay) -> Any:
            result = relay.up(method, params)
            if method == "eth_sendRawTransaction" and faulty:
                raise RpcError(-32000, "request timed out: Some(Elapsed(()))")
            return result

        with Relay(hook, net.rpc_url) as relay, user.broker(relay) as broker:
            broker.deposit(og("50"))
            faulty.append(True)
            providers = [each.address for each in net.providers]
            budget = Budget(per_day=og("4"))
            plan = AutoFunding(max_total=og("4"), max_per_provider=og("2"), target=og("2"), budget=budget)
            funder = Funder(broker, plan, providers)
            funder.look()
            moved = sum(account.balance.units for account in broker.accounts())
            counted = sum(amount.units for amount in funder.spent.values())
        user.close()
    expect("at most 4 0G are moved", moved <= 4 * 10**18, moved)
    expect("what may have been mined counts as spent", counted >= min(moved, 4 * 10**18), counted)
