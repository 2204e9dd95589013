"""A storm: 1,000 runs of agents and clients against five providers that die, hang, lie about the time and change.

One storm is made for all tests of this module. Then the providers' own books are the referee. `ZEROG_CHAOS_SEED=…`
makes another storm; the seed is in every failure.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos import plan
from tests.chaos.referee import Referee, table
from tests.chaos.storm import Storm
from zg_core import VerificationFailed, og
from zg_core.calls.closing import RECORD_CHANGED
from zg_core.http.transport import AsyncTransport, SyncTransport
from zg_core.verify import Reason, Status

pytestmark = pytest.mark.heavy
SEED = int(os.environ.get("ZEROG_CHAOS_SEED", "20260"))


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """The storm, blown over. Whoever waits moves the clock, for clients' records and the whole network."""
    store = tmp_path_factory.mktemp("chaos") / "store.db"
    made = Storm(SEED, f"sqlite:///{store}")

    async def wait(self: Any, seconds: float) -> None:
        made.net.clock.advance(seconds)
        await asyncio.sleep(0) if isinstance(self, AsyncTransport) else None

    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + made.net.clock.offset, time=lambda: time.time() + made.net.clock.offset
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SyncTransport, "sleep", wait)
        patch.setattr(AsyncTransport, "sleep", wait)
        for module in ("contracts.reader", "records", "backend"):
            patch.setattr(f"zg_core.backends.direct.{module}.time", clock)
        with made.running():
            made.blow()
            yield made


@pytest.fixture(scope="module")
def referee(storm: Storm) -> Referee:
    return Referee(storm)


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> None:
    """Names the seed beside a failure."""
    request.node.add_report_section("call", "chaos", f"ZEROG_CHAOS_SEED={SEED}")


def test_it_was_a_storm(storm: Storm, referee: Referee, record_property: Callable[[str, object], None]) -> None:
    record_property("chaos", {"seed": SEED, "rows": [(name, dict(row)) for name, row in table(storm.results)]})
    assert len(storm.results) == plan.CALLS
    assert sum(result.calls for result in storm.results) >= plan.CALLS
    ways = Counter((result.task.way, result.task.loop) for result in storm.results)
    assert min(ways[way, loop] for way in plan.WAYS for loop in (False, True)) >= 10, ways
    outcomes = Counter(receipt.outcome for receipt in storm.receipts)
    assert outcomes["unknown"] >= 50
    assert outcomes["answered"] >= plan.CALLS // 2
    assert outcomes["truncated"] >= 10
    assert outcomes["abandoned"] >= 10
    codes = Counter(getattr(result.error, "code", None) for result in storm.results)
    for code in ("timeout", "connection_lost", "connect_failed", "rate_limited", "rpc_unavailable", "expired"):
        assert codes[code], f"nobody met {code}: {codes}"
    assert codes["insufficient_funds"], "the accounts never lagged"
    assert [r for r in storm.results if r.task.poor and r.receipts], "nobody waited until the account was filled"
    assert codes["not_acknowledged"] + codes["service_not_acknowledged"], "the new signer was acknowledged at once"


def test_every_call_ends_as_one_receipt_or_a_refusal_that_cost_nothing(storm: Storm, referee: Referee) -> None:
    assert storm.unattributed == []
    for result in storm.results:
        ids = [receipt.id for receipt in result.receipts]
        assert len(set(ids)) == len(ids)
        assert len(result.served) + result.refused == result.calls, (result.task, result.error)
        if result.error is not None and result.error.receipt is not None:
            assert result.error.receipt.id == ids[-1]
    assert all(len(found) <= 1 for found in referee.receipts.values())


def test_every_billed_request_has_receipts_and_is_billed_once_for_each(referee: Referee) -> None:
    lies = 0
    for key, entries in referee.bills.items():
        assert 1 <= len(entries) <= len(referee.receipts[key]) + len(referee.refused[key]), key
        lies += len(entries) - len(referee.receipts[key]) > 0
    assert lies >= 10, "too few refusals were billed"


def test_every_exact_receipt_is_what_the_provider_booked(referee: Referee) -> None:
    exact = {key: found[0] for key, found in referee.receipts.items() if found and found[0].fee.exact}
    assert len(exact) >= plan.CALLS // 2
    for key, receipt in exact.items():
        (entry,) = (each for each in referee.bills[key] if each.chat_id in receipt.signature_ids)
        assert receipt.fee.amount.units == entry.fee, receipt


