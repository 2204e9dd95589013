"""One SQLite file and many who want it."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.moments import instead
from tests.patience import PATIENCE
from zg_core.databases import sqlite as module
from zg_core.databases.sqlite import patiently, write_ahead


def connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)


def test_a_lock_is_waited_for_and_taken_as_soon_as_it_is_free(tmp_path: Path) -> None:
    holder, waiter = connected(tmp_path / "x"), connected(tmp_path / "x")
    holder.execute("BEGIN IMMEDIATE")
    refused = threading.Event()

    def begin() -> Any:
        try:
            return waiter.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            refused.set()
            raise

    thread = threading.Thread(target=patiently, args=(begin,))
    thread.start()
    assert refused.wait(PATIENCE)
    holder.execute("ROLLBACK")
    thread.join(PATIENCE)
    assert waiter.in_transaction
    holder.close()
    waiter.close()


def test_other_errors_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "zg_core.databases.sqlite.time", sleep=lambda _: pytest.fail("it waits"))
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        patiently(lambda: connected(tmp_path / "x").execute("nonsense"))


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    holder, waiter = connected(tmp_path / "x"), connected(tmp_path / "x")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        patiently(lambda: waiter.execute("BEGIN IMMEDIATE"))
    holder.close()
    waiter.close()


def test_the_log_is_written_ahead_however_many_open_the_file_at_once(tmp_path: Path) -> None:
    together, failures = threading.Barrier(8), []

    def work() -> None:
        together.wait()
        try:
            made = connected(tmp_path / "x")
            write_ahead(made)
            assert made.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            made.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
