"""The node takes the transaction and answers with an error (web3-proxy#128, nethermind#4148 and #12153, xmtpd#1904).

What does a deposit say then, and what happens when the user does what it says?
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Raw, Relay, RpcError, attempt, told
from tests.cases.chain.money import User
from zg_core import og

JSON_504 = b'{"jsonrpc":"2.0","id":0,"error":{"code":-32603,"message":"upstream request timeout"}}'
ANSWERS: dict[str, Exception] = {
    "already known (geth)": RpcError(-32000, "already known"),
    "AlreadyKnown (Nethermind)": RpcError(-32010, "AlreadyKnown"),
    "request timed out (web3-proxy)": RpcError(-32000, "request timed out: Some(Elapsed(()))"),
    "internal error (gateway)": RpcError(-32603, "Internal error"),
    "504 with a JSON error": Raw(JSON_504, 504),
    "504 with a page": Raw(b"<html>504 Gateway Time-out</html>", 504),
    "FeeTooLow, but broadcast (Nethermind)": RpcError(-32010, "FeeTooLow, MaxFeePerGas too low"),
    "timed out waiting (CometBFT)": RpcError(-32603, "timed out waiting for tx to be included in a block"),
    "empty 200": Raw(b"", 200),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_one_wanted_deposit_moves_its_amount_once(name: str, user: User, expect: Expectations) -> None:
    sent: list[Any] = []

    def hook(method: str, params: Any, relay: Relay) -> Any:
        result = relay.up(method, params)
        if method == "eth_sendRawTransaction":
            sent.append(params)
            if len(sent) == 1:
                raise ANSWERS[name]
        return result

    with Relay(hook, user.net.rpc_url) as relay, user.broker(relay) as broker:
        _, error = attempt(lambda: broker.deposit(og("5")))
        if error is not None:  # the user repeats it
            expect("an end that is not known is called pending", error.code == "transaction_pending", told(error))  # type: ignore[attr-defined]
            attempt(lambda: broker.deposit(og("5")))
    expect("the ledger holds what was asked for", user.ledger() == "5 0G", user.ledger())
