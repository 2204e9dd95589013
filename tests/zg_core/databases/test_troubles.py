"""What PostgreSQL says when it cannot be used, told as our error, and whether waiting may help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from zg_core.errors import ConfigError
from zg_core.store import Store

pytestmark = pytest.mark.requires("postgres")
Server = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def server(postgres: str) -> Iterator[Server]:
    """Runs a statement as the owner of the server; the role of the tests is gone afterwards."""
    import psycopg

    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as owner:

        def run(statement: str) -> list[tuple[Any, ...]]:
            found = owner.execute(statement)  # type: ignore[call-overload]
            return found.fetchall() if found.description else []

        run("CREATE ROLE worker LOGIN")
        run("CREATE SCHEMA IF NOT EXISTS work AUTHORIZATION worker")
        run("ALTER ROLE worker SET search_path = work")
        yield run
        run("DROP OWNED BY worker CASCADE")
        run("DROP ROLE worker")


@pytest.fixture
def url(postgres: str) -> str:
    return postgres.replace("zerog@", "worker@")


@contextmanager
def opened(url: str) -> Iterator[Store]:
    store = Store(url)
    try:
        yield store
    finally:
        store.close()


def write(store: Store) -> None:
    with store.transaction() as work:
        work.run("DELETE FROM leases WHERE name = :name", name="x")
        work.run("INSERT INTO leases VALUES (:name, :holder, :now)", name="x", holder="y", now=1.0)


def refusal(store: Store) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        write(store)
    assert caught.value.code == "store_unavailable"
    return caught.value


def test_a_server_that_only_reads_after_a_fail_over_and_its_successor(server: Server, url: str) -> None:
    with opened(url) as store:
        write(store)
        server("ALTER ROLE worker SET default_transaction_read_only = on")
        store._forget()  # as when the old server has gone
        error = refusal(store)
        assert ("target_session_attrs" in error.hint, error.retryable) == (True, True)
        server("ALTER ROLE worker SET default_transaction_read_only = off")
        write(store)  # the connections that led to the standby are not used again


def test_too_many_clients(server: Server, url: str) -> None:
    server("ALTER ROLE worker CONNECTION LIMIT 2")
    with ExitStack() as stack:
        stores = [stack.enter_context(opened(url)) for _ in range(3)]
        for store in stores[:2]:
            write(store)  # each keeps one
        error = refusal(stores[2])
        assert ("max_connections" in error.hint, error.retryable) == (True, True)
        stores[0].close()
        while server("SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker'") != [(1,)]:
            continue  # until its process for that connection has run
        write(stores[2])


def test_no_permission_is_nothing_to_wait_for(server: Server, url: str) -> None:
    with opened(url) as store:
        write(store)
        server("ALTER TABLE work.leases OWNER TO zerog")
        error = refusal(store)
        assert ("grant" in error.hint, error.retryable) == (True, False)
        server("ALTER TABLE work.leases OWNER TO worker")
        write(store)


def test_a_pool_without_a_free_connection(server: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url) as store, ExitStack() as stack:
        write(store)
        pool = store._engine_now().pool
        monkeypatch.setattr(pool, "_timeout", 0.05)
        for _ in range(25):
            stack.callback(pool.connect().close)
        error = refusal(store)
        assert ("fewer processes" in error.hint, error.retryable) == (True, True)


def test_a_mistake_of_ours_stays_one(server: Server, url: str) -> None:
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    with opened(url) as store:
        write(store)
        with pytest.raises(ProgrammingError), store.transaction() as work:
            work.run("SELECT nothing FROM nowhere")
        with pytest.raises(IntegrityError), store.transaction() as work:
            work.run("INSERT INTO leases VALUES ('x', 'y', 1)")
