"""Nonces, handed out through the store, so that threads, processes and machines that share it never collide.

Each nonce under way is a lease: taken before signing, given back if nothing was sent, removed once it is mined. The
next nonce is the first one that neither the chain nor a lease has, so a gap that a failed send leaves is filled by
the next transaction. Every form that was signed for a nonce is noted before a node sees it; a nonce whose holder has
gone is handed out again only while no node knows one of them, and then at most one of both can ever be mined.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.chain.encoding import Fees
from zg_core.holders import holder, life_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zg_core.chain.encoding import Unsigned
    from zg_core.store import Store, Work

__all__ = ["HANGING_SECONDS", "SILENT_SECONDS", "Form", "Lease", "Nonces", "form_of", "lives"]

# A holder elsewhere that is silent for so long is taken for dead; a living one shows three signs meanwhile.
SILENT_SECONDS = 15.0
# One on this machine that lives is given longer: it may be stopped, or starved.
HANGING_SECONDS = 120.0
_LET_GO = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """One nonce, held."""

    nonce: int
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True)
class Form:
    """One signed form of a transaction: what a node may have.

    Attributes:
        hash: Its hash, 0x.
        nonce: The account's nonce that it uses.
        gas: Units of gas, at most.
        fees: What one costs, at most.
        intention: What it was signed for, "" for one that only uses a nonce up.
    """

    hash: str
    nonce: int
    gas: int
    fees: Fees
    intention: str = ""

    @classmethod
    def of(cls, unsigned: Unsigned, tx_hash: str, intention: str = "") -> Form:
        """The form of a transaction that was signed."""
        return cls(tx_hash, unsigned.nonce, unsigned.gas, unsigned.fees, intention)

    @property
    def cost(self) -> int:
        """Most that its gas costs, in neuron."""
        return self.gas * self.fees.cap


class Nonces:
    """The nonces of one account on one chain.

    Args:
        store: Shared by all who send with this account.
        chain_id: The chain.
        address: The account.
        now: Unix seconds; the store's own clock by default, so that clocks of machines need not agree.
        process: Who holds what is taken; this process by default.
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

    def floor(self) -> int:
        """Everything below is known to be mined."""
        with self._store.transaction() as work:
            row = work.first("SELECT floor FROM nonces WHERE chain = :chain AND address = :address", **self._key)
            return int(row["floor"]) if row else 0

    def abandoned(self) -> dict[int, tuple[str, ...]]:
        """Nonces whose holder has gone after signing, with the hashes of what may have been sent."""
        with self._store.transaction() as work:
            now = self._now(work)
            nonces = {
                int(row["nonce"]) for row in self._leases(work) if not lives(row["process"], now - row["touched"])
            }
            return {nonce: hashes for nonce in sorted(nonces) if (hashes := self._hashes(work, nonce))}

    def forms(self, nonce: int) -> tuple[Form, ...]:
        """Everything that was signed for a nonce, oldest first."""
        with self._store.transaction() as work:
            return tuple(form_of(row) for row in self._signed(work, nonce))

    def take(self, mined: int, pending: int, alive: Collection[int] = ()) -> Lease:
        """Take the next nonce.

        Args:
            mined: Transactions of the account that are mined, as the node counts.
            pending: The same, with those that wait there without a gap.
            alive: Nonces of `abandoned` that the node still knows a transaction for.
        """
        with self._store.transaction() as work:
            floor = self._lock(work)
            self._raise(work, max(floor, mined))
            now = self._now(work)
            lease = Lease(_next(max(pending, mined, floor), self._held(work, now, alive)))
            self._put(work, lease, now)
            return lease

    def claim(self, nonce: int, *, used: bool = False) -> Lease | None:
        """Take one certain nonce, to fill a gap or to go on with what was signed for it; None if somebody holds it.

        Args:
            nonce: Which.
            used: Whether one that is known to be mined is taken, too.
        """
        with self._store.transaction() as work:
            floor = self._lock(work)
            now = self._now(work)
            if (nonce < floor and not used) or nonce in self._held(work, now, ()):
                return None
            lease = Lease(nonce)
            self._put(work, lease, now)
            return lease

    def is_held(self, nonce: int) -> bool:
        """Whether somebody alive holds this nonce."""
        with self._store.transaction() as work:
            return nonce in self._held(work, self._now(work), ())

    def sign(self, lease: Lease, form: Form) -> bool:
        """Note what is about to be sent; False if the lease was lost meanwhile."""
        with self._store.transaction() as work:
            now = self._now(work)
            held = work.run(
                "UPDATE nonce_leases SET touched = :now"
                " WHERE chain = :chain AND address = :address AND nonce = :nonce AND holder = :holder",
                **self._key,
                nonce=lease.nonce,
                holder=lease.holder,
                now=now,
            )
            if held:
                work.run(
                    "INSERT INTO signed_forms VALUES"
                    " (:hash, :chain, :address, :nonce, :intention, :gas, :cap, :tip, :now) ON CONFLICT DO NOTHING",
                    **self._key,
                    hash=form.hash,
                    nonce=form.nonce,
                    intention=form.intention,
                    gas=form.gas,
                    cap=str(form.fees.cap),
                    tip=None if form.fees.tip is None else str(form.fees.tip),
                    now=now,
                )
            return bool(held)

    def give_back(self, lease: Lease) -> None:
        """Nothing of it can be mined, or it hardly will: the nonce is free for others."""
        with self._store.transaction() as work:
            self._lock(work)
            self._remove(work, lease)

    def let_go(self, lease: Lease) -> None:
        """Nobody waits for it any more, but what was sent may still be mined."""
        with self._store.transaction() as work:
            work.run(
                "UPDATE nonce_leases SET process = :process"
                " WHERE chain = :chain AND address = :address AND nonce = :nonce AND holder = :holder",
                **self._key,
                nonce=lease.nonce,
                holder=lease.holder,
                process=_LET_GO,
            )

    def used(self, lease: Lease) -> None:
        """The nonce is mined."""
        with self._store.transaction() as work:
            self._raise(work, max(self._lock(work), lease.nonce + 1))
            self._remove(work, lease)

    def rewind(self, mined: int) -> None:
        """The chain has gone back (a reorganisation, a local network that was started anew): believe it."""
        with self._store.transaction() as work:
            self._lock(work)
            work.run(
                "UPDATE nonces SET floor = :floor WHERE chain = :chain AND address = :address", **self._key, floor=mined
            )

    def _now(self, work: Work) -> float:
        return work.now() if self._clock is None else self._clock()

    def _lock(self, work: Work) -> int:
        """Hold the account's row, so that one transaction at a time decides; the floor."""
        work.run(
            "INSERT INTO nonces (chain, address, floor) VALUES (:chain, :address, 0) ON CONFLICT DO NOTHING",
            **self._key,
        )
        return int(
            work.one("SELECT floor FROM nonces WHERE chain = :chain AND address = :address", lock=True, **self._key)[
                "floor"
            ]
        )

    def _raise(self, work: Work, floor: int) -> None:
        work.run(
            "UPDATE nonces SET floor = :floor WHERE chain = :chain AND address = :address AND floor < :floor",
            **self._key,
            floor=floor,
        )
        work.run(
            "DELETE FROM nonce_leases WHERE chain = :chain AND address = :address AND nonce < :floor",
            **self._key,
            floor=floor,
        )

    def _leases(self, work: Work) -> list[Any]:
        return work.all(
            "SELECT nonce, process, touched FROM nonce_leases WHERE chain = :chain AND address = :address", **self._key
        )

    def _held(self, work: Work, now: float, alive: Collection[int]) -> set[int]:
        return {
            int(row["nonce"])
            for row in self._leases(work)
            if int(row["nonce"]) in alive or lives(row["process"], now - row["touched"])
        }

    def _signed(self, work: Work, nonce: int) -> list[Any]:
        return work.all(
            "SELECT * FROM signed_forms WHERE chain = :chain AND address = :address AND nonce = :nonce ORDER BY at",
            **self._key,
            nonce=nonce,
        )

    def _hashes(self, work: Work, nonce: int) -> tuple[str, ...]:
        return tuple(row["tx_hash"] for row in self._signed(work, nonce))

    def _put(self, work: Work, lease: Lease, now: float) -> None:
        work.run(
            "DELETE FROM nonce_leases WHERE chain = :chain AND address = :address AND nonce = :nonce",
            **self._key,
            nonce=lease.nonce,
        )
        work.run(
            "INSERT INTO nonce_leases (chain, address, nonce, holder, process, touched)"
            " VALUES (:chain, :address, :nonce, :holder, :process, :now)",
            **self._key,
            nonce=lease.nonce,
            holder=lease.holder,
            process=self._process or holder(),
            now=now,
        )

    def _remove(self, work: Work, lease: Lease) -> None:
        work.run(
            "DELETE FROM nonce_leases WHERE chain = :chain AND address = :address"
            " AND nonce = :nonce AND holder = :holder",
            **self._key,
            nonce=lease.nonce,
            holder=lease.holder,
        )


def form_of(row: Any) -> Form:
    """A row of `signed_forms`."""
    tip = None if row["tip"] is None else int(row["tip"])
    return Form(row["tx_hash"], int(row["nonce"]), int(row["gas"]), Fees(int(row["cap"]), tip), row["intention"])


def lives(process: str | None, silence: float) -> bool:
    """Whether a holder that was `silence` seconds without a sign of life still works on what it holds."""
    if process is None:  # an older version of this package, which shows signs of life every 20 s
        return bool(silence <= HANGING_SECONDS)
    if process == _LET_GO:
        return False
    life = life_of(process)
    return life != "gone" and bool(silence <= (HANGING_SECONDS if life == "alive" else SILENT_SECONDS))


def _next(start: int, held: Collection[int]) -> int:
    while start in held:
        start += 1
    return start
