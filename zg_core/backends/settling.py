"""Our own changes that a provider may not have seen yet.

A provider caches what the chain says about an account for about two minutes (0g-direct §3.2, §4.5). For 150 s after
our own transfer, acknowledgement or revocation, its "insufficient balance", "not acknowledged" and "future
generation" are that cache, and are waited for instead of being reported.
"""

from __future__ import annotations

import re
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING

from zg_core.errors import InsufficientFunds, NotAcknowledged, SessionRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.errors import ZeroGError

__all__ = ["CHANGES", "WINDOW", "OwnChanges", "is_lag", "named_balance", "same_balance"]

WINDOW = 150.0  # seconds (0g-direct §4.5: up to about 2 min, retry up to about 150 s)
STEP = 5.0  # seconds between two attempts
_BALANCE = re.compile(r"locked balance is ([0-9]{1,30}(?:\.[0-9]{1,18})?) 0G")
_ROUNDING = 10**12  # neuron


class OwnChanges:
    """When this process last changed a sub-account, by chain, user and provider; safe from many threads.

    Example:
        >>> changes = OwnChanges(now=lambda: 100.0)
        >>> changes.note(1, "0xA", "0xB")
        >>> changes.left(1, "0xa", "0xb"), changes.left(1, "0xa", "0xc")
        (150.0, 0.0)
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        """The clock: seconds that only grow."""
        self._lock = threading.Lock()
        self._changed: dict[tuple[int, str, str], float] = {}

    def note(self, chain_id: int, user: str, provider: str) -> None:
        """A change of this sub-account is mined."""
        moment = self.now()
        with self._lock:
            self._changed = {key: at for key, at in self._changed.items() if moment - at < WINDOW}
            self._changed[chain_id, user.lower(), provider.lower()] = moment

    def left(self, chain_id: int, user: str, provider: str) -> float:
        """Seconds for which the provider may still not know; 0 if it must."""
        with self._lock:
            changed = self._changed.get((chain_id, user.lower(), provider.lower()))
        return 0.0 if changed is None else max(0.0, changed + WINDOW - self.now())


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
