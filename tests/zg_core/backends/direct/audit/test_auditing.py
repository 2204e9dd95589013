"""The audit: sums of receipts against sums of settlements, what it links, and what it calls outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.receipts.test_model import receipt
from zg_core.contracts.settlements import Settlement, SettlementStatus
from zg_core.money import Fee, neuron
from zg_core.receipts import Audit, Receipt, audit
from zg_core.types import Usage

PROVIDER = "0x" + "ab" * 20
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def call(minutes: float, fee: int | Fee = 10, **changes: Any) -> Receipt:
    fee = fee if isinstance(fee, Fee) else Fee(neuron(fee), exact=True)
    values: dict[str, Any] = {"started_at": at(minutes), "fee": fee, "outcome": "answered"}
    return receipt(**values | {"provider": PROVIDER} | changes)


def unknown(minutes: float, upper: int | None) -> Receipt:
    return call(minutes, fee=Fee(neuron(0), exact=False, reason="outcome_unknown", upper=upper))


def paid(minutes: float, units: int, left: int = 0) -> tuple[datetime, Settlement]:
    settlement = Settlement(
        transaction="0x" + "1" * 64,
        block=1,
        provider=PROVIDER.upper().replace("0X", "0x"),
        user="0x" + "cd" * 20,
        status=SettlementStatus.SUCCESS,
        total_fee=neuron(units + left),
        unsettled=neuron(left),
        nonce=1,
        requests_hash="0x",
        signer="0x",
        balance=None,
        pending_refund=None,
    )
    return at(minutes), settlement


def outside(found: Audit) -> list[str]:
    return [each.code for each in found.findings if each.outside]


class TestSums:
    def test_what_fits_is_fine(self) -> None:
        found = audit([call(0), call(1)], [paid(2, 20)], unsettled={PROVIDER: neuron(0)})
        assert (found.ok, found.findings) == (True, ())
        (row,) = found.providers
        assert (row.calls, row.exact, row.bounds, row.settled) == (2, neuron(20), neuron(0), neuron(20))

    def test_more_than_all_receipts_is_outside(self) -> None:
        found = audit([call(0)], [paid(2, 11)])
        assert outside(found) == ["settled_too_much"]
        assert found.findings[0].excess == neuron(1)

    def test_less_is_outside_only_if_the_provider_was_asked(self) -> None:
        assert audit([call(0)], [paid(2, 9)]).ok
        assert outside(audit([call(0)], [paid(2, 9)], unsettled={PROVIDER: neuron(0)})) == ["settled_too_little"]
        assert audit([call(0)], [paid(2, 9)], unsettled={PROVIDER: neuron(1)}).ok

    def test_what_a_provider_still_claims_counts(self) -> None:
        assert outside(audit([call(0)], [], unsettled={PROVIDER: neuron(11)})) == ["settled_too_much"]

    @pytest.mark.parametrize(("charged", "codes"), [(10, []), (15, []), (16, ["settled_too_much"])])
    def test_an_unknown_call_has_a_bound(self, charged: int, codes: list[str]) -> None:
        receipts = [call(0), unknown(1, 5)]
        assert outside(audit(receipts, [paid(2, charged)], unsettled={PROVIDER: neuron(0)})) == codes

    def test_a_refused_request_allows_nothing(self) -> None:
        refused = call(1, fee=Fee(neuron(0), exact=False, reason="refused", upper=5), outcome="refused")
        unbounded = call(1, fee=Fee(neuron(0), exact=False, reason="refused"), outcome="refused")
        honest = audit([call(0), refused, unbounded], [paid(2, 10)], unsettled={PROVIDER: neuron(0)})
        assert (honest.ok, honest.providers[0].calls, honest.providers[0].refused) == (True, 1, 2)
        found = audit([call(0), refused, unbounded], [paid(2, 13)])
        assert outside(found) == ["settled_too_much"]
        assert "it refused 2 requests" in found.findings[0].message
        assert outside(audit([refused], [paid(2, 3)])) == ["settled_too_much"]

    def test_a_call_without_a_bound_accuses_nobody(self) -> None:
        assert audit([call(0), unknown(1, None)], [paid(2, 10**20)]).ok

    def test_a_period_carries_what_was_not_settled_before(self) -> None:
        receipts = [call(0), call(10)]
        for settlements in ([paid(11, 20)], [paid(1, 10), paid(11, 10)]):
            found = audit(receipts, settlements, unsettled={PROVIDER: neuron(0)}, since=at(5))
            assert found.ok, found
        assert outside(audit(receipts, [paid(11, 21)], since=at(5))) == ["settled_too_much"]
        assert found.providers[0].carried == (neuron(0), neuron(0))

    def test_settlements_from_before_the_first_receipt_are_not_ours(self) -> None:
        assert audit([call(10)], [paid(1, 99), paid(11, 10)]).providers[0].settled == neuron(10)

    @given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.data())
    def test_an_honest_provider_is_never_accused(self, fees: list[int], data: st.DataObject) -> None:
        receipts, settlements, owed = [], [], 0
        for number, fee in enumerate(fees):
            exact = data.draw(st.booleans())
            receipts.append(call(number, fee) if exact else unknown(number, fee + 3))
            owed += fee
            if data.draw(st.booleans()):
                part = data.draw(st.integers(0, owed))
                settlements.append(paid(number + 0.5, part, owed - part))
                owed -= part
        since = at(data.draw(st.integers(0, len(fees)))) if data.draw(st.booleans()) else None
        assert audit(receipts, settlements, unsettled={PROVIDER: neuron(owed)}, since=since).ok


class TestLinks:
    def test_a_settlement_is_claimed_for_a_call_only_if_it_is_alone(self) -> None:
        receipts = [call(0), call(1), call(3)]
        linked = audit(receipts, [paid(2, 20), paid(4, 10)]).providers[0].settlements
        assert [each.receipts for each in linked] == [(receipts[0].id, receipts[1].id), (receipts[2].id,)]
        assert [each.alone for each in linked] == [None, receipts[2].id]

    def test_what_may_be_left_of_earlier_calls_stays_possible(self) -> None:
        receipts = [call(0), unknown(1, 5), call(3)]
        linked = audit(receipts, [paid(2, 10), paid(4, 10)]).providers[0].settlements
        assert linked[1].receipts == tuple(each.id for each in receipts)
        assert linked[1].alone is None


class TestFaults:
    def test_a_price_raised_in_the_open_is_a_notice(self) -> None:
        found = audit([call(0, input_price=1), call(1, input_price=2)], [paid(2, 20)])
        assert [(each.code, each.outside) for each in found.findings] == [("price_raised", False)]

    def test_a_price_raised_behind_our_back_explains_the_sums(self) -> None:
        found = audit([call(0), call(1)], [paid(2, 30)], prices={PROVIDER: (10**21, 3)})
        assert outside(found) == ["settled_too_much", "price_raised"]

    def test_a_price_that_fell_is_nothing(self) -> None:
        assert audit([call(0)], [paid(2, 10)], prices={PROVIDER: (0, 0)}).findings == ()

    def test_usage_is_inflated_by_its_flag_or_its_bytes(self) -> None:
        flagged = call(0, flags=("usage_implausible",))
        long = call(1, usage=Usage(1000, 1), request_bytes=100, response_bytes=10, complete=True)
        fair = call(2, usage=Usage(612, 10), request_bytes=100, response_bytes=10, complete=True)
        found = audit([flagged, long, fair], [])
        assert outside(found) == ["usage_inflated"]
        assert found.findings[0].receipts == (flagged.id, long.id)


class TestShown:
    def test_as_text_html_and_table(self) -> None:
        found = audit([call(0, input_price=1), call(1, input_price=2)], [paid(2, 30)])
        assert "too much" in repr(found)
        assert "settled_too_much" in found._repr_html_()
        pytest.importorskip("pandas")
        frame = found.to_pandas()
        assert list(frame["provider"]) == [PROVIDER]
        assert frame["findings"][0] == "price_raised settled_too_much"

    def test_nothing_is_fine(self) -> None:
        assert repr(audit([], [])) == "Audit(0 providers, nothing outside)"
        empty = {"providers": [], "findings": [], "calls": []}
        assert audit([], []).to_dict() == {"ok": True, "backend": "direct", **empty}
