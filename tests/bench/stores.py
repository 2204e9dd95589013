"""``make bench ARGS=scale``: stores with a million receipts, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.bench import contenders as who
from tests.bench.contenders import Server
from tests.bench.measures import cpu_ms
from tests.bench.targets import Row
from tests.conftest import postgres_programs
from tests.postgres import running
from zg_core.backends.direct.audit.auditing import audit
from zg_core.receipts import Receipt, ReceiptStore, Retention
from zg_core.receipts.documents import as_csv, as_json
from zg_core.receipts.packing import packed
from zg_core.receipts.stored import CALL, CONTEXT
from zg_core.store import Store
from zg_core.verify.replay import mark_of

MANY = 1_000_000
"""Receipts in the store that the targets are about."""
_WRITTEN = 3000  # receipts that are written as calls write them
_MARKS = "INSERT INTO reply_marks (mark, holder, at) VALUES (:mark, :holder, :at)"
FOR_EVER = Retention(max_age=None, max_count=10_000_000)


def rows(server: Server, rounds: int, count: int) -> Iterator[Row]:
    """The measures of both databases; without PostgreSQL's programs, of SQLite alone."""
    with tempfile.TemporaryDirectory() as directory:
        urls = [f"sqlite:///{directory}/{name}.db" for name in ("many", "none", "written")]
        yield from _of("SQLite", server, rounds, count, urls)
    programs = postgres_programs()
    if programs is None:
        print("no PostgreSQL here: left out", file=sys.stderr)
        return
    with running(programs, "fsync=off") as url:
        yield from _of("PostgreSQL", server, rounds, count, [f"{url[: -len('postgres')]}{name}" for name in _made(url)])


def _made(url: str) -> Iterator[str]:
    """Names of new databases of the server."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for name in ("many", "none", "written"):
            connection.execute(f"CREATE DATABASE {name}".encode())
            yield name


def _of(name: str, server: Server, rounds: int, count: int, urls: list[str]) -> Iterator[Row]:
    full, empty, written = map(Store.open, urls)
    like = receipt_of_a_call(server, empty)
    yield Row(f"{name}: disk a receipt, marks and indexes too", _disk(written, like) / 1000)
    fill(full, like, count)
    kept = ReceiptStore(full, FOR_EVER)
    aside = "" if count == MANY else f"of {count:,} receipts"
    yield Row(f"{name}: list page", median_seconds(lambda: kept.select(newest=20), rounds), aside)
    page = median_seconds(lambda: kept.select(newest=20, provider=like.provider), rounds)
    yield Row(f"{name}: list page of one provider", page, aside)
    shown = median_seconds(lambda: kept.get(like.id[:8]), rounds)
    yield Row(f"{name}: one receipt by its first digits", shown, aside)
    some = {"since": like.started_at - timedelta(seconds=min(count, 100_000))}
    for form, made in (("JSON", as_json), ("CSV", as_csv)):
        rate = _rate(lambda made=made: sum(piece.count("\n") for piece in made(kept.rows(**some))))  # type: ignore[misc]
        yield Row(f"{name}: export a second, {form}", rate, aside)
    rate = _rate(lambda: audit(kept.audited(payer=like.payer), []).providers[0].calls)
    yield Row(f"{name}: audit a second", rate, aside)
    yield Row(f"{name}: a call's CPU with a full store / with an empty one", _call(server, urls, rounds), aside)
    for store in (full, empty, written):
        store.close()


def receipt_of_a_call(server: Server, store: Store) -> Receipt:
    """The receipt of a real call, as a store has it."""
    model = who.chat_zerog(server, "require", store=store.url)
    model.invoke(who.QUESTION)
    model.close()
    last = ReceiptStore(store).last
    assert last is not None
    return last


def median_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Median wall time: a database's own is in it."""
    times = []
    for _ in range(max(rounds, 3)):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _rate(work: Callable[[], int]) -> float:
    """How many a second of this process's time; the database's own is a few percent more."""
    found = []
    for _ in range(3):
        began = time.process_time()
        found.append(work() / (time.process_time() - began))
    return statistics.median(found)


