"""Receipts in the store: a row for every call, written before it is sent, and rows for verdicts that came later.

A call is written when its request is about to leave (outcome ``unknown``), and again when it has ended, before its
verdict is made; a verdict is a row of its own. So whatever ends the process, what was sent is on record, and a verdict
that was still pending can be made later (`zg_core.backends.direct.audit.anchors.resolve_late`).
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from zg_core import display
from zg_core.errors import ConfigError
from zg_core.receipts import plain
from zg_core.receipts.model import Receipt, row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from zg_core.store import Store
    from zg_core.verify.verdict import Verdict

__all__ = ["ReceiptStore", "Retention"]

logger = logging.getLogger(__name__)

_PRUNE_EVERY = 500  # calls
_BATCH = 500  # rows that one short transaction deletes, or one query reads
_MOST_UNSAVED = 1000
_CALL = (
    "INSERT INTO receipts (id, chain, payer, provider, outcome, started, written, data)"
    " VALUES (:id, :chain, :payer, :provider, :outcome, :started, :written, :data)"
    " ON CONFLICT (id) DO UPDATE SET payer = :payer, outcome = :outcome, written = :written, data = :data"
)
_VERDICT = "INSERT INTO receipt_verdicts (receipt, at, status, data) VALUES (:receipt, :at, :status, :data)"
_MARKS = "INSERT INTO reply_marks (mark, holder, at) VALUES {rows} ON CONFLICT (mark) DO NOTHING"
_NOTED = "SELECT mark, holder FROM reply_marks WHERE mark IN ({places})"
_HOLDER_DIGITS = 12  # of a receipt's id: enough to know one's own
_READ = (
    "SELECT r.id, r.started, r.data, v.data AS verdict FROM receipts r LEFT JOIN receipt_verdicts v"
    " ON v.receipt = r.id AND v.at = (SELECT MAX(at) FROM receipt_verdicts WHERE receipt = r.id)"
)
_ORPHANS = (
    "DELETE FROM receipt_verdicts WHERE at <= :horizon"
    " AND NOT EXISTS (SELECT 1 FROM receipts WHERE id = receipt_verdicts.receipt)"
)
_OLD = "SELECT id FROM receipts WHERE started <= :horizon ORDER BY started LIMIT :batch"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long receipts are kept in a store.

    Attributes:
        max_age: Older ones are deleted; None keeps them for ever. 90 days by default.
        max_count: Beyond so many the oldest are deleted; None sets no bound. 100,000 by default.

    Raises:
        ConfigError: less than nothing.
    """

    max_age: timedelta | None = timedelta(days=90)
    max_count: int | None = 100_000

    def __post_init__(self) -> None:
        """Refuse what would delete everything."""
        if (self.max_age is not None and self.max_age <= timedelta(0)) or (
            self.max_count is not None and self.max_count < 1
        ):
            raise ConfigError(
                "a retention keeps something", code="bad_retention", hint="Retention(max_age=timedelta(days=90))"
            )


