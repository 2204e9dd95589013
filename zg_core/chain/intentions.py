"""Intentions: what a user asked to be sent, kept in the store until it is known what became of it.

One intention is one transaction. Whoever asks for the same again after an unclear end is told of the first
(`zg_core.chain.transactions`), whether it ended in this process or in one that was killed.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.chain.nonces import SILENT_SECONDS, Form, form_of, lives
from zg_core.holders import holder, life_of
from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zg_core.store import Store, Work

__all__ = ["REPEAT_SECONDS", "Intention", "Intentions"]

# For so long the same call is no repetition by chance; what is still in flight is asked about however old it is.
REPEAT_SECONDS = 3600.0
_KEPT_SECONDS = 7 * 24 * 3600.0

# States. What has not ended: open, and unclear (its caller was not told an outcome). What has: mined, reverted,
# dropped (its nonce went to another transaction), refused (by a node, in known words); `late` says that this was found
# out only after an unclear end.
_UNENDED = ("open", "unclear")


@dataclass(frozen=True, slots=True)
class Intention:
    """One transaction that was asked for.

    Attributes:
        id: Its id in the store.
        what: The function that was called.
        to: The contract.
        value: What was sent along.
        asked_at: When.
        state: ``"open"`` while a process works on it, ``"unclear"`` when none does and its outcome is not known;
            ``"mined"``, ``"reverted"``, ``"refused"``, or ``"dropped"``: its nonce went to another transaction.
        hashes: Of every form of it that a node may have, oldest first.
        nonce: Of the last of them, None if none was signed.
    """

    id: str
    what: str
    to: str
    value: Amount
    asked_at: datetime
    state: str
    hashes: tuple[str, ...]
    nonce: int | None

    @property
    def is_settled(self) -> bool:
        """Whether its outcome is known."""
        return self.state not in _UNENDED


@dataclass(frozen=True, slots=True)
class Record:
    """An intention with what it takes to go on with it."""

    shown: Intention
    data: str
    forms: tuple[Form, ...]
    late: bool


class Intentions:
    """The intentions of one account on one chain.

    Args:
        store: Where they are kept.
        chain_id: The chain.
        address: The account.
        now: Unix seconds; the store's own clock by default.
        process: Who works on what is begun; this process by default.
    """

    def __init__(
        self,
        store: Store,
        chain_id: int,
        address: str,
        now: Callable[[], float] | None = None,
        process: str | None = None,
    ) -> None:
        self._store = store
        self._key: dict[str, Any] = {"chain": str(chain_id), "address": address.lower()}
        self._clock = now
        self._process = process

    def begin(self, what: str, to: str, data: str, value: int) -> str:
        """Note what is asked for; its id. What ended long ago is forgotten."""
        id_ = uuid.uuid4().hex
        with self._store.transaction() as work:
            now = self._now(work)
            old = "chain = :chain AND address = :address AND asked < :old AND state NOT IN ('open', 'unclear')"
            horizon = now - _KEPT_SECONDS
            work.run(
                f"DELETE FROM signed_forms WHERE intention IN (SELECT id FROM intentions WHERE {old})",  # noqa: S608
                **self._key,
                old=horizon,
            )
            work.run(f"DELETE FROM intentions WHERE {old}", **self._key, old=horizon)  # noqa: S608 - constant
            work.run(
                "INSERT INTO intentions VALUES"
                " (:id, :chain, :address, :digest, :what, :target, :value, :data, 'open', 0, :process, :now, :now)",
                **self._key,
                id=id_,
                digest=_digest(to, data, value),
                what=what[:200],
                target=to,
                value=str(value),
                data=data,
                process=self._process or holder(),
                now=now,
            )
        return id_

    def adopt(self, id_: str, earlier: Iterable[str]) -> None:
        """What was signed for `earlier` ones of the same belongs to this one: one of all its forms can be mined."""
        with self._store.transaction() as work:
            for each in earlier:
                work.run("UPDATE signed_forms SET intention = :id WHERE intention = :each", id=id_, each=each)
                work.run("DELETE FROM intentions WHERE id = :each", each=each)

    def close(self, id_: str, state: str | None) -> None:
        """Note how it ended; None if nothing was ever sent, so that there was nothing."""
        with self._store.transaction() as work:
            if state is None:
                work.run("DELETE FROM signed_forms WHERE intention = :id", id=id_)
                work.run("DELETE FROM intentions WHERE id = :id", id=id_)
                return
            # Whose process is still noted there, its caller was not told (`zg_core.chain.telling`).
            work.run(
                "UPDATE intentions SET state = :state, touched = :now, process = CASE WHEN :mined = 1 THEN process"
                " ELSE '' END WHERE id = :id",
                id=id_,
                state=state,
                mined=int(state == "mined"),
                now=self._now(work),
            )

    def settle(self, id_: str, state: str) -> None:
        """Note what became of one whose end was unclear."""
        with self._store.transaction() as work:
            work.run(
                "UPDATE intentions SET state = :state, process = '', late = 1"
                " WHERE id = :id AND (state IN ('open', 'unclear') OR (state = 'mined' AND process <> ''))",
                id=id_,
                state=state,
            )

    def resume(self, id_: str) -> None:
        """This process works on it again."""
        with self._store.transaction() as work:
            work.run(
                "UPDATE intentions SET state = 'open', process = :process, touched = :now WHERE id = :id",
                id=id_,
                process=self._process or holder(),
                now=self._now(work),
            )

    def alike(self, to: str, data: str, value: int) -> list[Record]:
        """The same, asked for before, where its caller was not told that it was mined; newest first.

        Those that somebody still works on are no repetition: many may ask for the same at once.
        """
        with self._store.transaction() as work:
            now = self._now(work)
            rows = work.all(
                "SELECT * FROM intentions WHERE chain = :chain AND address = :address AND digest = :digest"
                " ORDER BY asked DESC",
                **self._key,
                digest=_digest(to, data, value),
            )
            found = [row for row in rows if not _is_worked_on(row, now)]
            return [
                self._record(work, row)
                for row in found
                if row["state"] in (*_UNENDED, "refused")
                or (now - row["asked"] < REPEAT_SECONDS and (row["late"] or _is_untold(row, now)))
            ]

    def acknowledge(self, to: str, data: str, value: int) -> None:
        """Who asks for the same knows what became of it."""
        with self._store.transaction() as work:
            work.run(
                "UPDATE intentions SET late = 0, process = '' WHERE chain = :chain AND address = :address"
                " AND digest = :digest AND state = 'mined'",
                **self._key,
                digest=_digest(to, data, value),
            )

    def unsettled(self) -> list[Record]:
        """Those whose end is not known, or was told to nobody, and on which nobody works, oldest first."""
        with self._store.transaction() as work:
            now = self._now(work)
            rows = work.all(
                "SELECT * FROM intentions WHERE chain = :chain AND address = :address"
                " AND (state IN ('open', 'unclear') OR (state = 'mined' AND process <> '')) ORDER BY asked",
                **self._key,
            )
            return [
                self._record(work, row)
                for row in rows
                if (_is_untold(row, now) if row["state"] == "mined" else not _is_worked_on(row, now))
            ]

    def find(self, id_: str) -> Record | None:
        """The intention with this id."""
        with self._store.transaction() as work:
            row = work.first(
                "SELECT * FROM intentions WHERE chain = :chain AND address = :address AND id = :id",
                **self._key,
                id=id_,
            )
            return None if row is None else self._record(work, row)

    def is_recent(self, record: Record) -> bool:
        """Whether it was asked for a short while ago."""
        with self._store.transaction() as work:
            return self._now(work) - record.shown.asked_at.timestamp() < REPEAT_SECONDS

    def _now(self, work: Work) -> float:
        return work.now() if self._clock is None else self._clock()

    def _record(self, work: Work, row: Any) -> Record:
        signed = work.all("SELECT * FROM signed_forms WHERE intention = :id ORDER BY at", id=row["id"])
        forms = tuple(map(form_of, signed))
        state = row["state"]
        shown = Intention(
            row["id"],
            row["what"],
            row["target"],
            Amount(int(row["value"])),
            datetime.fromtimestamp(row["asked"], UTC),
            "unclear" if state == "open" else state,
            tuple(form.hash for form in forms),
            forms[-1].nonce if forms else None,
        )
        return Record(shown, row["data"], forms, bool(row["late"]))


def _digest(to: str, data: str, value: int) -> str:
    return hashlib.sha256(f"{to.lower()}|{data.lower()}|{value}".encode()).hexdigest()


def _is_worked_on(row: Any, now: float) -> bool:
    return row["state"] == "open" and lives(row["process"], now - row["touched"])


def _is_untold(row: Any, now: float) -> bool:
    """Whether it was mined, and its process was killed before anybody can have been told."""
    if row["state"] != "mined" or not row["process"]:
        return False
    life = life_of(row["process"])
    return life == "gone" or (life == "elsewhere" and bool(now - row["touched"] > SILENT_SECONDS))
