"""PostgreSQL behind pgbouncer in transaction mode (Supabase, Heroku, many clouds): the store's own work.

psycopg#1151 and #280, sqlalchemy#6467, wps#3539.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, attempt, told
from tests.patience import PATIENCE
from tests.postgres import bouncing, running
from zg_core.chain import nonces as leases
from zg_core.chain.nonces import Nonces
from zg_core.store import Store

pytestmark = pytest.mark.requires("postgres", "pgbouncer")


@pytest.fixture(scope="module")
def urls(postgres_bin: str, pgbouncer: str) -> Iterator[tuple[str, str]]:
    """The server, and the bouncer before it."""
    with running(postgres_bin) as plain, bouncing(pgbouncer, plain) as bounced:
        yield plain, bounced


@pytest.fixture
def opened() -> Iterator[Any]:
    made: list[Store] = []

    def store(url: str) -> Store:
        made.append(Store(url))
        return made[-1]

    yield store
    for one in made:
        one.close()


def take(store: Store, number: int, times: int, errors: list[str]) -> None:
    nonces = Nonces(store, 1, f"0x{number:040x}")
    for index in range(times):
        _, error = attempt(lambda index=index: nonces.used(nonces.take(index, index)))  # type: ignore[misc]
        if error is not None:
            errors.append(told(error)[:200])


def together(works: list[threading.Thread]) -> None:
    for work in works:
        work.start()
    for work in works:
        work.join()


def test_the_store_works(urls: Any, opened: Any, expect: Expectations) -> None:
    _, bounced = urls
    errors: list[str] = []
    shared = opened(bounced)
    take(shared, 1, 40, errors)
    stores = [shared] * 8 + [opened(bounced) for _ in range(6)]
    together([threading.Thread(target=take, args=(one, 2 + at, 40, errors)) for at, one in enumerate(stores)])
    expect("the store works behind pgbouncer in transaction mode", not errors, (len(errors), errors[:1]))
    expect("…or says so with an error of ours", all("zg_core" in one for one in errors), errors[:1])


def test_one_account_and_many_machines(
    urls: Any, opened: Any, expect: Expectations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HANGING_SECONDS", PATIENCE)  # nobody here hangs, however slow the machine
    plain, bounced = urls
    taken: list[int] = []
    errors: list[str] = []

    def hand_out(store: Store) -> None:
        nonces = Nonces(store, 7, "0x" + "77" * 20)
        for _ in range(25):
            lease, error = attempt(lambda: nonces.take(0, 0))
            if error is None:
                taken.append(lease.nonce)
            else:
                errors.append(told(error))

    together([threading.Thread(target=hand_out, args=(opened(bounced),)) for _ in range(8)])
    with opened(plain).transaction() as work:
        booked = {int(row["nonce"]) for row in work.all("SELECT nonce FROM nonce_leases WHERE chain = '7'")}
    expect("no nonce is handed out twice", len(taken) == len(set(taken)), len(taken) - len(set(taken)))
    expect("what was handed out is in the books", not set(taken) - booked, sorted(set(taken) - booked)[:5])
    expect("all of them were", (len(taken), errors) == (200, []), (len(taken), errors[:1]))


@pytest.mark.parametrize("word", ["0", "5", "None", "x"])
def test_a_user_may_say_the_same_in_the_url(urls: Any, opened: Any, word: str, expect: Expectations) -> None:
    errors: list[str] = []
    _, error = attempt(lambda: take(opened(f"{urls[1]}?prepare_threshold={word}"), 50, 3, errors))
    expect(f"?prepare_threshold={word} is no error", error is None and not errors, (error, errors[:1]))
