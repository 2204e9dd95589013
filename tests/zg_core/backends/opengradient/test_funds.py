"""Approvals in exact integers, and what speaks against a permit before it is signed."""

from __future__ import annotations

import pytest

from zg_core.backends.opengradient.funds import Funds, approve_call, short_of, wanted
from zg_core.errors import ConfigError
from zg_core.money import Amount

OPG = 10**18


@pytest.mark.parametrize(
    ("least", "most", "found"),
    [
        ("1.1", None, (11 * OPG // 10, 22 * OPG // 10)),  # int(1.1 * 10**18) would be 1100000000000000128
        (5, None, (5 * OPG, 10 * OPG)),
        (Amount("0.1", "OPG"), Amount("7", "OPG"), (OPG // 10, 7 * OPG)),
    ],
)
def test_amounts_are_exact(least, most, found):
    assert wanted(least, most) == found


@pytest.mark.parametrize(
    ("least", "most"),
    [
        (1.1, None),
        (True, None),
        (0, None),
        (-1, None),
        ("1", "0.5"),
        (Amount("1", "0G"), None),
        ("1", Amount(2**256 - 1, "OPG")),
    ],
)
def test_what_is_no_amount_or_has_no_limit_is_refused(least, most):
    with pytest.raises(ConfigError) as refused:
        wanted(least, most)
    assert refused.value.code == "bad_amount"


def test_a_permit_needs_balance_and_approval_for_its_whole_cap():
    def funds(balance: int, allowance: int) -> Funds:
        return Funds(Amount(balance, "OPG"), Amount(allowance, "OPG"), 0)

    assert short_of(funds(5, 5), 5) is None
    for have, code in ((funds(4, 5), "opg_insufficient"), (funds(5, 4), "opg_not_approved")):
        short = short_of(have, 5)
        assert short is not None
        assert short.code == code
        assert "nothing was signed" in short.message
        assert short.hint


def test_the_approval_names_permit2_and_the_amount():
    data = approve_call(7)
    assert data[:4].hex() == "095ea7b3"
    assert data[4:36].hex().endswith("22d473030f116ddee9f6b43ac78ba3")
    assert int.from_bytes(data[36:]) == 7
