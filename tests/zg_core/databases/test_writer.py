"""What calls write into a SQLite file: parts of one transaction are kept together, or none of them."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.patience import PATIENCE
from tests.processes import alone, beside, child_of, ended
from zg_core.errors import ConfigError
from zg_core.store import Store

_PUT = "INSERT INTO budget_totals VALUES (:scope, '1')"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path}/store.db")
    yield made
    made.close()


def scopes(store: Store) -> list[str]:
    return sorted(row[0] for row in store.stream("SELECT scope FROM budget_totals"))


def test_what_a_thread_writes_inside_a_transaction_is_kept_with_it(store: Store) -> None:
    with store.transaction(durable=False) as outer:
        outer.run(_PUT, scope="a")
        with store.transaction(durable=False) as inner:
            inner.run(_PUT, scope="b")
        assert store.write(_PUT, scope="c") == 1
        assert scopes(store) == []  # to others, nothing is there yet
    assert scopes(store) == ["a", "b", "c"]


def test_of_a_transaction_that_fails_nothing_stays_not_even_what_was_written_inside(store: Store) -> None:
    kept: list[str] = []
    with pytest.raises(LookupError), store.transaction(durable=False):
        with store.transaction(durable=False) as inner:
            inner.run(_PUT, scope="a")
        store.write(_PUT, scope="b")
        store.when_kept(lambda: kept.append("b"))
        raise LookupError
    assert (scopes(store), kept) == ([], [])
    store.write(_PUT, scope="c")
    store.when_kept(lambda: kept.append("c"))
    assert (scopes(store), kept) == (["c"], ["c"])


def test_what_is_to_follow_waits_for_the_end_of_the_outermost_transaction(store: Store) -> None:
    kept: list[str] = []
    with store.transaction(durable=False):
        with store.transaction(durable=False) as inner:
            inner.run(_PUT, scope="a")
            store.when_kept(lambda: kept.append("a"))
        assert kept == []
    assert kept == ["a"]


def test_a_fault_inside_ends_all_of_it_though_whoever_met_it_went_on(store: Store) -> None:
    with pytest.raises(ConfigError) as caught, store.transaction(durable=False) as outer:
        outer.run(_PUT, scope="a")
        with pytest.raises(ConfigError, match="no such table"):
            store.write("INSERT INTO nowhere VALUES (1)")
        with pytest.raises(ConfigError):  # not alone, where it stood in a whole
            store.write(_PUT, scope="b")
    assert caught.value.code == "store_unavailable"
    assert scopes(store) == []
    store.write(_PUT, scope="c")
    assert scopes(store) == ["c"]


def test_of_a_part_that_failed_nothing_stays_though_whoever_met_it_went_on(store: Store) -> None:
    message = "a part of the transaction failed: not enough"
    with pytest.raises(ConfigError, match=message), store.transaction(durable=False) as outer:
        outer.run(_PUT, scope="a")
        with pytest.raises(LookupError), store.transaction(durable=False) as inner:
            inner.run(_PUT, scope="b")
            raise LookupError("not enough")
        outer.run(_PUT, scope="c")
    assert scopes(store) == []
    store.write(_PUT, scope="d")
    assert scopes(store) == ["d"]


@pytest.mark.parametrize(("outer", "inner"), [(True, "durable"), (True, "quick"), (True, "write"), (False, "durable")])
def test_what_would_wait_for_its_own_thread_is_refused_at_once(store: Store, outer: bool, inner: str) -> None:
    with store.transaction(durable=outer) as work:
        work.run(_PUT, scope="a")
        with pytest.raises(ConfigError, match="has another transaction open") as caught:
            if inner == "write":
                store.write(_PUT, scope="b")
            else:
                with store.transaction(durable=inner == "durable"):
                    pass
        assert (caught.value.code, caught.value.retryable) == ("store_unavailable", False)
    store.write(_PUT, scope="c")
    assert scopes(store) == ["a", "c"]


def test_one_inside_another_is_refused_in_memory_and_the_outer_goes_on() -> None:
    store = Store("memory:")
    with store.transaction() as outer:
        outer.run(_PUT, scope="a")
        with pytest.raises(ConfigError, match="has another transaction open"), store.transaction():
            pass
        outer.run(_PUT, scope="b")
    assert scopes(store) == ["a", "b"]
    with pytest.raises(LookupError), store.transaction() as work:
        work.run(_PUT, scope="c")
        raise LookupError
    assert scopes(store) == ["a", "b"]
    store.close()


class _Interrupted(sqlite3.Connection):
    """Ctrl-C comes while a statement runs, which Python tells once it has run; or just before it."""

    at: ClassVar[list[tuple[str, bool]]] = []

    def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
        due = _Interrupted.at and sql.startswith(_Interrupted.at[0][0])
        if due and _Interrupted.at.pop()[1]:
            super().execute(sql, *given)
        if due:
            raise KeyboardInterrupt
        return super().execute(sql, *given)


@pytest.mark.parametrize("ran", [True, False])
@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "COMMIT"])
@pytest.mark.parametrize("kind", ["durable", "quick", "memory"])
def test_an_interrupt_leaves_no_transaction_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, statement: str, ran: bool
) -> None:
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Interrupted))
    store = Store("memory:" if kind == "memory" else f"sqlite:///{tmp_path}/store.db")
    durable = kind != "quick"
    with store.transaction(durable=durable) as work:
        work.run(_PUT, scope="a")
    _Interrupted.at.append((statement, ran))
    with pytest.raises(KeyboardInterrupt), store.transaction(durable=durable) as work:
        work.run(_PUT, scope="b")
    assert _Interrupted.at == []
    store.write(_PUT, scope="c")
    with store.transaction(durable=durable) as work:
        work.run(_PUT, scope="d")
    done = statement == "COMMIT" and ran
    assert scopes(store) == (["a", "b", "c", "d"] if done else ["a", "c", "d"])
    other = Store(store.url)  # another process finds no lock
    other.write(_PUT, scope="e")
    other.close()
    store.close()


def _fork_beside_a_transaction(url: str) -> None:
    store = Store(url)

    def write(begun: threading.Event, go: threading.Event) -> None:
        with store.transaction(durable=False) as work:
            work.run(_PUT, scope="thread")
            begun.set()
            go.wait(PATIENCE)

    with beside(write) as go:
        assert ended(child_of(lambda: store.write(_PUT, scope="child"), before=go.set)) == 0
    store.write(_PUT, scope="parent")
    assert scopes(store) == ["child", "parent", "thread"]


def _fork_within_a_transaction(url: str) -> None:
    store = Store(url)
    with store.transaction(durable=False) as work:
        work.run(_PUT, scope="a")
        assert ended(child_of(lambda: None)) == 0
        work.run(_PUT, scope="b")
    assert scopes(store) == ["a", "b"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("program", [_fork_beside_a_transaction, _fork_within_a_transaction])
def test_a_child_begins_without_the_transactions_of_its_parent(tmp_path: Path, program: Callable[[str], None]) -> None:
    alone(program, f"sqlite:///{tmp_path}/store.db")