class ReceiptStore:
    """The receipts of a store that outlives the process, of all who write to it. Safe from threads and processes.

    Args:
        store: A `Store`; not ``memory:``, which keeps nothing that `MemoryReceipts` does not.
        retention: How long receipts are kept.

    Raises:
        ConfigError: the store is ``memory:`` (code ``memory_store``).
    """

    def __init__(self, store: Store, retention: Retention | None = None) -> None:
        if store.kind == "memory":
            raise ConfigError(
                "a memory: store keeps no receipts beyond its process",
                code="memory_store",
                hint="set ZEROG_STORE (store=…) to sqlite:///path or postgresql+psycopg://user@host/name",
            )
        self._store = store
        self.retention = retention or Retention()
        self._guard = threading.Lock()
        self._written = 0
        self._pruning = threading.Lock()
        self._unsaved: deque[tuple[str, dict[str, Any]]] = deque(maxlen=_MOST_UNSAVED)

    # writing

    def write(self, receipt: Receipt) -> None:
        """Write the call as `receipt` has it now, over what was written of it before.

        Raises:
            ConfigError: the store cannot be used (code ``store_unavailable``).
        """
        self._run(_CALL, _row(receipt))
        with self._guard:
            self._written += 1
            due = self._written % _PRUNE_EVERY == 1
        if due:  # a call does not wait for it
            threading.Thread(target=self._prune_quietly, name="zerog-receipts", daemon=True).start()

    def note(self, receipt: Receipt, marks: Iterable[bytes]) -> frozenset[bytes]:
        """Note the marks of the reply of `receipt`; those that are an earlier reply's.

        Marks outlive their receipts: they are kept as long as the store, so that an old answer stays old.

        Raises:
            ConfigError: as in `write`.
        """
        # Always in the same order: none waits for another that waits for it.
        names = {base64.urlsafe_b64encode(mark).decode().rstrip("="): mark for mark in sorted(marks)}
        if not names:
            return frozenset()
        values: dict[str, Any] = {f"m{place}": name for place, name in enumerate(names)}
        rows = ", ".join(f"(:{place}, :holder, :at)" for place in values)
        holder = receipt.id[:_HOLDER_DIGITS]
        with self._store.transaction(durable=False) as work:
            if work.run(_MARKS.format(rows=rows), **values, holder=holder, at=time.time()) == len(names):
                return frozenset()
            places = ", ".join(f":{place}" for place in values)
            known = work.all(_NOTED.format(places=places), **values)
        return frozenset(names[row["mark"]] for row in known if row["holder"] != holder)

    def append(self, receipt: Receipt) -> None:
        """Add the receipt's verdict as the latest.

        Raises:
            ConfigError: as in `write`.
        """
        self._run(_VERDICT, _verdict_row(receipt.id, receipt.verdict))

    def drop(self, receipt: Receipt) -> None:
        """Take back a call that turned out never to have been served.

        Raises:
            ConfigError: as in `write`.
        """
        self._run("DELETE FROM receipts WHERE id = :id", {"id": receipt.id})

    def _run(self, sql: str, parameters: dict[str, Any]) -> None:
        try:
            self._store.write(sql, **parameters)
        except ConfigError:
            self._unsaved.append((sql, parameters))  # tried again with the next
            raise
        while self._unsaved:
            try:
                late = self._unsaved.popleft()
            except IndexError:  # another thread took it
                return
            try:
                self._store.write(late[0], **late[1])
            except ConfigError:
                self._unsaved.appendleft(late)
                return

    def prune(self) -> int:
        """Delete what the retention does not keep, in short transactions; how many receipts went."""
        gone = 0
        with self._pruning:
            while (count := self._prune_batch()) > 0:
                gone += count
        return gone

    def _prune_quietly(self) -> None:
        try:
            self.prune()
        except Exception:  # old receipts stay a little longer
            logger.warning("old receipts could not be deleted", exc_info=True)

    def _prune_batch(self) -> int:
        with self._store.transaction() as work:
            horizon = -1.0
            if self.retention.max_age is not None:
                horizon = time.time() - self.retention.max_age.total_seconds()
            if self.retention.max_count is not None:
                surplus = work.first(
                    "SELECT started FROM receipts ORDER BY started DESC LIMIT 1 OFFSET :keep",
                    keep=self.retention.max_count,
                )
                horizon = max(horizon, surplus["started"] if surplus else horizon)
            old = work.all(_OLD, horizon=horizon, batch=_BATCH)
            work.run(_ORPHANS, horizon=horizon)
            for row in old:
                work.run("DELETE FROM receipt_verdicts WHERE receipt = :id", id=row["id"])
                work.run("DELETE FROM receipts WHERE id = :id", id=row["id"])
        return len(old)

    # reading

    def get(self, receipt_id: str) -> Receipt | None:
        """The receipt with this id, or with the only id that begins so (8 digits or more); None if there is none."""
        if len(receipt_id) < 8 or not receipt_id.isalnum():
            return None
        with self._store.transaction() as work:
            rows = work.all(f"{_READ} WHERE r.id LIKE :like LIMIT 2", like=receipt_id + "%")
        return _receipt(rows[0]) if len(rows) == 1 else None

    def select(
        self,
        *,
        provider: str | None = None,
        payer: str | None = None,
        chain_id: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        outcome: str | None = None,
        newest: int | None = None,
        unresolved: bool = False,
    ) -> list[Receipt]:
        """The receipts that fit, oldest first.

        Args:
            provider: Of this provider.
            payer: Paid by this address.
            chain_id: Of this chain.
            since: Begun at this time or later.
            until: Begun before this time.
            outcome: With this outcome.
            newest: Only the newest so many.
            unresolved: Only those without a verdict of their own row, or with one that says pending or unavailable.

        Raises:
            ConfigError: the store cannot be used.
        """
        wanted = {
            "r.provider = :provider": provider and provider.lower(),
            "r.payer = :payer": payer and payer.lower(),
            "r.chain = :chain": chain_id,
            "r.started >= :since": since and since.timestamp(),
            "r.started < :until": until and until.timestamp(),
            "r.outcome = :outcome": outcome,
        }
        given = {clause: value for clause, value in wanted.items() if value is not None}
        parameters: dict[str, Any] = {clause.rpartition(":")[2]: value for clause, value in given.items()}
        clauses = [*given, "COALESCE(v.status, 'pending') IN ('pending', 'unavailable')"] if unresolved else [*given]
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        limit = ""
        if newest is not None:
            limit, parameters["newest"] = " LIMIT :newest", newest
        with self._store.transaction() as work:
            rows = work.all(f"{_READ}{where} ORDER BY r.started DESC, r.id DESC{limit}", **parameters)
        return [_receipt(row) for row in reversed(rows)]

    def verdicts(self, receipt_id: str) -> list[Verdict]:
        """The verdicts that were added to a call after it was written, oldest first."""
        with self._store.transaction() as work:
            rows = work.all("SELECT data FROM receipt_verdicts WHERE receipt = :id ORDER BY at", id=receipt_id)
        return [plain.verdict_of(json.loads(row["data"])) for row in rows]

    @property
    def last(self) -> Receipt | None:
        """The newest receipt."""
        return next(iter(self.select(newest=1)), None)

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self.select())

    def __len__(self) -> int:
        with self._store.transaction() as work:
            return int(work.one("SELECT COUNT(*) AS n FROM receipts")["n"])

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"ReceiptStore({self._store!r}, {self.retention!r})"

    def _repr_html_(self) -> str:
        return display.table("Receipts", [row(each) for each in self.select(newest=50)])

    def to_pandas(self) -> Any:
        """All receipts as a DataFrame.

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        return display.frame(map(row, self))


def _row(receipt: Receipt) -> dict[str, Any]:
    return {
        "id": receipt.id,
        "chain": receipt.chain_id,
        "payer": receipt.payer.lower(),
        "provider": receipt.provider.lower(),
        "outcome": receipt.outcome,
        "started": receipt.started_at.timestamp(),
        "written": time.time(),
        "data": json.dumps(receipt.to_dict(), separators=(",", ":")),
    }


def _verdict_row(receipt_id: str, verdict: Verdict) -> dict[str, Any]:
    data = json.dumps(verdict.to_dict(), separators=(",", ":"))
    return {"receipt": receipt_id, "at": time.time(), "status": str(verdict.status), "data": data}


def _receipt(row: Mapping[str, Any]) -> Receipt:
    receipt = Receipt.from_dict(json.loads(row["data"]))
    if row["verdict"] is not None:
        receipt.settle(plain.verdict_of(json.loads(row["verdict"])))
    return receipt
