"""The store: one database for what must outlive a call or be shared by several workers.

One versioned schema, short transactions that hold a lock from their first statement (``BEGIN IMMEDIATE`` on SQLite,
row locks on PostgreSQL). SQLite is spoken to by its driver, PostgreSQL by an engine of SQLAlchemy's, which is loaded
for it alone. It knows nothing of what is kept in it: nonces live in `zg_core.chain.nonces`, keys in
`zg_core.backends.direct.money.api_keys`.

``ZEROG_STORE`` (or ``store=…``) chooses it:

- ``memory:`` lives and dies with the process, and is shared by its threads; the library's default.
- ``sqlite:///path`` is a file that only its owner may read; the command line's default.
- ``postgresql+psycopg://user@host/name`` is for a fleet of machines that share a wallet.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zg_core.databases.forks import FORK_SECONDS, guard
from zg_core.databases.schema import MIGRATIONS
from zg_core.databases.sqlite import BUSY_MOMENT, patiently, private_file, sqlite_path, write_ahead
from zg_core.databases.troubles import MOVED, is_the_databases, remedy, state_of
from zg_core.databases.work import QuickWork, Work
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from zg_core.databases.writer import Writer

__all__ = ["Store", "Work", "default_store_url"]

_ROWS = 2000  # that a query brings at a time
_MIGRATION_LOCK = 0x2E70_0617  # PostgreSQL advisory lock of this package, any constant


def default_store_url(environ: Mapping[str, str] | None = None) -> str:
    """The file that the command line uses, and the key ledger wherever the store is ``memory:``.

    ``store.db`` in the directory that ``ZEROG_HOME`` names, ``~/.zerog`` without it.
    """
    return f"sqlite:///{home_directory(environ)}/store.db"


def home_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where we keep files: the directory that ``ZEROG_HOME`` names, ``~/.zerog`` without it."""
    home = (os.environ if environ is None else environ).get("ZEROG_HOME")
    return Path(home) if home else Path.home() / ".zerog"


def _troubles() -> tuple[type[Exception], ...]:
    """What SQLAlchemy raises of a server. It comes with the extra ``postgres``: a file and memory need none."""
    try:
        from sqlalchemy import exc
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return exc.DatabaseError, exc.InterfaceError, exc.TimeoutError


def _missing(error: ModuleNotFoundError) -> ConfigError:
    hint = "pip install 'zerog-integrations[postgres]'"
    return ConfigError(f"the store needs {error.name}", code="missing_extra", hint=hint)


def _nested() -> ConfigError:
    hint = "end the outer transaction first; only those that are not durable may be nested, on a SQLite file"
    message = "the store cannot be used: this thread has another transaction open"
    return ConfigError(message, code="store_unavailable", hint=hint)


