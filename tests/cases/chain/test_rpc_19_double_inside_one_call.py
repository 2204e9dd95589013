"""A gateway hands a transaction to several nodes, or repeats it, and shows the last one's words.

dcrdex#3498, web3-ethereum-defi#153 and #156, nitro#3196 (ReplacementNotAllowed for the very same transaction). Ours is
in all the same: is the deposit made a second time, inside one call?
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Relay, RpcError, attempt, told
from tests.cases.chain.money import User
from zg_core import og

WORDS = [
    "nonce too low",
    "nonce too low: next nonce 1, tx nonce 0",
    "replacement transaction underpriced",
    "ReplacementNotAllowed",
    "transaction underpriced",
    "could not replace existing tx",
    "invalid nonce; got 0, expected 1: invalid sequence: invalid sequence",
]


@pytest.mark.parametrize("words", WORDS)
def test_one_deposit_is_one_deposit(words: str, user: User, expect: Expectations) -> None:
    sent: list[Any] = []

    def hook(method: str, params: Any, relay: Relay) -> Any:
        value = relay.up(method, params)
        if method == "eth_sendRawTransaction":
            sent.append(params)
            if len(sent) == 1:
                raise RpcError(-32000, words)
        return value

    with Relay(hook, user.net.rpc_url) as relay, user.broker(relay) as broker:
        _, error = attempt(lambda: broker.deposit(og("5")))
    said = "success" if error is None else told(error)
    expect("one deposit of 5 0G", user.ledger() == "5 0G", f"{user.ledger()}, told: {said}")
