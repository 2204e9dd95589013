"""Our own changes that a provider may not have seen yet.

A provider caches what the chain says about an account for about two minutes (0g-direct §3.2, §4.5). For 150 s after
our own transfer, acknowledgement or revocation, its "insufficient balance", "not acknowledged" and "future
generation" are that cache, and are waited for instead of being reported. Where the store outlives the process, other
processes know of the change, too: ``zerog chat`` right after ``zerog transfer``.
"""

from __future__ import annotations

import re
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from zg_core.errors import InsufficientFunds, NotAcknowledged, SessionRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.errors import ZeroGError
    from zg_core.store import Store

__all__ = ["CHANGES", "WINDOW", "OwnChanges", "is_lag", "named_balance", "same_balance"]

WINDOW = 150.0  # seconds (0g-direct §4.5: up to about 2 min, retry up to about 150 s)
STEP = 5.0  # seconds between two attempts
_BALANCE = re.compile(r"locked balance is ([0-9]{1,30}(?:\.[0-9]{1,18})?) 0G")
_ROUNDING = 10**12  # neuron


class OwnChanges:
    """When a sub-account was last changed by us, by chain, user and provider; safe from many threads.

    A store that is ``memory:`` adds nothing to what this object knows, so it is left alone.

    Example:
        >>> changes = OwnChanges(now=lambda: 100.0)
        >>> changes.note(1, "0xA", "0xB")
        >>> changes.left(1, "0xa", "0xb"), changes.left(1, "0xa", "0xc")
        (150.0, 0.0)
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        """The clock: unix seconds, since processes share them."""
        self._lock = threading.Lock()
        self._changed: dict[tuple[int, str, str], float] = {}

    def note(self, chain_id: int, user: str, provider: str, store: Store | None = None) -> None:
        """A change of this sub-account is mined."""
        moment = self.now()
        with self._lock:
            self._changed = {key: at for key, at in self._changed.items() if moment - at < WINDOW}
            self._changed[chain_id, user.lower(), provider.lower()] = moment
        if store is not None and store.kind != "memory":
            with store.transaction() as work:
                work.run("DELETE FROM account_changes WHERE changed < :old", old=moment - WINDOW)
                work.run(
                    "INSERT INTO account_changes VALUES (:chain, :address, :provider, :now)"
                    " ON CONFLICT (chain, address, provider) DO UPDATE SET changed = :now",
                    **_key(chain_id, user, provider),
                    now=moment,
                )

    def left(self, chain_id: int, user: str, provider: str, store: Store | None = None) -> float:
        """Seconds for which the provider may still not know; 0 if it must."""
        with self._lock:
            changed = self._changed.get((chain_id, user.lower(), provider.lower()), -WINDOW)
        if store is not None and store.kind != "memory":
            with store.transaction() as work:
                row = work.first(
                    "SELECT changed FROM account_changes WHERE chain = :chain AND address = :address"
                    " AND provider = :provider",
                    **_key(chain_id, user, provider),
                )
            changed = max(changed, row["changed"] if row else changed)
        return min(max(0.0, changed + WINDOW - self.now()), WINDOW)


def _key(chain_id: int, user: str, provider: str) -> dict[str, Any]:
    return {"chain": str(chain_id), "address": user.lower(), "provider": provider.lower()}


CHANGES = OwnChanges()
"""The changes of this process."""


def is_lag(error: ZeroGError) -> bool:
    """Whether a provider's refusal is one that its cache can cause."""
    if "status" not in error.details:  # not the provider's word, but what the chain says now
        return False
    if isinstance(error, SessionRejected):
        return error.code == "future_generation"
    if isinstance(error, NotAcknowledged):
        return "service not acknowledge" not in error.message.lower()  # that one waits for the contract's owner
    return isinstance(error, InsufficientFunds)


def named_balance(error: ZeroGError) -> int | None:
    """The balance, in neuron, that a provider says it sees (0g-direct §4.5); None if it names none."""
    found = _BALANCE.search(error.message)
    return None if found is None else int(Decimal(found[1]) * 10**18)


def same_balance(seen: int, usable: int) -> bool:
    """Whether a balance that was written with some decimals is this one."""
    return abs(seen - usable) < _ROUNDING
