"""A load balancer over nodes of which one lags (go-ethereum#27353, cowprotocol#64, aztec#20855, reth#10881).

Three deposits in a row, while every second answer is from a node that is behind.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Relay, attempt, told
from tests.cases.chain.money import QUICK, User
from zg_core import og


@pytest.mark.parametrize("mode", ["count", "pending", "receipt", "all"])
def test_three_deposits_are_three_deposits(mode: str, user: User, expect: Expectations) -> None:
    dice = random.Random(7)

    def hook(method: str, params: Any, relay: Relay) -> Any:
        value, lags = relay.up(method, params), dice.random() < 0.5
        if not lags:
            return value
        if method == "eth_getTransactionCount" and (
            mode in ("count", "all") or (mode == "pending" and params[1] == "pending")
        ):
            return hex(max(0, int(value, 16) - 1))
        if method == "eth_getTransactionReceipt" and mode in ("receipt", "all"):
            return None
        if method == "eth_getTransactionByHash" and mode == "all":
            return None
        return value

    with (
        Relay(hook, user.net.rpc_url) as relay,
        user.broker(relay, replace(QUICK, heal_after=1, stuck_after=8)) as broker,
    ):
        results = [attempt(lambda: broker.deposit(og("4"))) for _ in range(3)]
    errors = [told(error) for _, error in results if error is not None]
    expect("12 0G without an error", user.ledger() == "12 0G" and not errors, f"{user.ledger()} {errors}")
