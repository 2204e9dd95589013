"""Odd receipts while a deposit waits.

web3.py#3212 and ethers.js#4999 (indexing in progress), parity#10505 (the count before the receipt), go-ethereum#1746,
cronos#462 (status), zkevm-node#261 (an error instead of null), viem#4342, ethers#331.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Relay, RpcError, attempt, ours, told
from tests.cases.chain.money import QUICK, User
from zg_core import Sending, og

GONE = "<no such field>"


def deposit(user: User, hook: Any, sending: Sending = QUICK) -> Exception | None:
    with Relay(hook, user.net.rpc_url) as relay, user.broker(relay, sending) as broker:
        return attempt(lambda: broker.deposit(og("5")))[1]


def with_fields(**changes: Any) -> Any:
    def hook(method: str, params: Any, relay: Relay) -> Any:
        value = relay.up(method, params)
        if method == "eth_getTransactionReceipt" and isinstance(value, dict):
            value = {**value, **changes}
            value = {name: one for name, one in value.items() if one != GONE}
        return value

    return hook


@pytest.mark.parametrize(
    ("methods", "code", "words"),
    [
        (("eth_getTransactionReceipt",), -32000, "transaction indexing is in progress"),
        (("eth_getTransactionReceipt", "eth_getTransactionByHash"), -32600, "object not found"),
    ],
)
def test_an_error_instead_of_a_receipt_is_waited_for(
    methods: tuple[str, ...], code: int, words: str, user: User, expect: Expectations
) -> None:
    asked: list[str] = []

    def hook(method: str, params: Any, relay: Relay) -> Any:
        if method in methods:
            asked.append(method)
            if len(asked) < 6:
                raise RpcError(code, words)
        return relay.up(method, params)

    error = deposit(user, hook)
    expect("the deposit is told", error is None, error and told(error))
    expect("it was made once", user.ledger() == "5 0G", user.ledger())


def test_a_receipt_without_a_block_is_pending(user: User, expect: Expectations) -> None:
    error = deposit(user, with_fields(blockNumber=None), Sending(timeout=1, heal_after=0.2))
    expect("pending", getattr(error, "code", "") == "transaction_pending", error and told(error))


def test_a_receipt_without_a_status_says_that_it_was_mined(user: User, expect: Expectations) -> None:
    error = deposit(user, with_fields(status=GONE))
    expect("an error of ours", ours(error), error and told(error))
    mined = error is not None and (
        ("mined" in str(error) and "again" in str(error)) or getattr(error, "code", "") == "rpc_junk"
    )
    expect("it says that it was mined, and not to send it again", mined, error and told(error))


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 1},
        {"status": True},
        {"status": "0x01"},
        {"effectiveGasPrice": GONE},
        {"logs": None},
        {"transactionHash": "0x" + "AB" * 32},
        {"gasUsed": "0x" + "f" * 64, "extra": [1]},
    ],
    ids=str,
)
def test_other_oddities_do_not_matter(changes: dict[str, Any], user: User, expect: Expectations) -> None:
    error = deposit(user, with_fields(**changes))
    expect("the deposit is told", error is None, error and told(error))
