"""What budgets have counted in a store, limit by limit, for whoever looks into it without the budgets themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zg_core.crypto import checksum_address, is_address
from zg_core.money import Amount

if TYPE_CHECKING:
    from zg_core.store import Store

__all__ = ["Counter", "counters"]

_PREFIX = {"per_wallet": "wallet", "per_provider": "provider", "per_day": "day", "per_run": "run"}


@dataclass(frozen=True, slots=True)
class Counter:
    """One limit, what counts against it and what is left.

    Attributes:
        limit: Its name in `zg_core.budget.Budget`.
        whose: The wallet, the wallet at a provider, or the name of the run.
        moving: Whether it is of money moved into sub-accounts (auto-funding), not of calls.
        spent: What counts against it: what is held counts, and so does every counted discrepancy.
        most: The limit as the program said that used it last; None where none has told.
        left: What is left of it, never less than nothing.
    """

    limit: str
    whose: str
    moving: bool
    spent: Amount
    most: Amount | None

    @property
    def left(self) -> Amount | None:
        """What is left."""
        return None if self.most is None else Amount(max(self.most.units - self.spent.units, 0), self.most.currency)


def counters(store: Store, chain: int) -> list[Counter]:
    """What is counted of wallets on a chain; of days only the one that it is now (UTC).

    Args:
        store: The store that the budgets share.
        chain: Number of the chain.

    Raises:
        ConfigError: the store cannot be read.
    """
    with store.transaction(durable=False) as work:
        rows = work.all(
            "SELECT t.scope AS scope, t.units AS units, l.units AS most, l.currency AS currency FROM budget_totals t"
            " LEFT JOIN budget_limits l ON l.scope = t.scope ORDER BY t.scope"
        )
    today, found = f"{datetime.now(UTC):%Y-%m-%d}", []
    for row in rows:
        scope = row["scope"].removeprefix("funding:")
        for limit, prefix in _PREFIX.items():
            begin = f"{prefix}:{chain}:"
            if not scope.startswith(begin):
                continue
            currency = row["currency"] or "0G"
            rest = scope.removeprefix(begin)
            whose = _whose(limit, rest if currency == "0G" else rest.removeprefix(f"{currency}:"), today)
            if whose:
                most = None if row["most"] is None else Amount(int(row["most"]), currency)
                moving = scope != row["scope"]
                found.append(Counter(limit, whose, moving, Amount(int(row["units"]), currency), most))
    return found


def _whose(limit: str, rest: str, today: str) -> str:
    """Whom a counter is of; nothing where it is of another day, or has another form."""
    if limit == "per_run":
        return rest
    *names, day = [*rest.split(":"), today] if limit != "per_day" else rest.split(":")
    if day != today or len(names) != (2 if limit == "per_provider" else 1):
        return ""
    return " at ".join(checksum_address(name) if is_address(name) else name for name in names)
