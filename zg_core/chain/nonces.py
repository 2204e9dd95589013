"""Nonces, handed out through the store, so that threads, processes and machines that share it never collide.

Each nonce under way is a lease: taken before signing, given back if nothing was sent, removed once it is mined. The
next nonce is the first one that neither the chain nor a lease has, so a gap that a failed send leaves is filled by
the next transaction. A lease whose holder has died runs out.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zg_core.store import Store, Work

__all__ = ["LEASE_SECONDS", "Lease", "Nonces"]

# Longer than any pause between two signs of life of a holder: the RPC's read timeout is 30 s (chain.rpc).
LEASE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Lease:
    """One nonce, held."""

    nonce: int
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)


class Nonces:
    """The nonces of one account on one chain.

    Args:
        store: Shared by all who send with this account.
        chain_id: The chain.
        address: The account.
        now: Unix seconds; must agree between machines to within a minute.
    """

    def __init__(self, store: Store, chain_id: int, address: str, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._key: dict[str, Any] = {"chain": str(chain_id), "address": address.lower()}
        self._now = now

    def floor(self) -> int:
        """Everything below is known to be mined."""
        with self._store.transaction() as work:
            row = work.first("SELECT floor FROM nonces WHERE chain = :chain AND address = :address", **self._key)
            return int(row["floor"]) if row else 0

    def abandoned(self) -> dict[int, str]:
        """Nonces whose holder has gone after signing, with the hash of what may have been sent."""
        with self._store.transaction() as work:
            rows = work.all(
                "SELECT nonce, tx_hash FROM nonce_leases WHERE chain = :chain AND address = :address"
                " AND touched < :old AND tx_hash IS NOT NULL",
                **self._key,
                old=self._now() - LEASE_SECONDS,
            )
            return {int(row["nonce"]): row["tx_hash"] for row in rows}

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
            now = self._now()
            held = self._held(work, now, alive)
            lease = Lease(_next(max(pending, mined, floor), held))
            self._put(work, lease, now)
            return lease

    def claim(self, nonce: int) -> Lease | None:
        """Take one certain nonce, to fill a gap; None if somebody holds it."""
        with self._store.transaction() as work:
            floor = self._lock(work)
            now = self._now()
            if nonce < floor or nonce in self._held(work, now, ()):
                return None
            lease = Lease(nonce)
            self._put(work, lease, now)
            return lease

    def is_held(self, nonce: int) -> bool:
        """Whether somebody alive holds this nonce."""
        with self._store.transaction() as work:
            return nonce in self._held(work, self._now(), ())

    def touch(self, lease: Lease, tx_hash: str | None = None) -> bool:
        """Show a sign of life, with the hash of what is about to be sent; False if the lease was lost meanwhile."""
        with self._store.transaction() as work:
            return bool(
                work.run(
                    "UPDATE nonce_leases SET touched = :now, tx_hash = COALESCE(:hash, tx_hash)"
                    " WHERE chain = :chain AND address = :address AND nonce = :nonce AND holder = :holder",
                    **self._key,
                    nonce=lease.nonce,
                    holder=lease.holder,
                    hash=tx_hash,
                    now=self._now(),
                )
            )

    def give_back(self, lease: Lease) -> None:
        """Nothing was sent: the nonce is free for others."""
        with self._store.transaction() as work:
            self._lock(work)
            self._remove(work, lease)

    def used(self, lease: Lease) -> None:
        """The nonce is mined."""
        with self._store.transaction() as work:
            self._raise(work, max(self._lock(work), lease.nonce + 1))
            self._remove(work, lease)

    def rewind(self, mined: int) -> None:
        """The chain has gone back (a local network that was started anew): believe it."""
        with self._store.transaction() as work:
            self._lock(work)
            work.run(
                "UPDATE nonces SET floor = :floor WHERE chain = :chain AND address = :address", **self._key, floor=mined
            )

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

    def _held(self, work: Work, now: float, alive: Collection[int]) -> set[int]:
        rows = work.all(
            "SELECT nonce, touched FROM nonce_leases WHERE chain = :chain AND address = :address", **self._key
        )
        return {int(row["nonce"]) for row in rows if row["touched"] >= now - LEASE_SECONDS or row["nonce"] in alive}

    def _put(self, work: Work, lease: Lease, now: float) -> None:
        work.run(
            "DELETE FROM nonce_leases WHERE chain = :chain AND address = :address AND nonce = :nonce",
            **self._key,
            nonce=lease.nonce,
        )
        work.run(
            "INSERT INTO nonce_leases (chain, address, nonce, holder, touched)"
            " VALUES (:chain, :address, :nonce, :holder, :now)",
            **self._key,
            nonce=lease.nonce,
            holder=lease.holder,
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


def _next(start: int, held: Collection[int]) -> int:
    while start in held:
        start += 1
    return start
