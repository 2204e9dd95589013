"""The counters of budgets in the store: decimal text, since amounts outgrow 64 bits."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zg_core.store import Work

__all__ = ["add", "all_spent", "put_all"]


def all_spent(work: Work, scopes: Iterable[str]) -> dict[str, int]:
    """What each of these counters has counted, locked until the transaction ends; one that is missing begins at 0."""
    names: dict[str, Any] = {f"s{place}": scope for place, scope in enumerate(sorted(scopes))}
    if not names:
        return {}
    sql = _totals_of(len(names))
    found = work.all(sql, **names)
    if len(found) < len(names):
        for scope in names.values():
            work.run("INSERT INTO budget_totals VALUES (:scope, '0') ON CONFLICT DO NOTHING", scope=scope)
    if len(found) < len(names) or not work.alone:  # what others may write was read only to see what is missing
        found = work.all(sql, lock=True, **names)
    return {row["scope"]: int(row["units"]) for row in found}


def put_all(work: Work, totals: Mapping[str, int]) -> None:
    """Set counters, which `all_spent` has locked."""
    values: dict[str, str] = {}
    for place, (scope, total) in enumerate(totals.items()):
        values |= {f"s{place}": scope, f"u{place}": str(total)}
    if values:
        work.run(_putting(len(totals)), **values)


def add(work: Work, scopes: Iterable[str], change: int) -> None:
    """Add `change` to each of these counters."""
    put_all(work, {scope: total + change for scope, total in all_spent(work, scopes).items()})


@lru_cache(maxsize=16)
def _totals_of(count: int) -> str:
    places = ", ".join(f":s{place}" for place in range(count))
    # In one order for all: none waits for another that waits for it.
    return f"SELECT scope, units FROM budget_totals WHERE scope IN ({places}) ORDER BY scope"  # noqa: S608 - places


@lru_cache(maxsize=16)
def _putting(count: int) -> str:
    rows = ", ".join(f"(:s{place}, :u{place})" for place in range(count))
    return f"INSERT INTO budget_totals VALUES {rows} ON CONFLICT (scope) DO UPDATE SET units = excluded.units"  # noqa: S608 - places
