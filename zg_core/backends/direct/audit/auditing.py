"""Compares what receipts say a provider may charge with what it charged on chain.

Fees are settled in batches long after the calls, and the batch's hash is over the provider's own records (0g-direct
§2.5): a settlement can be compared with sums of receipts only, and is never claimed for one call unless it is alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import chain
from typing import TYPE_CHECKING

from zg_core.audits.result import Audit, Finding, Linked, ProviderAudit
from zg_core.money import Amount
from zg_core.receipts.audited import Audited

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from zg_core.contracts.settlements import Settlement
    from zg_core.receipts.model import Receipt

__all__ = ["Audit", "Finding", "Linked", "ProviderAudit", "audit"]


def audit(
    receipts: Iterable[Receipt | Audited],
    settlements: Sequence[tuple[datetime, Settlement]],
    *,
    unsettled: Mapping[str, Amount] | None = None,
    prices: Mapping[str, tuple[int, int]] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Audit:
    """Compare receipts of one payer with the settlements of the same payer.

    For every provider and the period must hold: sum of exact fees ≤ settled + unsettled ≤ sum of exact fees + sum of
    bounds. Requests that were refused allow nothing. Calls and settlements from before the period count as what is
    carried into it. Without `unsettled` only the upper end can be told.

    Args:
        receipts: All receipts of the payer, those from before the period, too; or what `ReceiptStore.audited` gives of
            them, which takes a thirtieth of the time.
        settlements: All settlements of the payer with the times of their blocks.
        unsettled: By provider, what it says it has still to collect now.
        prices: By provider, neuron per input and output token on chain now.
        since: Begin of the period; default the first receipt of each provider.
        until: End of the period; default now.

    Example:
        >>> audit([], []).ok
        True
    """
    by_provider: dict[str, list[Audited]] = {}
    for receipt in receipts:
        call = receipt if isinstance(receipt, Audited) else Audited.of(receipt)
        own = by_provider.get(call.provider)
        if own is None:
            own = by_provider[call.provider] = by_provider.setdefault(call.provider.lower(), [])
        own.append(call)
    groups = {id(own): own for own in by_provider.values()}
    for own in groups.values():
        own.sort(key=_start)
    rows: list[ProviderAudit] = []
    findings: list[Finding] = []
    owed = {name.lower(): amount for name, amount in (unsettled or {}).items()}
    now = {name.lower(): pair for name, pair in (prices or {}).items()}
    period = _seconds(since, -math.inf), _seconds(until, math.inf)
    for own in sorted(groups.values(), key=lambda calls: calls[0].started):
        name, first = own[0].provider.lower(), math.floor(own[0].started)
        paid = sorted(
            ((at, each) for at, each in settlements if each.provider.lower() == name and at.timestamp() >= first),
            key=lambda pair: pair[0],
        )
        row, inside = _provider(own, paid, owed.get(name) if until is None else None, period)
        outside = _outside(row)
        rows.append(row)
        findings += [*outside, *_raised(row, inside, now.get(name), beyond=bool(outside)), *_inflated(row, inside)]
    return Audit(tuple(rows), tuple(findings))


def _start(call: Audited) -> float:
    return call.started


def _seconds(moment: datetime | None, default: float) -> float:
    return default if moment is None else moment.timestamp()


def _provider(
    own: list[Audited],
    paid: list[tuple[datetime, Settlement]],
    unsettled: Amount | None,
    period: tuple[float, float],
) -> tuple[ProviderAudit, list[Audited]]:
    since, until = period
    begin = bisect_left(own, since, key=_start)
    end = max(begin, bisect_left(own, until, key=_start))
    refused = sum(each.refused for each in own[begin:end])
    before, inside = ([each for each in part if not each.refused] for part in (own[:begin], own[begin:end]))
    floor = math.floor(since) if math.isfinite(since) else since  # blocks know whole seconds
    paid_before = sum(each.paid.units for at, each in paid if at.timestamp() < since)
    charged = [(at, each) for at, each in paid if floor <= at.timestamp() < until]
    exact, bounds = _sums(inside)
    old_exact, old_bounds = _sums(before)
    least = max(0, old_exact - paid_before)
    most = None if old_bounds is None else max(0, old_exact + old_bounds - paid_before)
    settled = sum(each.paid.units for _, each in charged)
    row = ProviderAudit(
        provider=own[0].provider,
        calls=len(inside),
        exact=Amount(exact),
        bounds=None if bounds is None else Amount(bounds),
        carried=(Amount(least), None if most is None else Amount(most)),
        settled=Amount(settled),
        unsettled=unsettled,
        settlements=_link([*before, *inside], charged),
        refused=refused,
    )
    return row, inside


def _sums(calls: list[Audited]) -> tuple[int, int | None]:
    exact = sum(each.units for each in calls if each.exact)
    uppers = [each.upper for each in calls if not each.exact]
    known = [upper for upper in uppers if upper is not None]
    return exact, sum(known) if len(known) == len(uppers) else None


def _outside(row: ProviderAudit) -> list[Finding]:
    provider = row.provider
    charged = row.settled.units + (0 if row.unsettled is None else row.unsettled.units)
    if row.bounds is not None and row.carried[1] is not None:
        allowed = row.carried[1].units + row.exact.units + row.bounds.units
        if charged > allowed:
            excess = Amount(charged - allowed)
            what = f"{Amount(charged)} is settled or claimed, the receipts allow {Amount(allowed)}"
            message = f"provider {provider}: {what}, {excess} too much"
            if row.refused:
                message += f"; it refused {row.refused} requests, which it may have served and billed all the same"
            calls = {each for linked in row.settlements for each in linked.receipts}
            return [Finding("settled_too_much", provider, message, receipts=tuple(sorted(calls)), excess=excess)]
    owed = row.carried[0].units + row.exact.units
    if row.unsettled is not None and charged < owed:
        missing = Amount(owed - charged)
        what = f"{Amount(charged)} is settled or claimed, the receipts say {Amount(owed)}"
        return [Finding("settled_too_little", provider, f"provider {provider}: {what}", excess=missing)]
    return []


def _raised(
    row: ProviderAudit, inside: list[Audited], price_now: tuple[int, int] | None, *, beyond: bool
) -> list[Finding]:
    """Prices that went up between two calls, or since the last. Open to see, a notice; with sums outside, a cause."""
    changes = [("", now) for now in (price_now,) if inside and now is not None]
    found = []
    last = inside[0].prices if inside else (0, 0)
    moves = ((each.id, each.prices) for each in inside if each.prices != last)
    for call, new in chain(moves, changes):
        old, last = last, new
        if new[0] > old[0] or new[1] > old[1]:
            when = f"before call {call[:8]}" if call else "after the last call was priced"
            message = (
                f"provider {row.provider} raised its price {when}: input {old[0]} to {new[0]}, output {old[1]} to "
                f"{new[1]} neuron per token"
            )
            found.append(
                Finding("price_raised", row.provider, message, outside=beyond, receipts=(call,) if call else ())
            )
    return found


def _inflated(row: ProviderAudit, inside: list[Audited]) -> list[Finding]:
    calls = tuple(each.id for each in inside if each.implausible)
    if not calls:
        return []
    message = f"provider {row.provider} reported more tokens than the bytes of {len(calls)} calls can hold"
    return [Finding("usage_inflated", row.provider, message, receipts=calls)]


def _link(calls: list[Audited], paid: list[tuple[datetime, Settlement]]) -> tuple[Linked, ...]:
    """Each settlement with the calls it can cover: begun before it, and not all paid by those before."""
    linked = []
    done = total = reached = sum_of_exact = 0
    all_exact = True
    for at, settlement in paid:
        end = bisect_right(calls, at.timestamp(), key=lambda each: math.floor(each.started))
        linked.append(Linked(settlement, at, calls, (min(done, end), end)))
        total += settlement.paid.units
        for each in calls[reached:end]:
            sum_of_exact += each.units
            all_exact = all_exact and each.exact
        reached = max(reached, end)
        if all_exact and total == sum_of_exact:
            done = end  # the sums are equal, so nothing of these is left
    return tuple(linked)
