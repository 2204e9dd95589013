"""What calls write into a SQLite file: parts of one transaction are kept together, or none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
