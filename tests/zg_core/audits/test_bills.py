"""What is charged call by call, beside receipts: each end of what they allow, and what nothing joins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from zg_core.audits.bills import Bill, Entry, audit_bills
from zg_core.money import Amount
from zg_core.receipts.audited import Audited

PAYEE = "0x" + "ab" * 20
AT = datetime(2026, 1, 2, tzinfo=UTC)


def call(units: int = 10, *, name: str = "one", exact: bool = True, upper: int | None = 20, **more: Any) -> Audited:
    facts: dict[str, Any] = {"refused": False, "implausible": False, "currency": "OPG", **more}
    return Audited(
        name, PAYEE, 1000.0, units, exact, units if exact else upper, facts["refused"], facts["implausible"], (1, 1),
        facts["currency"],
    )  # fmt: skip


def bill(*calls: Audited, paid: int | None = None, state: Any = None, currency: str = "OPG", payee: str = "") -> Bill:
    amount = None if paid is None else Amount(paid, currency)
    said = [Amount(each.units, each.currency) for each in calls]
    return Bill("7", calls, said, state or ("charged" if paid is not None else "none"), amount, AT, "0x1", payee)


@pytest.mark.parametrize(
    ("one", "results", "codes", "ok"),
    [
        (bill(call(10), paid=10), ["agrees"], [], True),
        (bill(call(10), paid=11), ["differs"], ["settled_too_much"], False),
        (bill(call(10), paid=9), ["differs"], ["settled_too_little"], False),
        (bill(call(10), call(5, name="two"), paid=15), ["agrees"] * 2, [], True),
        (bill(call(10), call(5, name="two"), paid=16), ["differs"] * 2, ["settled_too_much"], False),
        (bill(call(10, exact=False), paid=20), ["unknown"], [], True),
        (bill(call(10, exact=False), paid=21), ["differs"], ["settled_too_much"], False),
        (bill(call(10, exact=False, upper=None), paid=10**30), ["unknown"], [], True),
        (bill(call(0, refused=True), paid=1), ["differs"], ["settled_too_much"], False),
        (bill(call(0, refused=True)), ["agrees"], [], True),
        (bill(call(10)), ["missing"], ["not_charged"], True),
        (bill(call(0)), ["agrees"], [], True),
        (bill(call(10), state="open"), ["open"], [], True),
        (bill(call(10), state="not_located"), ["unknown"], ["not_located"], True),
        (bill(call(10), state="unknown"), ["unknown"], ["not_joined"], True),
        (bill(call(10), paid=10, currency="USD"), ["differs"], ["other_currency"], False),
        (bill(call(10), paid=10, payee="0x" + "cd" * 20), ["differs"], ["other_provider"], False),
        (bill(call(10), paid=10, payee=PAYEE.upper().replace("X", "x")), ["agrees"], [], True),
        (bill(call(10, implausible=True), paid=10), ["agrees"], ["usage_inflated"], False),
    ],
)
def test_a_bill_is_held_against_its_receipts(one: Bill, results: list[str], codes: list[str], ok: bool) -> None:
    found = audit_bills([one], backend="opengradient")
    assert [each.result for each in found] == results
    assert ([each.code for each in found.findings], found.ok) == (codes, ok)


def test_the_sums_have_the_shape_of_every_audit() -> None:
    bills = [bill(call(10), paid=12), bill(call(1, name="two", exact=False), paid=5), bill(call(3, name="three"))]
    found = audit_bills(bills, backend="opengradient", strangers=[Entry("9", Amount(4, "OPG"))])
    (row,) = found.providers
    assert (row.calls, row.exact.units, row.settled.units, row.unsettled) == (3, 13, 17, None)
    assert row.bounds == Amount(20, "OPG")
    assert [each.alone for each in row.settlements] == ["one", "two"]
    assert [(each.code, each.outside) for each in found.findings] == [
        ("settled_too_much", True),
        ("not_charged", False),
        ("charged_without_receipt", False),
    ]
    document = found.to_dict()
    assert (document["backend"], document["ok"], document["providers"][0]["currency"]) == ("opengradient", False, "OPG")
    assert document["calls"][0]["charged"] == {"units": "12", "currency": "OPG"}
    assert "outside" not in repr(found)
    assert found._repr_html_()


def test_currencies_are_summed_apart() -> None:
    bills = [bill(call(10), paid=10), bill(call(3, name="two", currency="USD"), paid=3, currency="USD")]
    found = audit_bills(bills, backend="router")
    assert [str(each.settled.currency) for each in found.providers] == ["OPG", "USD"]
