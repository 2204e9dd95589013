"""Sums have the same names and meanings whoever collects the receipts, in both frameworks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from langchain_zerog import ZeroGReceiptsHandler
from llama_index_zerog import ZeroGReceipts
from zg_core.errors import ConfigError
from zg_core.frameworks.collected import Collected
from zg_core.money import Amount, Fee
from zg_core.receipts.model import Receipt
from zg_core.types import Kind


def receipt(fee: Fee, chat_id: str = "") -> Receipt:
    return Receipt("direct", "local", 1, "0xa", "m", Kind.TEE_ML, "", 1, 2, fee, chat_id=chat_id)


EXACT = receipt(Fee(Amount(5), exact=True), "one")
MORE = receipt(Fee(Amount(7), exact=True), "two")
DOLLARS = receipt(Fee(Amount(3, "OPG"), exact=True), "three")
BOUNDED = receipt(Fee(Amount(4), exact=False, reason="no_usage", lower=2, upper=9))
ALL = [EXACT, MORE, DOLLARS, BOUNDED]


def plain() -> Collected:
    class Kept(Collected):
        @property
        def receipts(self) -> tuple[Receipt, ...]:
            return tuple(ALL)

    return Kept()


def of_langchain() -> Collected:
    handler = ZeroGReceiptsHandler()
    for each in ALL:
        handler.on_zerog_receipt(each)
    return handler


def of_llama_index() -> Collected:
    collected = ZeroGReceipts()
    for each in ALL:
        collected.add(each)
    return collected


@pytest.fixture(params=[plain, of_langchain, of_llama_index], ids=lambda make: make.__name__)
def collected(request: pytest.FixtureRequest) -> Collected:
    make: Callable[[], Collected] = request.param
    return make()


def test_the_receipts_stand_in_the_order_of_their_calls(collected: Collected) -> None:
    assert collected.receipts == tuple(ALL)
    assert (collected[0], collected[-1]) == (EXACT, BOUNDED)
    with pytest.raises(IndexError):
        collected[4]
    assert collected.chat_ids == ("one", "two", "three")


def test_exact_fees_are_summed_by_currency_and_the_others_are_named(collected: Collected) -> None:
    assert collected.fees == {"0G": Amount(12), "OPG": Amount(3, "OPG")}
    assert collected.unknown == [BOUNDED]


def test_what_was_spent_counts_bounds_in(collected: Collected) -> None:
    spent = collected.spent()
    assert (spent.amount, spent.lower, spent.upper, spent.exact) == (Amount(16), Amount(14), Amount(21), False)
    assert collected.spent("OPG").exact
    assert {(total.currency, total.calls) for total in collected.totals} == {("0G", 3), ("OPG", 1)}
    with pytest.raises(ConfigError):
        collected.spent("EUR")
