"""A recipient typed with one letter wrong: EIP-55's capitals are there to catch it. One case alone is taken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Expectations, attempt, ours, told
from tests.cases.chain.money import User
from zg_core import og

GOOD = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
TYPO = GOOD[:10] + "4" + GOOD[11:]
SWAPPED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"


@pytest.mark.parametrize(
    ("address", "taken"),
    [(GOOD, True), (GOOD.lower(), True), ("0x" + GOOD[2:].upper(), True), (TYPO, False), (SWAPPED, False)],
)
def test_capitals_are_checked_before_anything_is_sent(
    address: str, taken: bool, user: User, expect: Expectations
) -> None:
    with user.broker() as broker:
        _, error = attempt(lambda: broker.deposit_for(address, og("3")))
    expect("taken" if taken else "refused", (error is None) == taken, "sent" if error is None else told(error))
    expect("nothing sent if refused", taken or user.net.chain.nonce(user.wallet.address) == 0)


@pytest.mark.parametrize(
    "value",
    [
        "XE7338O073KYGTWWZN0F2WZ0R8PX5ZPPZS",
        "alice.eth",
        "0X" + GOOD[2:],
        GOOD[2:],
        f" {GOOD} ",
        GOOD[:-1],
        GOOD + "0",
        "0x" + "0" * 40,
        bytes.fromhex(GOOD[2:]),
        None,
    ],
    ids=repr,
)
def test_what_is_no_address_is_refused_with_an_error_of_ours(value: Any, user: User, expect: Expectations) -> None:
    with user.broker() as broker:
        _, error = attempt(lambda: broker.deposit_for(value, og("3")))
    expect("refused", error is not None and ours(error), "SENT" if error is None else told(error))
