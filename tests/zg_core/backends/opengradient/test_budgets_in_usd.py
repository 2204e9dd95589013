"""Budgets in US dollars for calls that are paid in OPG, at a rate that the user gives."""

from __future__ import annotations

import pytest

from tests.zg_core.backends.opengradient.conftest import QUESTION
from zg_core import Amount, Budget, neuron
from zg_core.errors import BudgetExceeded, ConfigError

RATE = Amount("20", "OPG")  # for a dollar: a permit for 5 OPG is one for a quarter
DOLLAR = Amount("1", "USD")


def test_a_permit_counts_at_the_rate_that_was_given(og, make):
    client = make(budget=Budget(per_call=DOLLAR, per_run=DOLLAR, usd=RATE))
    receipt = client.create(QUESTION).receipt
    spent = client.spending.spent(receipt.payer, receipt.provider)
    assert spent.amounts == {"per_run": Amount("5", "OPG")}
    assert spent.usd == {"per_run": Amount("0.25", "USD")}
    assert receipt.fee.amount.currency == "OPG"


def test_what_a_dollar_limit_does_not_have_is_refused_before_anything_is_signed(og, make):
    client = make(budget=Budget(per_run=Amount("0.2499", "USD"), usd=RATE))
    with pytest.raises(BudgetExceeded) as refused:
        client.create(QUESTION)
    assert "5 OPG (0.25 USD)" in refused.value.message
    assert "per_run of 4.998 OPG (0.2499 USD)" in refused.value.message
    details = refused.value.details
    assert (details["asked"], details["usd"]) == (Amount("5", "OPG"), RATE)
    assert not any(each.permit or each.session for gateway in og.gateways for each in gateway.seen)


def test_what_the_chain_says_was_taken_counts_in_dollars_too(og, make):
    client = make(budget=Budget(per_run=Amount("0.3", "USD"), usd=RATE))
    client.create(QUESTION)
    og.settle()
    receipt = client.create(QUESTION).receipt  # a second permit: the first has counted less meanwhile
    spent = client.spending.spent(receipt.payer, receipt.provider)
    assert Amount("0.25", "USD") < spent.usd["per_run"] < Amount("0.26", "USD")


def test_without_a_rate_dollars_bound_nothing_that_is_paid_in_tokens(og, make):
    for limit, rate in ((DOLLAR, None), (DOLLAR, Amount("4", "0G"))):
        with pytest.raises(ConfigError) as refused:
            make(budget=Budget(per_run=limit, usd=rate)).create(QUESTION)
        assert refused.value.code == "budget_unpriced"
        assert 'usd=Amount("20", "OPG")' in refused.value.hint
    assert not any(each.permit or each.session for gateway in og.gateways for each in gateway.seen)


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"per_run": DOLLAR, "per_call": neuron(1)}, "another amount of the budget"),
        ({"per_run": DOLLAR, "per_call": neuron(1), "usd": RATE}, "another amount of the budget"),
        ({"per_run": DOLLAR, "usd": DOLLAR}, "usd is in USD"),
        ({"per_run": DOLLAR, "usd": Amount(0, "OPG")}, "not a positive amount"),
        ({"usd": RATE}, "without a limit"),
    ],
)
def test_amounts_that_no_rate_connects_are_refused(limits, word):
    with pytest.raises(ConfigError, match=word):
        Budget(**limits)


def test_limits_are_rounded_down_and_what_is_shown_up():
    third = Budget(per_run=Amount("1", "USD"), per_call=Amount("1", "OPG"), usd=Amount("3", "OPG"))
    assert (third.currency, third.limit("per_call")) == ("OPG", Amount("1", "OPG"))
    assert third.in_usd(Amount("1", "OPG")) == Amount("0.333334", "USD")
    assert Budget(per_run=Amount(1, "USD"), usd=Amount(10**17, "OPG")).limit("per_run") == Amount(0, "OPG")
    assert third.least == Amount("3", "OPG")
