"""The store: one database for what must outlive a call or be shared by several workers.

One SQLAlchemy engine, one versioned schema, short transactions that hold a lock from their first statement
(``BEGIN IMMEDIATE`` on SQLite, row locks on PostgreSQL). It knows nothing of what is kept in it: nonces live in
`zg_core.chain.nonces`, keys in `zg_core.backends.direct.money.api_keys`.

``ZEROG_STORE`` (or ``store=…``) chooses it:

- ``memory:`` lives and dies with the process, and is shared by its threads; the library's default.
- ``sqlite:///path`` is a file that only its owner may read; the command line's default.
- ``postgresql+psycopg://user@host/name`` is for a fleet of machines that share a wallet.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zg_core.databases.schema import MIGRATIONS
from zg_core.databases.sqlite import BUSY_MOMENT, patiently, private_file, sqlite_path, write_ahead
from zg_core.databases.troubles import MOVED, is_the_databases, remedy, state_of
from zg_core.databases.work import Work
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

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
    _guard = threading.Lock()

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = sqlite_path(url)
        self.kind = "memory" if url == "memory:" else "sqlite" if self._path is not None else "postgresql"
        """``"memory"``, ``"sqlite"`` or ``"postgresql"``."""
        if self.kind == "postgresql" and not url.startswith("postgresql+psycopg://"):
            raise ConfigError(
                f"not a store: {url.partition('://')[0][:40]!r}",
                code="bad_store",
                hint="ZEROG_STORE is memory:, sqlite:///path or postgresql+psycopg://user@host/name",
            )
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._pid = 0
        self._writer: Writer | None = None
        if self._path is not None:
            from zg_core.databases.writer import Writer

            self._writer = Writer(self._path, self._prepare, self._unavailable)

    @property
    def url(self) -> str:
        """Where it is; may hold a password."""
        return self._url

    @property
    def is_open(self) -> bool:
        """Whether this process has connections to it."""
        return self._engine is not None and self._pid == os.getpid()

    @classmethod
    def open(cls, url: str = "memory:") -> Store:
        """The store at `url`; one object for all who open it in this process, so that ``memory:`` is shared, too."""
        with cls._guard:
            store = cls._opened.get(url)
            if store is None:
                store = cls._opened[url] = cls(url)
            return store

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[Work]:
        """A short transaction: committed at the end, rolled back when anything is raised.

        No other transaction on SQLite runs meanwhile; on PostgreSQL, rows read with ``lock=True`` are held.
        Do no network I/O inside.

        Args:
            durable: Whether it must outlive the machine's end, too. What every call writes need not on a SQLite file,
                and is ten times as cheap then: it goes the way of `write`. Those that a thread runs inside each other
                are one there.

        Raises:
            ConfigError: the database cannot be reached or used (code ``store_unavailable``).
        """
        return self._slow() if durable or self._writer is None else self._writer.transaction()

    @contextmanager
    def _slow(self) -> Iterator[Work]:
        from sqlalchemy.exc import DatabaseError, InterfaceError
        from sqlalchemy.exc import TimeoutError as NoneFree

        try:
            with self._exclusive(), self._engine_now().begin() as connection:
                yield Work(connection, locking=self.kind == "postgresql")
        except (DatabaseError, InterfaceError, NoneFree) as error:
            if not is_the_databases(error):
                raise
            if state_of(error) in MOVED:  # the other connections of the pool lead there, too
                self._forget()
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
        from sqlalchemy import text
        from sqlalchemy.exc import DatabaseError, InterfaceError
        from sqlalchemy.exc import TimeoutError as NoneFree

        if self.kind == "memory":
            with self.transaction() as work:
                rows = [tuple(row.values()) for row in work.all(sql, **parameters)]
            yield from rows
        elif self.kind == "sqlite":
            yield from self._stream_file(sql, parameters)
        else:
            try:
                with self._engine_now().connect() as connection:
                    options = {"stream_results": True, "max_row_buffer": _ROWS}
                    yield from connection.execute(text(sql), parameters, execution_options=options)
            except (DatabaseError, InterfaceError, NoneFree) as error:
                if not is_the_databases(error):
                    raise
                raise self._unavailable(error) from error

    def _stream_file(self, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        import sqlite3
        from contextlib import closing

        try:
            self._engine_now()  # makes the file and its schema
            assert self._path is not None  # noqa: S101 - of a SQLite file
            with closing(sqlite3.connect(self._path, timeout=BUSY_MOMENT, isolation_level=None)) as reader:
                yield from patiently(lambda: reader.execute(sql, parameters))
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _prepare(self) -> None:
        with self.transaction():  # makes the file and its schema, and tells what is wrong with it
            pass

    def close(self) -> None:
        """Close the connections; ``memory:`` forgets everything. The store opens again when it is used again."""
        if self._writer is not None:
            self._writer.close()
        self._forget()

    def _forget(self) -> None:
        """Let go of the connections that are idle; those in use end with their transactions."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self.kind != "memory":
            yield
            return
        with self._lock:  # one connection, shared by all threads
            yield

    def _engine_now(self) -> Engine:
        with self._lock:
            if self._engine is not None and self._pid != os.getpid():  # a connection must not cross a fork
                if self.kind != "memory":
                    self._engine.dispose(close=False)
                    self._engine = None
                self._pid = os.getpid()
            if self._engine is None:
                engine = self._make_engine()
                self._migrate(engine)
                self._engine, self._pid = engine, os.getpid()
            return self._engine

    def _make_engine(self) -> Engine:
        import sqlite3

        from sqlalchemy import create_engine, event, make_url
        from sqlalchemy.exc import ArgumentError
        from sqlalchemy.pool import NullPool, StaticPool

        if self.kind == "postgresql":
            try:
                url = make_url(self._url).difference_update_query(["prepare_threshold"])
                # Behind a pooler that gives each transaction another server (pgbouncer), a statement that was prepared
                # is not there the next time.
                options: dict[str, Any] = {"prepare_threshold": None}
                return create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=20, connect_args=options)
            except ModuleNotFoundError as error:
                raise ConfigError(
                    f"the store needs {error.name}",
                    code="missing_extra",
                    hint="pip install 'zerog-integrations[postgres]'",
                ) from None
            except (ArgumentError, ValueError):
                raise ConfigError("ZEROG_STORE is no database URL", code="bad_store", hint="check it") from None
        options = {"check_same_thread": False, "timeout": BUSY_MOMENT, "isolation_level": None}
        if self._path is None:
            engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=options)
        else:
            private_file(self._path)
            engine = create_engine(f"sqlite:///{self._path}", poolclass=NullPool, connect_args=options)

        @event.listens_for(engine, "connect")
        def _connected(connection: Any, _: Any) -> None:
            if self._path is not None:
                write_ahead(connection)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # The driver's own transactions begin late and upgrade their lock, where two of them can only fail.
            driver: Any = connection.connection.driver_connection
            try:
                patiently(lambda: driver.execute("BEGIN IMMEDIATE"))
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

        return engine

    def _migrate(self, engine: Engine) -> None:
        with engine.begin() as connection:
            work = Work(connection, locking=self.kind == "postgresql")
            if self.kind == "postgresql":
                work.run("SELECT pg_advisory_xact_lock(:id)", id=_MIGRATION_LOCK)
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
