"""The end of a call at one go; where that cannot be, each part of it by itself."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.processes import alone, child_of, ended
from tests.zg_core.receipts.test_model import PENDING, VERIFIED, receipt
from tests.zg_core.test_budget import REQUEST, SERVICE
from tests.zg_core.test_budget import receipt as begun
from zg_core import Budget, neuron, og
from zg_core.budget import Spending
from zg_core.errors import ConfigError
from zg_core.http.transport import SyncTransport, run
from zg_core.money import Fee
from zg_core.receipts import MemoryReceipts, ReceiptStore
from zg_core.receipts.recorder import NOT_STORED, Recorder
from zg_core.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path}/store.db")
    yield made
    made.close()


@pytest.fixture
def kept(store: Store) -> ReceiptStore:
    return ReceiptStore(store)


def recorder(kept: ReceiptStore | None) -> Recorder:
    return Recorder(MemoryReceipts(), kept, SyncTransport())


def test_what_is_held_goes_with_the_receipt_that_could_not_be_written(store: Store, kept: ReceiptStore) -> None:
    def hold() -> None:
        store.write("INSERT INTO budget_totals VALUES ('x', '1')")
        store.write("ALTER TABLE receipts RENAME TO gone")

    with pytest.raises(ConfigError, match="no such table"):
        recorder(kept).opened(receipt(), hold, [store])
    assert list(store.stream("SELECT * FROM budget_totals")) == []
    assert len(kept) == 0


def test_a_context_that_was_rolled_back_is_written_with_the_next_receipt(kept: ReceiptStore) -> None:
    first, second = receipt(id="1" * 32), receipt(id="2" * 32)
    with pytest.raises(LookupError), kept.together():
        kept.write(first)
        raise LookupError
    kept.write(second)
    found = kept.get(second.id)
    assert found is not None
    assert found.to_dict() == second.to_dict()
    assert kept.get(first.id) is None


@pytest.mark.parametrize("shared", [True, False])
def test_a_call_whose_cost_cannot_be_counted_is_written_with_its_marks(
    store: Store, kept: ReceiptStore, shared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one, mark, counted, seen = receipt(), os.urandom(16), [], []

    def count() -> None:
        counted.append(1)
        raise ConfigError("no budget", code="store_unavailable")

    with caplog.at_level(logging.WARNING):
        recorder(kept).ended(one, count, [store if shared else Store("memory:")], [mark], seen.append)
    assert counted == [1, 1] if shared else [1]
    assert "could not be settled" in caplog.text
    assert seen[-1] == frozenset()
    found = kept.get(one.id)
    assert found is not None
    assert NOT_STORED not in found.flags
    assert kept.note(receipt(id="f" * 32), [mark]) == {mark}


def test_a_mark_of_another_reply_is_known_before_the_receipt_is_written(store: Store, kept: ReceiptStore) -> None:
    one, mark = receipt(id="1" * 32), os.urandom(16)
    kept.note(receipt(id="f" * 32), [mark])

    def known(old: frozenset[bytes]) -> None:
        one.replayed = bool(old)

    recorder(kept).ended(one, lambda: None, [store], [mark], known)
    found = kept.get(one.id)
    assert found is not None
    assert found.replayed


def test_budgets_in_other_stores_are_no_part_of_what_is_kept_together(
    store: Store, kept: ReceiptStore, tmp_path: Path
) -> None:
    other = Store(f"sqlite:///{tmp_path}/other.db")

    def hold() -> None:  # two clients, each with the receipts of the other's budget, would wait for each other
        with store.transaction():
            assert store.kind == "sqlite"

    recorder(kept).opened(receipt(), hold, [store, other])
    recorder(kept).ended(receipt(), hold, [other], [], lambda _: None)
    assert [kept.shares(each) for each in ([], [store], [store, other], [Store(store.url)])] == [
        True, True, False, False,
    ]  # fmt: skip
    other.close()


def _refuse(store: Store, *ids: str) -> None:
    """Let the database refuse calls with these ids, as where it has no room for so much."""
    store.write("DROP TRIGGER IF EXISTS refuse")
    listed = ", ".join(f"'{each}'" for each in ids)
    for event in ("INSERT", "UPDATE"):
        store.write(f"DROP TRIGGER IF EXISTS refuse_{event}")
        if ids:
            store.write(
                f"CREATE TRIGGER refuse_{event} BEFORE {event} ON receipts WHEN NEW.id IN ({listed})"
                " BEGIN SELECT abs(-9223372036854775807 - 1); END"
            )


ONE, TWO, THREE = ("1" * 32, "2" * 32, "3" * 32)


def test_what_could_not_be_written_before_neither_stops_nor_follows_what_is_kept_together(
    store: Store, kept: ReceiptStore
) -> None:
    late, one, two = receipt(id=ONE), receipt(id=TWO), receipt(id=THREE)
    _refuse(store, ONE)
    with pytest.raises(ConfigError):
        kept.write(late)
    recorder(kept).opened(one, lambda: None, [store])  # a call is not refused for another's receipt
    assert {each.id for each in kept} == {TWO}
    _refuse(store)
    with pytest.raises(LookupError), kept.together():
        kept.write(two)
        raise LookupError
    assert {each.id for each in kept} == {TWO}  # what was late was neither written nor lost
    kept.write(two)
    assert {each.id for each in kept} == {ONE, TWO, THREE}


def test_a_call_that_was_refused_since_it_could_not_be_written_is_not_written_later(
    store: Store, kept: ReceiptStore
) -> None:
    _refuse(store, ONE)
    with pytest.raises(ConfigError):
        recorder(kept).opened(receipt(id=ONE), lambda: None, [])
    with pytest.raises(ConfigError):
        recorder(kept).opened(receipt(id=ONE), lambda: None, [store])
    _refuse(store)
    kept.write(receipt(id=TWO))
    assert [each.id for each in kept] == [TWO]


def test_what_is_late_is_not_written_over_what_is_newer(store: Store, kept: ReceiptStore) -> None:
    one = receipt(id=ONE)
    _refuse(store, ONE)
    with pytest.raises(ConfigError):
        kept.write(one)
    _refuse(store)
    one.flags = ("record_changed",)
    kept.write(one)
    kept.write(receipt(id=TWO))
    found = kept.get(ONE)
    assert found is not None
    assert found.flags == ("record_changed",)


def _call_until(count: int, urls: list[str]) -> None:
    """One call, as it is written; this process is killed before a statement, after `count` others."""
    receipts, budget = Store.open(urls[0]), Store.open(urls[1])
    kept, spending = ReceiptStore(receipts), Spending(Budget(per_run=og("1"), run="r"), budget, 31337)
    one, left = begun(), [count]

    def tick(statement: str) -> None:
        left[0] -= not statement.startswith("BEGIN")  # said again and again while old receipts are looked for beside it
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for each in {receipts, budget}:
        each.write("DELETE FROM leases")  # there is a schema, and the connection that is kept
        assert each._writer is not None
        assert each._writer._connection is not None
        each._writer._connection.set_trace_callback(tick)
    keeper = recorder(kept)

    def hold() -> None:
        spending.reserve(one, SERVICE, REQUEST)

    keeper.opened(one, hold, spending.stores)
    one.outcome, one.fee = "answered", Fee(neuron(30), exact=True)
    one.settle(PENDING)
    keeper.ended(one, lambda: spending.settle(one), spending.stores, [os.urandom(16)], lambda _: None)
    one.settle(VERIFIED)
    run(keeper.judged(one))


def _urls(folder: str, count: int, shared: str) -> list[str]:
    return [f"sqlite:///{folder}/{count}/{'receipts' if shared else name}.db" for name in ("receipts", "budget")]


def _calls(folder: str, shared: str) -> None:
    """Calls that are killed after one statement more each, until one ends; prints how many were killed."""
    for count in range(60):
        status = ended(child_of(partial(_call_until, count, _urls(folder, count, shared))))
        assert status in (0, -signal.SIGKILL), status
        if status == 0:
            sys.stdout.write(str(count))
            return
    raise AssertionError("it never ended")


def _left_by(urls: list[str]) -> tuple[list[str], int, int, int, list[str]]:
    """Outcomes, holds, what is counted, marks and verdicts that a process has left."""
    receipts, budget = Store(urls[0]), Store(urls[1])
    found = [*ReceiptStore(receipts)]
    held = Spending(Budget(per_run=og("1"), run="r"), budget, 31337).held()
    counted = sum(int(row[0]) for row in budget.stream("SELECT units FROM budget_totals WHERE scope LIKE 'run%'"))
    marks = len([*receipts.stream("SELECT mark FROM reply_marks")])
    receipts.close()
    budget.close()
    return [each.outcome for each in found], len(held), counted, marks, [str(each.verdict.status) for each in found]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("shared", ["yes", ""])
def test_whatever_ends_the_process_what_is_held_has_its_receipt_and_the_sums_hold(tmp_path: Path, shared: str) -> None:
    """A process is killed before each statement of a call in turn; what it had done before is whole."""
    last = int(alone(_calls, str(tmp_path), shared))
    seen = set()
    for count in range(last + 1):
        outcomes, held, counted, marks, verdicts = _left_by(_urls(str(tmp_path), count, shared))
        state = (tuple(outcomes), held, counted, marks)
        seen.add(state)
        if shared:
            assert state in (((), 0, 0, 0), (("unknown",), 1, 100, 0), (("answered",), 0, 30, 1))
        else:  # held first, and given back as soon as it is known: never free, and never answered while it is held
            assert counted == (100 if held else 30 if outcomes else 0), state
            assert not (held and outcomes == ["answered"]), state
    assert (state, verdicts) == ((("answered",), 0, 30, 1), ["verified"])
    assert len(seen) == (3 if shared else 6)
