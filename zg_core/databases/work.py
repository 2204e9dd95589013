"""Statements of one transaction, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from sqlalchemy import Connection

__all__ = ["QuickWork", "Work"]


class Work:
    """Statements of one transaction. SQL with ``:name`` parameters, the same on SQLite and PostgreSQL."""

    __slots__ = ("_connection", "_locking")

    def __init__(self, connection: Connection, *, locking: bool) -> None:
        self._connection = connection
        self._locking = locking

    @property
    def alone(self) -> bool:
        """Whether no other transaction runs meanwhile, so that what is read needs no lock."""
        return not self._locking

    def run(self, sql: str, **parameters: Any) -> int:
        """Execute; the number of rows it changed."""
        from sqlalchemy import text

        return int(self._connection.execute(text(sql), parameters).rowcount)

    def all(self, sql: str, *, lock: bool = False, **parameters: Any) -> list[Mapping[str, Any]]:
        """The rows of a query; with `lock`, held until the end of the transaction."""
        from sqlalchemy import text

        statement = text(f"{sql} FOR UPDATE" if lock and self._locking else sql)
        return [dict(row) for row in self._connection.execute(statement, parameters).mappings()]

    def now(self) -> float:
        """Unix seconds by the one clock of all who share the store: the server's, or this machine's."""
        if not self._locking:
            return time.time()
        return float(self.one("SELECT EXTRACT(EPOCH FROM clock_timestamp()) AS now")["now"])

    def first(self, sql: str, *, lock: bool = False, **parameters: Any) -> Mapping[str, Any] | None:
        """The first row, None if there is none."""
        rows = self.all(sql, lock=lock, **parameters)
        return rows[0] if rows else None

    def one(self, sql: str, *, lock: bool = False, **parameters: Any) -> Mapping[str, Any]:
        """The only row.

        Raises:
            LookupError: there is none.
        """
        row = self.first(sql, lock=lock, **parameters)
        if row is None:
            raise LookupError(f"no row: {sql}")
        return row


class QuickWork(Work):
    """The same statements, straight through SQLite's driver."""

    __slots__ = ("_driver",)

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self._locking = False

    def run(self, sql: str, **parameters: Any) -> int:
        """See `Work.run`."""
        return self._driver.execute(sql, parameters).rowcount

    def all(self, sql: str, *, lock: bool = False, **parameters: Any) -> list[Mapping[str, Any]]:  # noqa: ARG002
        """See `Work.all`."""
        cursor = self._driver.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
