"""What every call writes into a SQLite file: over one kept connection, straight through the driver.

It does not wait for the disk: the end of this process loses nothing, only that of the machine can lose the last
moments. Transactions that a thread runs inside another one are part of that one: where one fails, all do.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from zg_core.databases.forks import FORK_SECONDS, guard
from zg_core.databases.sqlite import patiently
from zg_core.databases.work import QuickWork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from zg_core.databases.work import Work
    from zg_core.errors import ConfigError

__all__ = ["Writer"]


class Writer:
    """The one connection over which a process writes quickly; safe from threads, and begun anew after a fork.

    Args:
        connect: Opens a connection to the file, which is made with its schema where it is not there.
        unavailable: The error to raise for one of the driver's.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], unavailable: Callable[[Exception], ConfigError]
    ) -> None:
        self._connect = connect
        self._unavailable = unavailable
        self._writing = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._inherited: sqlite3.Connection | None = None
        self._open: Transaction | None = None
        self._forking = False
        guard(self, writer=True)

    @property
    def busy_here(self) -> bool:
        """Whether this thread has a transaction open."""
        return self._mine() is not None

    def transaction(self) -> Transaction:
        """A transaction, or a part of the one that this thread has open."""
        return Transaction(self)

    def write(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Run one statement by itself, or as a part of the transaction that this thread has open; rows it changed.

        Raises:
            ConfigError: the file cannot be used (code ``store_unavailable``).
        """
        if self._mine() is not None:
            with self.transaction() as work:
                return work.run(sql, **parameters)
        with self._writing:
            try:
                return _execute(self._now(), sql, parameters).rowcount
            except sqlite3.Error as error:
                self._drop()
                raise self._unavailable(error) from error

    def when_kept(self, work: Callable[[], None]) -> None:
        """Do `work` once what this thread has written is in the file: at once, or when its transaction has ended."""
        if (mine := self._mine()) is None:
            work()
        else:
            mine.then.append(work)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._writing:
            self._drop()

    def begin(self, part: Transaction) -> Work:
        """Begin `part`; inside of another one of this thread, nothing is to be done."""
        if (outer := self._mine()) is not None:
            return outer.work
        self._writing.acquire()
        try:
            connection = self._now()
            _execute(connection, "BEGIN IMMEDIATE", ())
            part.work, part.owner = QuickWork(connection), threading.get_ident()
            self._open = part
        except BaseException as error:
            self._open = None
            self._drop()  # Ctrl-C may come when it has begun: nobody would end it
            self._writing.release()
            if isinstance(error, sqlite3.Error):
                raise self._unavailable(error) from error
            raise
        return part.work

    def end(self, part: Transaction, error: BaseException | None) -> None:
        """End `part`: keep what was written, or nothing of it if there was an `error`."""
        failure = error if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError) else None
        if part is not self._open:  # inside of another one
            if error is not None and (outer := self._mine()) is not None:
                outer.failed = outer.failed or f"a part of the transaction failed: {error}"
            if failure is not None:  # SQLite may have rolled back: nothing more of the outer one may be written alone
                self._drop()
                raise self._unavailable(failure) from failure
            return
        if error is None and part.failed:  # and whoever met it went on
            failure = sqlite3.OperationalError(part.failed)
        ended = False
        try:
            if failure is None and (error is None or self._connection is not None):
                part.work.run("COMMIT" if error is None else "ROLLBACK")
                ended = True
        except sqlite3.Error as late:
            failure = late
        finally:
            self._open = None
            if not ended:
                self._drop()
            self._writing.release()
        if failure is not None:
            raise self._unavailable(failure) from failure
        if error is None:
            for each in part.then:
                each()

    def _mine(self) -> Transaction | None:
        """The transaction that this thread has open."""
        found = self._open
        return found if found is not None and found.owner == threading.get_ident() else None

    def _now(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        connection = self._connect()
        patiently(lambda: connection.execute("PRAGMA synchronous=NORMAL"))
        # What stands above the leaves of the indexes of a million rows: without it, each call reads it again.
        connection.execute("PRAGMA cache_size=-16000")
        # A connection of the process we were forked from is left alone: closing it would drop that one's locks.
        self._inherited = self._connection
        self._connection, self._pid = connection, os.getpid()
        return connection

    def before_fork(self) -> None:
        """Wait for what other threads write: a child inherits locks, and connections as they are at that moment."""
        self._forking = self._mine() is None and self._writing.acquire(timeout=FORK_SECONDS)

    def after_fork(self, *, child: bool) -> None:
        """Go on; in a child, nothing that other threads of its parent had open is."""
        waited, self._forking = self._forking, False
        if waited:
            self._writing.release()
        elif child and self._mine() is None:
            self._writing, self._open = threading.Lock(), None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            connection.close()


class Transaction:
    """One transaction of a `Writer`; committed at the end, rolled back when anything is raised."""

    __slots__ = ("_writer", "failed", "owner", "then", "work")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.owner = 0
        self.failed = ""
        self.work: Work
        self.then: list[Callable[[], None]] = []

    def __enter__(self) -> Work:
        return self._writer.begin(self)

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._writer.end(self, error)


def _execute(connection: sqlite3.Connection, sql: str, parameters: Any) -> sqlite3.Cursor:
    """Execute, waiting for whoever holds the file."""
    try:
        return connection.execute(sql, parameters)
    except sqlite3.OperationalError:
        return patiently(lambda: connection.execute(sql, parameters))