def test_what_is_not_known_exactly_is_within_its_bounds(referee: Referee) -> None:
    billed = free = 0
    for key in referee.receipts.keys() | referee.refused.keys():
        receipts = [*referee.receipts[key], *referee.refused[key]]
        doubtful = [receipt.fee for receipt in receipts if not receipt.fee.exact]
        known = {id_ for receipt in receipts if receipt.fee.exact for id_ in receipt.signature_ids}
        fees = [entry.fee for entry in referee.bills.get(key, ()) if entry.chat_id not in known]
        assert sum(fee.lower for fee in doubtful) <= sum(fees) <= sum(fee.most or 0 for fee in doubtful), receipts
        billed += bool(doubtful and fees)
        free += bool(doubtful and not fees)
    assert billed >= 20, "too few lost answers were billed"
    assert free >= 10, "too few lost answers were not billed"


def test_what_a_price_may_have_changed_is_corrected(storm: Storm) -> None:
    changed = [receipt for receipt in storm.receipts if RECORD_CHANGED in receipt.flags]
    assert changed, "nothing was under way when a price or key changed"
    assert all(set(receipt.flags) <= {RECORD_CHANGED} for receipt in storm.receipts)
    assert any(receipt.fee.reason == "price_changed" for receipt in changed)


def test_the_sums_enclose_what_the_chain_took_and_will_take(storm: Storm, referee: Referee) -> None:
    for where, sums in referee.sums().items():
        assert sums.settled > 0, where
        assert sums.exact <= sums.settled + sums.unsettled <= sums.exact + sums.bounds + sums.disputable, where
    for provider in storm.net.providers:
        assert sum(entry.settled for entry in provider.log) == sum(each.total_paid for each in provider.settlements)
    assert any(sums.unsettled for sums in referee.sums().values())


def test_the_store_has_every_receipt_once_refusals_too(storm: Storm, referee: Referee) -> None:
    stored = {receipt.id: receipt for receipt in referee.stored()}
    assert set(stored) == {receipt.id for receipt in storm.receipts}
    for receipt in storm.receipts:
        kept = stored[receipt.id]
        assert (kept.outcome, kept.fee, kept.flags) == (receipt.outcome, receipt.fee, receipt.flags)
        assert kept.verdict.status == receipt.verdict.status, receipt


def test_the_budget_counts_what_was_paid_and_holds_what_is_not_known(storm: Storm, referee: Referee) -> None:
    spent, held = referee.spent()
    counted = {each.id: each for each in storm.receipts if each.outcome != "refused"}
    assert spent == sum(receipt.fee.most or 0 for receipt in counted.values())
    assert {each.state for each in held} == {"unknown"}
    assert {each.receipt for each in held} == {id_ for id_, receipt in counted.items() if not receipt.fee.exact}
    assert all(counted[each.receipt].fee.most == each.upper.units for each in held)
    assert spent < og("50").units


def test_nobody_is_accused_wrongly_and_what_could_be_checked_is_proven(storm: Storm) -> None:
    accused = [result for result in storm.results if isinstance(result.error, VerificationFailed)]
    # What is signed by a new key before the contract's owner has confirmed it is not to be trusted.
    assert {result.error.code for result in accused} <= {"signer_not_acknowledged"}
    assert {result.task.wave for result in accused} <= {plan.ROTATED, plan.ALL}
    answered = Counter(r.verdict.status for r in storm.receipts if r.outcome == "answered")
    assert answered[Status.FAILED] == len(accused)
    assert set(answered) <= {Status.VERIFIED, Status.UNAVAILABLE, Status.FAILED}, answered
    assert answered[Status.VERIFIED] >= plan.CALLS // 2
    for result in storm.results:
        for receipt in result.receipts:
            if receipt.outcome != "answered" or receipt.verdict.status is not Status.UNAVAILABLE:
                continue
            if receipt.verdict.reason is Reason.RECORD_CHANGED:  # at the two that have a new signer
                assert result.task.provider in (0, 3), result.task
            elif receipt.verdict.reason is Reason.RECORD_UNREADABLE:  # a new signer, while the chain cannot be read
                assert result.task.wave in (plan.OUTAGE, plan.ALL), result.task
            else:  # a dead provider, and one whose clock jumps by an hour, have no signature any more
                assert receipt.verdict.reason is Reason.NO_SIGNATURE, receipt
                dead = result.task.wave in (plan.KILLED, plan.ALL) and result.task.provider == 1
                assert dead or result.task.wave == plan.SKEW, result.task


def test_only_what_was_never_answered_is_sent_again(storm: Storm) -> None:
    assert [receipt for receipt in storm.receipts if receipt.attempts > 1], "nothing was ever sent again"
    arrived = Counter(
        (provider.address, request.body_sha256)
        for provider in storm.net.providers
        for request in provider.requests
        if request.path.endswith("/chat/completions")
    )
    for receipt in storm.receipts:
        times = arrived[receipt.provider, receipt.request_sha256]
        on_record = [each for each in storm.receipts if each.request_sha256 == receipt.request_sha256]
        assert times <= len(on_record), receipt
        if receipt.outcome != "refused":
            assert times <= receipt.attempts, "it was sent again after an answer, or none"