def _disk(store: Store, like: Receipt) -> float:
    """Bytes a receipt takes that was opened, closed and judged as calls do it."""
    kept = ReceiptStore(store, FOR_EVER)
    document = like.to_dict()
    before = 0.0
    for number in range(2 * _WRITTEN):
        if number == _WRITTEN:  # the first ones have filled what is there anyway
            before = _size(store)
        document["receipt_id"], text = uuid.uuid4().hex, json.dumps(document)
        for old in (like.request_sha256, like.response_sha256, like.chat_id, like.verdict.signature[4:132]):
            text = text.replace(old, str(uuid.uuid4()) if "-" in old else secrets.token_hex(len(old) // 2))
        receipt = Receipt.from_dict(json.loads(text))
        kept.write(receipt)
        kept.write(receipt)
        kept.note(receipt, [mark_of("id", "p", receipt.id), mark_of("bytes", "", receipt.id)])
        kept.append(receipt)
    return (_size(store) - before) / _WRITTEN


def _size(store: Store) -> float:
    if store.kind == "sqlite":
        with store.transaction() as work:
            pages = work.all("PRAGMA page_count")[0]["page_count"]
            return float(pages * work.all("PRAGMA page_size")[0]["page_size"])
    names = ("receipts", "receipt_contexts", "receipt_verdicts", "reply_marks")
    return float(sum(next(store.stream(f"SELECT pg_total_relation_size('{name}')"))[0] for name in names))


def fill(store: Store, like: Receipt, count: int) -> None:
    """Put so many receipts of one provider into a store, each of its own request, a second apart, the newest last."""
    values, context = packed(like)
    with store.transaction() as work:
        work.run(CONTEXT, name=context.name, data=context.data)
    unique = (like.request_sha256, like.response_sha256, like.verdict.signature[4:132])

    def receipts() -> Iterator[dict[str, Any]]:
        for number in range(count):
            row = {**values, "id": uuid.uuid4().hex, "started": values["started"] - count + number}
            for old in unique:
                new = secrets.token_hex(len(old) // 2)
                row["data"], row["verdict"] = row["data"].replace(old, new), row["verdict"].replace(old, new)
            yield row
        yield values

    def marks() -> Iterator[dict[str, Any]]:
        for _ in range(2 * count):
            yield {"mark": secrets.token_urlsafe(16), "holder": secrets.token_hex(6), "at": 0.0}

    if store.kind == "sqlite":
        _fill_file(store, [(CALL, receipts()), (_MARKS, marks())])
    else:
        _copy(store, "receipts", receipts())
        _copy(store, "reply_marks", marks())


def _fill_file(store: Store, work: list[tuple[str, Iterator[dict[str, Any]]]]) -> None:
    import sqlite3

    connection = sqlite3.connect(Path(store.url.removeprefix("sqlite:///")))
    for sql, values in work:
        with connection:
            connection.executemany(sql, values)
    connection.close()


def _copy(store: Store, table: str, values: Iterator[dict[str, Any]]) -> None:
    import psycopg

    with psycopg.connect(store.url.replace("+psycopg", ""), autocommit=True) as connection:
        first = next(values)
        names = ", ".join(first)
        with connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN".encode()) as copy:
            copy.write_row(list(first.values()))
            for each in values:
                copy.write_row(list(each.values()))
        connection.execute(b"VACUUM ANALYZE")


@contextmanager
def _models(server: Server, urls: list[str]) -> Iterator[dict[str, Callable[[], Any]]]:
    made = {url: who.chat_zerog(server, "require", store=url, receipts=FOR_EVER) for url in urls[:2]}
    yield {url: lambda model=model: model.invoke(who.QUESTION) for url, model in made.items()}
    for model in made.values():
        model.close()


def _call(server: Server, urls: list[str], rounds: int) -> float:
    with _models(server, urls) as calls:
        found = cpu_ms(calls, 2 * rounds, 20)
    return found[urls[0]] / found[urls[1]]
