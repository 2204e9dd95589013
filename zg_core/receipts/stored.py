"""Receipts in the store: a row for every call, written before it is sent, and verdicts as they come.

A call is written when its request is about to leave (outcome ``unknown``), and again when it has ended, before its
verdict is made; the verdict has a column of its own, which no later writing of the call touches, and one that it takes
the place of becomes a row of `receipt_verdicts`. So whatever ends the process, what was sent is on record, and a
verdict that was still pending can be made later (`zg_core.backends.direct.audit.anchors.resolve_late`). What many calls
share is written once (`zg_core.receipts.packing`).
"""

from __future__ import annotations

import base64
import logging
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from zg_core import display
from zg_core.errors import ConfigError
from zg_core.receipts.audited import Audited
from zg_core.receipts.model import row
from zg_core.receipts.packing import COLUMNS, backend_in, packed, prices_in, sound, verdict_from, verdict_text
from zg_core.receipts.plain import DIRECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from zg_core.receipts.model import Receipt
    from zg_core.receipts.packing import Row
    from zg_core.store import Store, Work
    from zg_core.verify.verdict import Verdict

    _Statements = list[tuple[str, dict[str, Any]]]

__all__ = ["ReceiptStore", "Retention"]

logger = logging.getLogger(__name__)

_PRUNE_EVERY = 500  # calls
_BATCH = 500  # rows that one short transaction deletes, or one query reads
_MOST_UNSAVED = 1000
_WRITTEN = (
    "id", "context", "chain", "realm", "payer", "provider", "outcome", "started", "run", "status", "currency", "fee",
    "exact", "most", "odd", "verdict", "data",
)  # fmt: skip
# What an appended verdict has written stays.
_JUDGED = ("status", "verdict")
_FIXED = ("id", "chain", "realm", "provider", "started")  # once the call has begun
CALL = (  # names of columns only
    f"INSERT INTO receipts ({', '.join(_WRITTEN)}) VALUES ({', '.join(f':{name}' for name in _WRITTEN)})"  # noqa: S608
    " ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(
        f"{name} = CASE WHEN receipts.judged IS NULL THEN :{name} ELSE receipts.{name} END"
        if name in _JUDGED
        else f"{name} = :{name}"
        for name in _WRITTEN
        if name not in _FIXED
    )
)
CONTEXT = "INSERT INTO receipt_contexts (name, data) VALUES (:name, :data) ON CONFLICT (name) DO NOTHING"
_FIRST_VERDICT = (
    "UPDATE receipts SET status = :status, verdict = :verdict, judged = :judged WHERE id = :id AND judged IS NULL"
)
_EARLIER_VERDICT = (
    "INSERT INTO receipt_verdicts (receipt, at, status, data)"
    " SELECT id, judged, status, verdict FROM receipts WHERE id = :id AND judged IS NOT NULL"
)
_LATER_VERDICT = "UPDATE receipts SET status = :status, verdict = :verdict, judged = :judged WHERE id = :id"
_MARKS = "INSERT INTO reply_marks (mark, holder, at) VALUES {rows} ON CONFLICT (mark) DO NOTHING"
_NOTED = "SELECT mark, holder FROM reply_marks WHERE mark IN ({places})"
_HOLDER_DIGITS = 12  # of a receipt's id: enough to know one's own
_READ = f"SELECT {', '.join(COLUMNS)} FROM receipts"  # noqa: S608 - names of columns only
_AUDITED = "SELECT id, provider, started, outcome, currency, fee, exact, most, odd, context FROM receipts"
_MOST_CONTEXTS = 4096  # that are kept in memory
_SOME = 200  # rows whose contexts are looked up at once
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
        self._unsaved: deque[_Statements] = deque(maxlen=_MOST_UNSAVED)
        self._known: set[str] = set()  # contexts that the store has
        self._contexts: dict[str, str] = {}

    # writing

    def shares(self, stores: Iterable[Store]) -> bool:
        """Whether what is written here and to all of `stores` can be kept at one go (`together`)."""
        return self._store.kind == "sqlite" and all(each is self._store for each in stores)

    def together(self) -> AbstractContextManager[object]:
        """All that this thread writes inside to the store is kept, or nothing of it."""
        return self._store.transaction(durable=False)

    def write(self, receipt: Receipt, *, later: bool = True) -> None:
        """Write the call as `receipt` has it now, over what was written of it before.

        Args:
            receipt: Of the call.
            later: Whether it is tried again with the next receipt where it fails.

        Raises:
            ConfigError: the store cannot be used (code ``store_unavailable``).
        """
        row, context = packed(receipt)
        statements: _Statements = [(CALL, row)]
        if context.name not in self._known:
            statements.insert(0, (CONTEXT, {"name": context.name, "data": context.data}))
        self._run(statements, later=later)
        if len(statements) > 1:
            self._store.when_kept(lambda: self._knows(context.name))
        with self._guard:
            self._written += 1
            due = self._written % _PRUNE_EVERY == 1
        if due:  # a call does not wait for it
            threading.Thread(target=self._prune_quietly, name="zerog-receipts", daemon=True).start()

    def _knows(self, context: str) -> None:
        if len(self._known) > _MOST_CONTEXTS:
            self._known.clear()
        self._known.add(context)

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
        noting, noted = _marking(len(names))
        holder = receipt.id[:_HOLDER_DIGITS]
        with self._store.transaction(durable=False) as work:
            if work.run(noting, **values, holder=holder, at=time.time()) == len(names):
                return frozenset()
            known = work.all(noted, **values)
        return frozenset(names[row["mark"]] for row in known if row["holder"] != holder)

    def append(self, receipt: Receipt) -> None:
        """Add the receipt's verdict as the latest.

        Raises:
            ConfigError: as in `write`.
        """
        told = {"id": receipt.id, "status": str(receipt.verdict.status), "verdict": verdict_text(receipt)}
        self._run([(_FIRST_VERDICT, {**told, "judged": time.time()})])

    def drop(self, receipt: Receipt) -> None:
        """Take back a call that turned out never to have been served.

        Raises:
            ConfigError: as in `write`.
        """
        self._run([("DELETE FROM receipts WHERE id = :id", {"id": receipt.id})])

    def _run(self, statements: _Statements, *, later: bool = True) -> None:
        try:
            self._do(statements)
        except ConfigError:
            if later:
                self._unsaved.append(statements)  # tried again with the next
            raise
        if self._unsaved:  # apart from a transaction around this: neither may undo the other
            self._store.when_kept(lambda: self._catch_up(statements))

    def _catch_up(self, newer: _Statements) -> None:
        """Write what could not be written before; but no call over what is `newer` of it."""
        sql, values = newer[-1]
        while self._unsaved:
            try:
                late = self._unsaved.popleft()
            except IndexError:  # another thread took it
                return
            if sql is not _FIRST_VERDICT and late[-1][0] is CALL and late[-1][1]["id"] == values["id"]:
                continue
            try:
                self._do(late)
            except ConfigError:
                self._unsaved.appendleft(late)
                return

    def _do(self, statements: _Statements) -> None:
        if len(statements) == 1:
            sql, values = statements[0]
            changed = self._store.write(sql, **values)
            if sql is _FIRST_VERDICT and changed == 0:
                self._replace(values)
            return
        with self._store.transaction(durable=False) as work:
            for sql, values in statements:
                work.run(sql, **values)

    def _replace(self, values: dict[str, Any]) -> None:
        """Make a verdict the latest, where there was one: that is kept, too."""
        with self._store.transaction(durable=False) as work:
            work.run(_EARLIER_VERDICT, id=values["id"])
            work.run(_LATER_VERDICT, **values)

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
            if self.retention.max_count is not None and self._may_exceed(work, self.retention.max_count):
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

    def _may_exceed(self, work: Work, count: int) -> bool:
        """Whether there may be more rows than `count`, where that can be told without counting them."""
        if self._store.kind == "sqlite":  # two selects: of both ends in one, it would look at every row
            last = work.one("SELECT COALESCE(MAX(rowid), 0) AS n FROM receipts")["n"]
            return int(last) - int(work.one("SELECT COALESCE(MIN(rowid), 0) AS n FROM receipts")["n"]) >= count
        known = work.one("SELECT COALESCE(MAX(reltuples), -1) AS n FROM pg_class WHERE oid = to_regclass('receipts')")
        return float(known["n"]) < 0 or 1.5 * float(known["n"]) >= count

    # reading

    def get(self, receipt_id: str) -> Receipt | None:
        """The receipt with this id, or with the only id that begins so (8 digits or more); None if there is none."""
        if len(receipt_id) < 8 or not receipt_id.isalnum():
            return None
        where = " WHERE id >= :begin AND id < :end ORDER BY id LIMIT 3"
        end = receipt_id[:-1] + chr(ord(receipt_id[-1]) + 1)
        rows = list(self._store.stream(_READ + where, begin=receipt_id, end=end))
        found = [row for row in rows if row[0].startswith(receipt_id)]
        exact = [row for row in found if row[0] == receipt_id]
        return next(self._receipts(exact or found), None) if len(exact or found) == 1 else None

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
        run: str | None = None,
        unresolved: bool = False,
        readable: bool = False,
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
            run: Of this run.
            unresolved: Only those without a verdict of their own row, or with one that says pending or unavailable.
            readable: Leave out rows that are no receipts: whoever else writes to the store may have written anything.

        Raises:
            ConfigError: the store cannot be used; or a row is no receipt (code ``bad_receipt``).
        """
        where, values = _where(
            provider=provider, payer=payer, chain_id=chain_id, since=since, until=until, outcome=outcome, run=run,
            unresolved=unresolved,
        )  # fmt: skip
        limit = ""
        if newest is not None:
            limit, values["newest"] = " LIMIT :newest", newest
        rows = self._store.stream(f"{_READ}{where} ORDER BY started DESC, id DESC{limit}", **values)
        return [*self._receipts(rows, readable=readable)][::-1]

    def rows(self, **wanted: Any) -> Iterator[tuple[Row, str]]:
        """The rows of the receipts that fit, oldest first, as they are stored, each with the context that it names.

        It takes what `select` takes, but `newest`; a store of any size is read at constant memory.

        Raises:
            ConfigError: the store cannot be used.
        """
        where, values = _where(**wanted)
        yield from self._with_contexts(self._store.stream(f"{_READ}{where} ORDER BY started, id", **values))

    def audited(self, *, backend: str = DIRECT, **wanted: Any) -> Iterator[Audited]:
        """What an audit needs of the receipts that fit, in no order. It takes what `rows` takes.

        Args:
            backend: Of this backend: what others were paid is settled elsewhere.
            **wanted: As in `rows`.

        Raises:
            ConfigError: the store cannot be used.
        """
        where, values = _where(**wanted)
        prices: dict[str, tuple[int, int] | None] = {}
        names: dict[str, str] = {}
        old: list[str] = []
        for each in self._store.stream(_AUDITED + where, **values):
            id_, provider, started, outcome, currency, fee, exact, most, odd, context = each
            if not context:  # as the package wrote them before
                old.append(id_)
                continue
            if context not in prices:
                words = self._context(context)
                prices[context] = prices_in(words) if backend_in(words) == backend else None
                names[context] = sys.intern(provider)
            if (price := prices[context]) is None:
                continue
            upper = None if most is None else int(most)
            units = int(fee)
            yield Audited(
                id_, names[context], started, units, exact == 1, units if exact == 1 else upper, outcome == "refused",
                odd == 1, price, sys.intern(currency),
            )  # fmt: skip
        for id_ in old if backend == DIRECT else ():
            yield from map(Audited.of, self._receipts(self._store.stream(f"{_READ} WHERE id = :id", id=id_)))

    def _receipts(self, rows: Iterable[Row], *, readable: bool = False) -> Iterator[Receipt]:
        for each, context in self._with_contexts(rows):
            try:
                yield sound(each, context)
            except ConfigError as error:
                if not readable:
                    raise
                logger.debug("left out of a list: %s", error.message)

    def _with_contexts(self, rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
        source = iter(rows)
        while some := list(islice(source, _SOME)):
            self._load({each[1] for each in some} - {""})
            for each in some:
                yield each, self._contexts.get(each[1], "")

    def _context(self, name: str) -> str:
        self._load({name})
        return self._contexts.get(name, "")

    def _load(self, names: set[str]) -> None:
        """Have the contexts of these names in memory."""
        missing = sorted(names - self._contexts.keys())
        if not missing:
            return
        if len(self._contexts) > _MOST_CONTEXTS:
            self._contexts = {}
            missing = sorted(names)
        places = {f"n{place}": name for place, name in enumerate(missing)}
        listed = ", ".join(f":{place}" for place in places)
        sql = f"SELECT name, data FROM receipt_contexts WHERE name IN ({listed})"  # noqa: S608 - places only
        self._contexts = {**self._contexts, **{row[0]: row[1] for row in self._store.stream(sql, **places)}}

    def verdicts(self, receipt_id: str) -> list[Verdict]:
        """The verdicts that were added to a call after it was written, oldest first."""
        receipt = self.get(receipt_id)
        if receipt is None:
            return []
        earlier = "SELECT data FROM receipt_verdicts WHERE receipt = :id ORDER BY at"
        texts = [row[0] for row in self._store.stream(earlier, id=receipt.id)]
        latest = "SELECT verdict FROM receipts WHERE id = :id AND judged IS NOT NULL"
        texts += [row[0] for row in self._store.stream(latest, id=receipt.id)]
        return [verdict_from(text, receipt)[0] for text in texts]

    @property
    def last(self) -> Receipt | None:
        """The newest receipt."""
        return next(iter(self.select(newest=1)), None)

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self.select())

    def __len__(self) -> int:
        ((count,),) = self._store.stream("SELECT COUNT(*) FROM receipts")
        return int(count)

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


@lru_cache(maxsize=16)
def _marking(count: int) -> tuple[str, str]:
    """The statements that note so many marks, and that look for them."""
    rows = ", ".join(f"(:m{place}, :holder, :at)" for place in range(count))
    return _MARKS.format(rows=rows), _NOTED.format(places=", ".join(f":m{place}" for place in range(count)))


def _where(
    *,
    provider: str | None = None,
    payer: str | None = None,
    chain_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    outcome: str | None = None,
    run: str | None = None,
    unresolved: bool = False,
) -> tuple[str, dict[str, Any]]:
    """The clause that selects receipts, and its parameters."""
    wanted = {
        "provider = :provider": provider and provider.lower(),
        "payer = :payer": payer and payer.lower(),
        "chain = :chain": chain_id,
        "started >= :since": since and since.timestamp(),
        "started < :until": until and until.timestamp(),
        "outcome = :outcome": outcome,
        "run = :run": run,
    }
    given = {clause: value for clause, value in wanted.items() if value is not None}
    clauses = [*given, "status IN ('', 'pending', 'unavailable')"] if unresolved else [*given]
    values: dict[str, Any] = {clause.rpartition(":")[2]: value for clause, value in given.items()}
    return f" WHERE {' AND '.join(clauses)}" if clauses else "", values
