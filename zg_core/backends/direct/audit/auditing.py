"""Compares what receipts say a provider may charge with what it charged on chain.

Fees are settled in batches long after the calls, and the batch's hash is over the provider's own records (0g-direct
§2.5): a settlement can be compared with sums of receipts only, and is never claimed for one call unless it is alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from zg_core import display
from zg_core.money import Amount
from zg_core.pricing import PROMPT_ALLOWANCE
from zg_core.verify.usage import USAGE_IMPLAUSIBLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from zg_core.backends.direct.contracts.settlements import Settlement
    from zg_core.receipts.model import Receipt

__all__ = ["Audit", "Finding", "Linked", "ProviderAudit", "audit"]


@dataclass(frozen=True, slots=True)
class Linked:
    """A settlement and the receipts whose fees it can have collected.

    Attributes:
        settlement: What was charged.
        at: Time of its block.
        receipts: Ids of the calls it can cover. Only if it is one alone, the settlement is that call's.
    """

    settlement: Settlement
    at: datetime
    receipts: tuple[str, ...]

    @property
    def alone(self) -> str | None:
        """The one call it is for; None if there is none, or more than one that it may be for."""
        return self.receipts[0] if len(self.receipts) == 1 else None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit.

    Attributes:
        code: ``"settled_too_much"``, ``"settled_too_little"``, ``"price_raised"`` or ``"usage_inflated"``.
        provider: Whose.
        message: One sentence.
        outside: Whether sums lie outside of what the receipts allow, or a receipt is implausible; if not, it is a
            notice.
        receipts: Ids of the calls it is about.
        excess: By how much, where that can be said.
    """

    code: str
    provider: str
    message: str
    outside: bool = True
    receipts: tuple[str, ...] = ()
    excess: Amount | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the amount is neuron in text."""
        return {
            "code": self.code,
            "provider": self.provider,
            "message": self.message,
            "outside": self.outside,
            "receipts": list(self.receipts),
            "excess": None if self.excess is None else str(self.excess.units),
        }


@dataclass(frozen=True, slots=True)
class ProviderAudit:
    """One provider's sums over the period.

    Attributes:
        provider: Its address.
        calls: How many receipts there are, refused requests left out.
        exact: Sum of the fees that are exact.
        bounds: Sum of the upper bounds of the others; None if one of them has none.
        carried: What was still to be settled from before the period: least and most (None: no bound).
        settled: What it collected on chain.
        unsettled: What it says it has still to collect; None if it was not asked.
        settlements: Its settlements, each with the calls it can cover.
        refused: How many requests it refused: by its own word it served and billed nothing for them.
    """

    provider: str
    calls: int
    exact: Amount
    bounds: Amount | None
    carried: tuple[Amount, Amount | None]
    settled: Amount
    unsettled: Amount | None
    settlements: tuple[Linked, ...]
    refused: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data; amounts are neuron in text."""
        most = self.carried[1]
        return {
            "provider": self.provider,
            "calls": self.calls,
            "refused": self.refused,
            "exact": str(self.exact.units),
            "bounds": None if self.bounds is None else str(self.bounds.units),
            "carried_least": str(self.carried[0].units),
            "carried_most": None if most is None else str(most.units),
            "settled": str(self.settled.units),
            "unsettled": None if self.unsettled is None else str(self.unsettled.units),
            "settlements": [
                {
                    "transaction": each.settlement.transaction,
                    "at": each.at.isoformat(),
                    "paid": str(each.settlement.paid.units),
                    "receipts": list(each.receipts),
                    "call": each.alone,
                }
                for each in self.settlements
            ],
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """What `audit` found."""

    providers: tuple[ProviderAudit, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing lies outside of what the receipts allow."""
        return not any(each.outside for each in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "ok": self.ok,
            "providers": [each.to_dict() for each in self.providers],
            "findings": [each.to_dict() for each in self.findings],
        }

    def to_pandas(self) -> Any:
        """The sums, one provider a row.

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        return display.frame(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for each in self.providers:
            codes = " ".join(sorted({one.code for one in self.findings if one.provider == each.provider}))
            rows.append({**each.to_dict(), "settlements": len(each.settlements), "findings": codes})
        return rows

    def __repr__(self) -> str:
        words = "; ".join(each.message for each in self.findings) or "nothing outside"
        return f"Audit({len(self.providers)} providers, {words})"

    def _repr_html_(self) -> str:
        found = "".join(display.facts(each.code, each.to_dict()) for each in self.findings)
        return display.table("Audit (neuron)", self._rows()) + found


def audit(
    receipts: Iterable[Receipt],
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
        receipts: All receipts of the payer, those from before the period, too.
        settlements: All settlements of the payer with the times of their blocks.
        unsettled: By provider, what it says it has still to collect now.
        prices: By provider, neuron per input and output token on chain now.
        since: Begin of the period; default the first receipt of each provider.
        until: End of the period; default now.

    Example:
        >>> audit([], []).ok
        True
    """
    by_provider: dict[str, list[Receipt]] = {}
    for receipt in sorted(receipts, key=lambda each: each.started_at):
        by_provider.setdefault(receipt.provider.lower(), []).append(receipt)
    rows: list[ProviderAudit] = []
    findings: list[Finding] = []
    owed = {name.lower(): amount for name, amount in (unsettled or {}).items()}
    now = {name.lower(): pair for name, pair in (prices or {}).items()}
    for name, own in by_provider.items():
        first = own[0].started_at
        paid = sorted(
            ((at, each) for at, each in settlements if each.provider.lower() == name and at >= _floor(first)),
            key=lambda pair: pair[0],
        )
        row, inside = _provider(own, paid, owed.get(name) if until is None else None, since, until)
        outside = _outside(row)
        rows.append(row)
        findings += [*outside, *_raised(row, inside, now.get(name), beyond=bool(outside)), *_inflated(row, inside)]
    return Audit(tuple(rows), tuple(findings))


def _provider(
    own: list[Receipt],
    paid: list[tuple[datetime, Settlement]],
    unsettled: Amount | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[ProviderAudit, list[Receipt]]:
    before = [each for each in own if since is not None and each.started_at < since]
    inside = [each for each in own if each not in before and (until is None or each.started_at < until)]
    refused = sum(each.outcome == "refused" for each in inside)
    before, inside = ([each for each in part if each.outcome != "refused"] for part in (before, inside))
    paid_before = sum(each.paid.units for at, each in paid if since is not None and at < since)
    charged = [
        (at, each) for at, each in paid if (since is None or at >= _floor(since)) and (until is None or at < until)
    ]
    exact, bounds = _sums(inside)
    old_exact, old_bounds = _sums(before)
    least = max(0, old_exact - paid_before)
    most = None if old_bounds is None else max(0, old_exact + old_bounds - paid_before)
    settled = sum(each.paid.units for _, each in charged)
    linked = _link([*before, *inside], [pair for pair in paid if pair in charged])
    row = ProviderAudit(
        provider=own[0].provider,
        calls=len(inside),
        exact=Amount(exact),
        bounds=None if bounds is None else Amount(bounds),
        carried=(Amount(least), None if most is None else Amount(most)),
        settled=Amount(settled),
        unsettled=unsettled,
        settlements=linked,
        refused=refused,
    )
    return row, inside


def _sums(receipts: list[Receipt]) -> tuple[int, int | None]:
    exact = sum(each.fee.amount.units for each in receipts if each.fee.exact)
    uppers = [each.fee.upper for each in receipts if not each.fee.exact]
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
    row: ProviderAudit, inside: list[Receipt], price_now: tuple[int, int] | None, *, beyond: bool
) -> list[Finding]:
    """Prices that went up between two calls, or since the last. Open to see, a notice; with sums outside, a cause."""
    priced = [(each.id, (each.input_price, each.output_price)) for each in inside]
    if priced and price_now is not None:
        priced.append(("", price_now))
    found = []
    for (_, old), (call, new) in pairwise(priced):
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


def _inflated(row: ProviderAudit, inside: list[Receipt]) -> list[Finding]:
    calls = tuple(each.id for each in inside if _implausible(each))
    if not calls:
        return []
    message = f"provider {row.provider} reported more tokens than the bytes of {len(calls)} calls can hold"
    return [Finding("usage_inflated", row.provider, message, receipts=calls)]


def _implausible(receipt: Receipt) -> bool:
    if USAGE_IMPLAUSIBLE in receipt.flags:
        return True
    usage = receipt.usage
    if usage is None or not receipt.complete:
        return False
    return (
        usage.prompt_tokens > receipt.request_bytes + PROMPT_ALLOWANCE
        or usage.completion_tokens > receipt.response_bytes
    )


def _link(receipts: list[Receipt], paid: list[tuple[datetime, Settlement]]) -> tuple[Linked, ...]:
    """Each settlement with the calls it can cover: begun before it, and not all paid by those before."""
    linked = []
    done: set[str] = set()
    total = 0
    for at, settlement in paid:
        earlier = [each for each in receipts if _floor(each.started_at) <= at]
        linked.append(Linked(settlement, at, tuple(each.id for each in earlier if each.id not in done)))
        total += settlement.paid.units
        if all(each.fee.exact for each in earlier) and total == sum(each.fee.amount.units for each in earlier):
            done = {each.id for each in earlier}  # the sums are equal, so nothing of these is left
    return tuple(linked)


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)  # blocks know whole seconds
