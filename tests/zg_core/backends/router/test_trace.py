"""The Router's word on an answer: read from any event, its costs whole numbers of the smallest unit."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.backends.router.trace import Billing, Trace, fee_of_trace, only_trace
from zg_core.money import Amount

PROVIDER = "0x" + "ab" * 20
COSTS = {"input_cost": "12", "output_cost": "30", "total_cost": "42"}
TRACE = {"request_id": "r-1", "provider": PROVIDER, "billing": COSTS, "tee_verified": True}


@pytest.mark.parametrize(
    "event",
    [
        {"x_0g_trace": TRACE},
        {"choices": [], "x_0g_trace": TRACE},
        {"choices": None, "x_0g_trace": TRACE},
        {"choices": [], "usage": {"prompt_tokens": 1}, "x_0g_trace": TRACE},
        {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}], "x_0g_trace": TRACE},
    ],
)
def test_it_is_read_from_an_event_of_every_shape(event: dict[str, Any]) -> None:
    trace = Trace.of(event)
    assert trace is not None
    assert (trace.request_id, trace.provider.lower(), trace.verified) == ("r-1", PROVIDER, True)
    assert trace.billing is not None
    assert trace.billing.total.units == 42
    assert only_trace(event) is not (event.get("usage") is not None or bool(event.get("choices")))


@pytest.mark.parametrize("event", [{}, {"x_0g_trace": None}, {"x_0g_trace": "r"}, {"x_0g_trace": []}])
def test_where_there_is_none_nothing_is_known(event: dict[str, Any]) -> None:
    assert Trace.of(event) is None
    assert not fee_of_trace(Trace.of(event), 99).exact
    assert fee_of_trace(None, 99).upper == 99


@pytest.mark.parametrize("odd", [1, "true", None, {}])
def test_of_odd_parts_nothing_is_taken(odd: Any) -> None:
    trace = Trace.of({"x_0g_trace": {"request_id": 7, "provider": "0x12", "billing": odd, "tee_verified": odd}})
    assert trace == Trace()


@pytest.mark.parametrize(
    ("total", "currency", "amount"),
    [
        ("42", None, Amount(42, "0G")),
        ("42", "0g", Amount(42, "0G")),
        ("42", "0G", Amount(42, "0G")),
        (42, None, Amount(42, "0G")),
        ("42", "usd", Amount(42 * 10**12, "USD")),
        ("0.00001", "usd", Amount(10**7, "USD")),
        ("0.00001", None, Amount(1, "0G")),  # less than the smallest unit is rounded up, never to nothing
        ("1e3", None, Amount(1000, "0G")),
        ("123456789012345678901234567890", None, Amount(123456789012345678901234567890, "0G")),
    ],
)
def test_costs_become_whole_numbers_of_the_smallest_unit(total: Any, currency: str | None, amount: Amount) -> None:
    billing = Billing.parse({"total_cost": total, "currency": currency})
    assert billing is not None
    assert billing.total == amount


@pytest.mark.parametrize(
    "total", [1.5, True, None, "", "a", "-1", "NaN", "Infinity", "1e99", "1e-99", [], "1_000_000e"]
)
def test_what_is_no_amount_is_unknown_and_not_nothing(total: Any) -> None:
    assert Billing.parse({"total_cost": total}) is None


def test_another_currency_is_unknown() -> None:
    assert Billing.parse({"total_cost": "1", "currency": "eur"}) is None


class TestFees:
    def fee(self, upper: int | None = None, **billing: Any) -> Any:
        return fee_of_trace(Trace.of({"x_0g_trace": {"billing": {**COSTS, **billing}}}), upper)

    def test_what_adds_up_is_exact(self) -> None:
        fee = self.fee(100)
        assert (fee.amount.units, fee.exact) == (42, True)

    def test_parts_that_do_not_come_to_the_total_leave_both_open(self) -> None:
        fee = self.fee(100, total_cost="1")
        assert (fee.exact, fee.reason, fee.lower, fee.upper) == (False, "cost_contradicts", 1, 42)

    def test_more_than_it_can_have_cost_is_shown_and_not_believed(self) -> None:
        fee = self.fee(41)
        assert (fee.exact, fee.reason, fee.lower, fee.upper) == (False, "cost_implausible", 0, 42)

    def test_a_fraction_of_the_smallest_unit_is_not_exact(self) -> None:
        fee = self.fee(100, input_cost="0.5", output_cost="1", total_cost="1.5")
        assert (fee.amount.units, fee.exact, fee.reason) == (2, False, "cost_fraction")
        assert fee.lower <= 1.5 <= fee.upper


def test_what_is_said_later_counts() -> None:
    first = Trace("r", PROVIDER, None, None)
    assert first.and_then(Trace(verified=False)) == Trace("r", PROVIDER, None, False)


def test_a_receipt_keeps_it_as_it_was_written() -> None:
    trace = Trace.of({"x_0g_trace": {**TRACE, "billing": {**COSTS, "total_cost": "42.0"}}})
    assert trace is not None
    assert trace.to_dict()["billing"]["total_cost"] == "42.0"