class Store:
    """One open store; use `Store.open`.

    Args:
        url: See the module.

    Raises:
        ConfigError: the URL is none of these, or needs a package that is not installed.

    Example:
        >>> store = Store("memory:")
        >>> with store.transaction() as work:
        ...     work.one("SELECT 1 AS n")["n"]
        1
        >>> store.close()
    """

    _opened: dict[str, Store] = {}  # noqa: RUF012 - a cache of the class

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = sqlite_path(url)
        self.kind = "memory" if url == "memory:" else "sqlite" if self._path is not None else "postgresql"
        """``"memory"``, ``"sqlite"`` or ``"postgresql"``."""
        if self.kind == "postgresql" and not url.startswith("postgresql+psycopg://"):
            raise ConfigError(
                f"not a store: {url.partition('://')[0][:40]!r}",
                code="bad_store",
                hint="store= and ZEROG_STORE take memory:, sqlite:///path or postgresql+psycopg://user@host/name",
            )
        self._lock = threading.RLock()
        self._forking = False
        self._engine: Engine | None = None
        self._ready = False  # a SQLite file that is there, with our schema
        self._memory: sqlite3.Connection | None = None
        self._pid = 0
        self._lasting: set[tuple[int, int]] = set()  # threads that are in a durable transaction on a SQLite file
        self._writer: Writer | None = None
        if self._path is not None:
            from zg_core.databases.writer import Writer

            self._writer = Writer(self._writing_connection, self._unavailable)
        guard(self)

    @property
    def url(self) -> str:
        """Where it is; may hold a password."""
        return self._url

    @property
    def is_open(self) -> bool:
        """Whether this process has connections to it."""
        used = self._engine is not None or self._ready or self._memory is not None
        return used and self._pid == os.getpid()

    @classmethod
    def open(cls, url: str = "memory:") -> Store:
        """The store at `url`; one object for all who open it in this process, so that ``memory:`` is shared, too."""
        return cls._opened.get(url) or cls._opened.setdefault(url, cls(url))  # no lock that a fork could find held

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[Work]:
        """A short transaction: committed at the end, rolled back when anything is raised.

        No other transaction on SQLite runs meanwhile; on PostgreSQL, rows read with ``lock=True`` are held.
        Do no network I/O inside.

        Args:
            durable: Whether it must outlive the machine's end, too. What every call writes need not on a SQLite file,
                and is ten times as cheap then: it goes the way of `write`. Those that a thread runs inside each other
                are one there; a durable one, and one of ``memory:``, stands alone.

        Raises:
            ConfigError: the database cannot be reached or used (code ``store_unavailable``).
        """
        if self.kind == "postgresql":
            return self._served()
        if durable or self._writer is None:
            return self._lite()
        self._check_alone()
        return self._writer.transaction()

    def _check_alone(self) -> None:
        """Refuse what would wait for a transaction of its own thread."""
        if self._lasting and (os.getpid(), threading.get_ident()) in self._lasting:
            raise _nested()

    @contextmanager
    def _served(self) -> Iterator[Work]:
        troubles = _troubles()
        try:
            with self._engine_now().begin() as connection:
                yield Work(connection, locking=True)
        except troubles as error:
            if not is_the_databases(error):
                raise
            if state_of(error) in MOVED:  # the other connections of the pool lead there, too
                self._forget()
            raise self._unavailable(error) from error

    @contextmanager
    def _lite(self) -> Iterator[Work]:
        """A transaction over a connection of its own; of ``memory:``, over the only one there is."""
        import sqlite3

        try:
            if self._path is None:
                with self._lock, _begun(self._memory_now()) as work:  # shared by all threads
                    yield work
                return
            self._check_alone()
            if self._writer is not None and self._writer.busy_here:
                raise _nested()
            self._file_now()
            here = os.getpid(), threading.get_ident()
            try:
                self._lasting.add(here)
                with closing(self._connection()) as connection, _begun(connection) as work:
                    yield work
            finally:
                self._lasting.discard(here)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError):
            raise  # a statement of ours
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def write(self, sql: str, **parameters: Any) -> int:
        """Run one statement by itself, committed at once: the cheap way, for what every call writes.

        On a SQLite file it goes over one connection that is kept, straight through the driver, and without waiting
        for the disk: the end of this process loses nothing, only that of the machine can lose the last moments.

        Returns:
            The number of rows it changed.

        Raises:
            ConfigError: the database cannot be reached or used (code ``store_unavailable``).
        """
        if self._writer is not None:
            self._check_alone()
            return self._writer.write(sql, parameters)
        with self.transaction() as work:
            return work.run(sql, **parameters)

    def when_kept(self, work: Callable[[], None]) -> None:
        """Do `work` once what this thread has written by `write` is kept: now, or when the transaction around it ends.

        Where that is rolled back, `work` is not done.
        """
        if self._writer is None:
            work()
        else:
            self._writer.when_kept(work)

    def stream(self, sql: str, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of one query as tuples, as they come: nobody who writes waits for it, and no other row is held.

        Raises:
            ConfigError: the database cannot be reached or used (code ``store_unavailable``).
        """
        if self.kind == "memory":
            with self.transaction() as work:
                rows = [tuple(row.values()) for row in work.all(sql, **parameters)]
            yield from rows
        elif self.kind == "sqlite":
            yield from self._stream_file(sql, parameters)
        else:
            yield from self._stream_served(sql, parameters)

    def _stream_served(self, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        troubles = _troubles()
        from sqlalchemy import text

        try:
            with self._engine_now().connect() as connection:
                options = {"stream_results": True, "max_row_buffer": _ROWS}
                yield from connection.execute(text(sql), parameters, execution_options=options)
        except troubles as error:
            if not is_the_databases(error):
                raise
            raise self._unavailable(error) from error

    def _stream_file(self, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        import sqlite3

        try:
            self._file_now()
            with closing(self._connection()) as reader:
                yield from patiently(lambda: reader.execute(sql, parameters))
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Close the connections; ``memory:`` forgets everything. The store opens again when it is used again."""
        if self._writer is not None:
            self._writer.close()
        self._forget()

    def _forget(self) -> None:
        """Let go of the connections that are idle; those in use end with their transactions."""
        with self._lock:
            engine, self._engine = self._engine, None
            memory, self._memory = self._memory, None
            self._ready = False
        if engine is not None:
            engine.dispose()
        if memory is not None:
            memory.close()

    def _connection(self) -> sqlite3.Connection:
        import sqlite3

        place = ":memory:" if self._path is None else self._path
        # The driver's own transactions begin late and upgrade their lock, where two of them can only fail.
        return sqlite3.connect(place, timeout=BUSY_MOMENT, isolation_level=None, check_same_thread=False)

    def _writing_connection(self) -> sqlite3.Connection:
        self._file_now()
        return self._connection()

    def _file_now(self) -> None:
        """See to it that the file is there, with our schema."""
        with self._lock:
            if self._ready and self._pid == os.getpid():
                return
            assert self._path is not None  # noqa: S101 - of a SQLite file
            private_file(self._path)
            with closing(self._connection()) as connection:
                write_ahead(connection)
                with _begun(connection) as work:
                    _migrate(work)
            self._ready, self._pid = True, os.getpid()

    def before_fork(self) -> None:
        """Wait for what other threads do under the lock: a child inherits it, and connections as they are then."""
        self._forking = self._lock.acquire(timeout=FORK_SECONDS)

    def after_fork(self, *, child: bool) -> None:
        """Go on; in a child, no thread of its parent holds the lock."""
        waited, self._forking = self._forking, False
        if waited:
            self._lock.release()
        elif child:
            self._lock = threading.RLock()

    def _memory_now(self) -> sqlite3.Connection:
        with self._lock:
            if self._memory is None:
                memory = self._connection()
                with _begun(memory) as work:
                    _migrate(work)
                self._memory = memory
            self._pid = os.getpid()
            return self._memory

    def _engine_now(self) -> Engine:
        with self._lock:
            if self._engine is not None and self._pid != os.getpid():  # a connection must not cross a fork
                self._engine.dispose(close=False)
                self._engine = None
            if self._engine is None:
                engine = self._make_engine()
                with engine.begin() as connection:
                    work = Work(connection, locking=True)
                    work.run("SELECT pg_advisory_xact_lock(:id)", id=_MIGRATION_LOCK)
                    _migrate(work)
                self._engine, self._pid = engine, os.getpid()
            return self._engine

    def _make_engine(self) -> Engine:
        from sqlalchemy import create_engine, make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(self._url).difference_update_query(["prepare_threshold"])
            # Behind a pooler that gives each transaction another server (pgbouncer), a statement that was prepared
            # is not there the next time.
            options: dict[str, Any] = {"prepare_threshold": None}
            return create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=20, connect_args=options)
        except ModuleNotFoundError as error:
            raise _missing(error) from None
        except (ArgumentError, ValueError):
            raise ConfigError("ZEROG_STORE is no database URL", code="bad_store", hint="check it") from None

    def _unavailable(self, error: Exception) -> ConfigError:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        hint, retryable = remedy(error)
        return ConfigError(
            f"the store cannot be used: {reason}", code="store_unavailable", hint=hint, retryable=retryable
        )

    def __repr__(self) -> str:
        shown = self._path if self._path is not None else self.kind  # a URL may hold a password
        return f"Store({str(shown)!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("stores are not pickled; open the same URL in the other process")


@contextmanager
def _begun(connection: sqlite3.Connection) -> Iterator[Work]:
    """A transaction of SQLite: no other is under way until it has ended."""
    nested = connection.in_transaction
    if nested:
        raise _nested()
    try:
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
        yield QuickWork(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _migrate(work: Work) -> None:
    """Bring the schema to this package's version."""
    work.run(
        "CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER NOT NULL PRIMARY KEY,"
        " applied DOUBLE PRECISION NOT NULL)"
    )
    version = work.one("SELECT COALESCE(MAX(version), 0) AS version FROM schema_versions")["version"]
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"the store has schema version {version}, this package knows {len(MIGRATIONS)}",
            code="store_too_new",
            hint="upgrade zerog-integrations, or choose another ZEROG_STORE",
        )
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in migration.split(";"):
            work.run(statement)
        work.run("INSERT INTO schema_versions VALUES (:version, :now)", version=number, now=time.time())
