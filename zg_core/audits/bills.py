"""Sums over bills: what was charged for one call, or for the few calls under one permit, beside their receipts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from zg_core.audits.result import Audit, AuditedCall, Finding, Linked, ProviderAudit
from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zg_core.receipts.audited import Audited

__all__ = ["Bill", "Entry", "audit_bills"]

State = Literal["charged", "none", "open", "not_located", "unknown"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Money that was taken.

    Attributes:
        transaction: Hash of the transaction, or the number in a book.
        paid: How much.
    """

    transaction: str
    paid: Amount


@dataclass(frozen=True, slots=True)
class Bill:
    """The calls that are charged together, and what was charged.

    Attributes:
        reference: What joins them: number of a request or of a permit, "" if there is none.
        calls: What an audit needs of the receipts, at least one.
        said: What each receipt says that it cost, in the same order.
        state: ``"charged"``; ``"none"`` (nothing was, and nothing will be); ``"open"`` (it may still be);
            ``"not_located"`` (it was, and how much is not known); ``"unknown"`` (nothing joins them).
        paid: What was charged; None where nothing is known.
        at: When; None where that is not known.
        transaction: By which transaction, "" where a book was charged.
        payee: Who was paid by the word of whoever charged, where that is to be compared.
    """

    reference: str
    calls: Sequence[Audited]
    said: Sequence[Amount]
    state: State
    paid: Amount | None = None
    at: datetime | None = None
    transaction: str = ""
    payee: str = ""

    @property
    def owing(self) -> list[Audited]:
        """Its calls, without those that were refused."""
        return [each for each in self.calls if not each.refused]


@dataclass(slots=True)
class _Notes:
    """Findings of one provider."""

    provider: str
    found: list[Finding] = field(default_factory=list)

    def add(
        self, code: str, words: str, ids: Iterable[str], *, outside: bool = True, excess: Amount | None = None
    ) -> None:
        """One more."""
        message = f"provider {self.provider}: {words}"
        self.found.append(Finding(code, self.provider, message, outside, tuple(ids), excess))


def audit_bills(bills: Iterable[Bill], *, backend: str, strangers: Sequence[Entry] = ()) -> Audit:
    """Compare bills with the receipts that they are for.

    For each bill must hold: sum of exact fees ≤ what was charged ≤ that and the bounds of the others.

    Args:
        bills: Every receipt stands in one of them.
        backend: Whose they are.
        strangers: What else was charged in the time of the receipts, and is for none of them: a notice.

    Example:
        >>> audit_bills([], backend="router").ok
        True
    """
    groups: dict[tuple[str, str], tuple[list[Bill], _Notes]] = {}
    calls: list[AuditedCall] = []
    for bill in bills:
        provider, currency = bill.calls[0].provider, bill.calls[0].currency
        own, notes = groups.setdefault((provider.lower(), currency), ([], _Notes(provider)))
        own.append(bill)
        calls += _compared(bill, notes)
    rows: list[ProviderAudit] = []
    findings: list[Finding] = []
    for _, (own, notes) in sorted(groups.items(), key=lambda item: item[0]):
        lacking = {
            "not_located": ("not_located", "it is not known by how much these calls were charged"),
            "unknown": ("not_joined", "nothing joins these receipts with what was charged"),
        }
        for state, (code, words) in lacking.items():
            if ids := [each.id for bill in own if bill.state == state for each in bill.owing]:
                notes.add(code, words, ids, outside=False)
        if ids := [each.id for bill in own for each in bill.owing if each.implausible]:
            notes.add("usage_inflated", f"more tokens were reported than the bytes of {len(ids)} calls can hold", ids)
        rows.append(_row(own))
        findings += notes.found
    if strangers:
        total = sum(each.paid.units for each in strangers)
        words = f"{len(strangers)} charges of {Amount(total, strangers[0].paid.currency)} are for none of the receipts"
        findings.append(
            Finding("charged_without_receipt", "", f"{words}: calls of other programs or stores", outside=False)
        )
    return Audit(tuple(rows), tuple(findings), tuple(calls), backend)


def _compared(bill: Bill, notes: _Notes) -> list[AuditedCall]:
    owing = bill.owing
    ids = [each.id for each in owing]
    least, bounds = _allowed(owing)
    paid = bill.paid
    result: Literal["agrees", "differs", "missing", "open", "unknown"] = "unknown"
    currency = bill.calls[0].currency
    if bill.state == "none":
        result = "missing" if owing and least else "agrees"
        if result == "missing":
            notes.add(
                "not_charged", f"the receipts say {Amount(least, currency)}, nothing was charged", ids, outside=False
            )
    elif bill.state == "open":
        result = "open"
    elif paid is not None and paid.currency != currency:
        result = "differs"
        notes.add("other_currency", f"{paid} was charged, the receipts are in {currency}", ids)
    elif paid is not None:
        most = None if bounds is None else least + bounds
        result = "agrees" if all(each.exact for each in owing) else "unknown"
        if most is not None and paid.units > most:
            result, excess = "differs", Amount(paid.units - most, currency)
            words = f"{paid} was charged, the receipts allow {Amount(most, currency)}, {excess} too much"
            notes.add("settled_too_much", words, ids or [each.id for each in bill.calls], excess=excess)
        elif paid.units < least:
            result, excess = "differs", Amount(least - paid.units, currency)
            notes.add(
                "settled_too_little",
                f"{paid} was charged, the receipts say {Amount(least, currency)}",
                ids,
                excess=excess,
            )
        if bill.payee and owing and bill.payee.lower() != owing[0].provider.lower():
            result = "differs"
            notes.add("other_provider", f"{bill.payee} was paid for what the receipts say that it answered", ids)
    alone = len(bill.calls) == 1
    return [
        AuditedCall(
            each.id,
            bill.reference,
            result,
            said,
            paid if alone else None,
            bill.payee or (each.provider if paid is not None else ""),
            bill.transaction,
        )
        for each, said in zip(bill.calls, bill.said, strict=True)
    ]


def _allowed(calls: Sequence[Audited]) -> tuple[int, int | None]:
    """What receipts allow: the sum of exact fees, and that of the bounds of the others; None if one has none."""
    exact = sum(each.units for each in calls if each.exact)
    uppers = [each.upper for each in calls if not each.exact]
    known = [upper for upper in uppers if upper is not None]
    return exact, sum(known) if len(known) == len(uppers) else None


def _row(own: list[Bill]) -> ProviderAudit:
    calls = [each for bill in own for each in bill.owing]
    currency = own[0].calls[0].currency
    exact, bounds = _allowed(calls)
    paid = [bill for bill in own if bill.paid is not None and bill.paid.currency == currency]
    linked = []
    for bill in paid:
        started = max(each.started for each in bill.calls)
        at = bill.at or datetime.fromtimestamp(started, UTC)
        entry = Entry(bill.transaction or bill.reference, bill.paid or Amount(0, currency))
        linked.append(Linked(entry, at, bill.owing, (0, len(bill.owing))))
    return ProviderAudit(
        provider=own[0].calls[0].provider,
        calls=len(calls),
        exact=Amount(exact, currency),
        bounds=None if bounds is None else Amount(bounds, currency),
        carried=(Amount(0, currency), Amount(0, currency)),
        settled=Amount(sum(bill.paid.units for bill in paid if bill.paid is not None), currency),
        unsettled=None,
        settlements=tuple(linked),
        refused=sum(each.refused for bill in own for each in bill.calls),
    )
