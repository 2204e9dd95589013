"""Receipts in the store: what a page, a call, an export and an audit cost with ten times as many."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator

from tests.bench import contenders as who
from tests.bench.curves.base import Curve, Point, Run
from tests.bench.curves.crowds import unit_of
from tests.bench.measures import cpu_ms
from tests.bench.stores import FOR_EVER, fill, median_seconds, receipt_of_a_call
from tests.conftest import postgres_programs
from tests.postgres import running
from zg_core.backends.direct.audit.auditing import audit
from zg_core.receipts import ReceiptStore
from zg_core.receipts.documents import as_csv
from zg_core.store import Store

_LEAST = 100


def _sizes(run: Run) -> Iterator[int]:
    size = _LEAST
    while size <= run.receipts:
        yield size
        size *= 10


def _of(run: Run, made: Callable[[int], str]) -> Iterator[Point]:
    """Each size in a store of its own; `made` gives the URL of a new one."""
    yield unit_of(run)
    with_one = Store.open(made(0))
    like = receipt_of_a_call(run.server, with_one)
    with_one.close()
    for size in _sizes(run):
        store = Store.open(made(size))
        fill(store, like, size)
        kept = ReceiptStore(store, FOR_EVER)
        yield "a page of 20", float(size), 1000 * median_seconds(lambda kept=kept: kept.select(newest=20), run.rounds)  # type: ignore[misc]
        whole = {
            "export of all as CSV": lambda kept=kept: sum(map(len, as_csv(kept.rows()))),  # type: ignore[misc]
            "audit of all": lambda kept=kept: audit(kept.audited(payer=like.payer), []),  # type: ignore[misc]
        }
        for name, value in cpu_ms(whole, min(run.rounds, 3 if size < 10**5 else 1), max(1, 1000 // size)).items():
            yield name, float(size), value
        model = who.chat_zerog(run.server, "require", store=store.url, receipts=FOR_EVER)
        yield (
            "a call, require",
            float(size),
            cpu_ms({"": lambda model=model: model.invoke(who.QUESTION)}, run.rounds, 10)[""],
        )  # type: ignore[misc]
        model.close()
        store.close()


def _sqlite(run: Run) -> Iterator[Point]:
    with tempfile.TemporaryDirectory() as directory:
        yield from _of(run, lambda size: f"sqlite:///{directory}/{size}.db")


def _postgres(run: Run) -> Iterator[Point]:
    import psycopg

    programs = postgres_programs()
    if programs is None:
        print("no PostgreSQL here: left out", file=sys.stderr)
        return
    with running(programs, "fsync=off") as url:

        def made(size: int) -> str:
            with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE of_{size}".encode())
            return f"{url[: -len('postgres')]}of_{size}"

        yield from _of(run, made)


_READING = (
    "A page and a call find their rows by an index and stay where they are; export and audit read every receipt once."
)
CURVES = tuple(
    Curve(name, f"Receipts in {title}", "receipts", "cost / CPU of a short ChatOpenAI call", _READING, measure)
    for name, title, measure in (
        ("receipts", "SQLite", _sqlite),
        ("receipts-postgresql", "PostgreSQL", _postgres),
    )
)
