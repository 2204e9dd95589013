"""SQLite files that many processes share: waiting for their turn, and files for their owner alone."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BUSY_MOMENT", "patiently", "private_file", "sqlite_path", "write_ahead"]

_T = TypeVar("_T")
BUSY_SECONDS = 30.0
# SQLite's own way to wait for a lock makes those who have waited long ask least often: with many processes some never
# get it. So it waits for a moment only, and we ask again at random.
BUSY_MOMENT = 0.02
_PAUSE = (0.001, 0.015)


def write_ahead(connection: Any) -> None:
    """Turn the write-ahead log on, which is remembered in the file.

    Where several processes open a new file at once, SQLite refuses the switch at once instead of waiting its timeout.
    """
    if patiently(lambda: connection.execute("PRAGMA journal_mode").fetchone()[0]) != "wal":
        patiently(lambda: connection.execute("PRAGMA journal_mode=WAL"))


def patiently(work: Callable[[], _T]) -> _T:
    """Do `work`, again and again for as long as another process or thread holds the SQLite file."""
    import sqlite3

    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > end:
                raise
        time.sleep(random.uniform(*_PAUSE))


def sqlite_path(url: str) -> Path | None:
    """The file that `url` names; None where it names another kind of database.

    Raises:
        ConfigError: it is a URL of SQLite's that names no file.
    """
    if not url.startswith("sqlite:"):
        return None
    path = url.removeprefix("sqlite:///")
    if path == url or not path or ":memory:" in path or "?" in path:
        raise ConfigError(
            f"not a store: {url!r}", code="bad_store", hint="sqlite:///path names a file; memory: keeps nothing"
        )
    return Path(path).expanduser()


def private_file(path: Path) -> None:
    """Make the file, and directories that are missing, for their owner alone; SQLite gives its side files the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if hasattr(os, "fchmod") and os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(
            f"the store {path} cannot be opened: {error.strerror}",
            code="store_unavailable",
            hint="check ZEROG_STORE (store=…), or set ZEROG_HOME to a directory of yours",
        ) from error
