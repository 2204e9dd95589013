"""What an audit finds, whoever was paid and however: sums by provider, what does not fit, and call by call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from zg_core import display

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from zg_core.money import Amount
    from zg_core.receipts.audited import Audited

__all__ = ["Audit", "AuditedCall", "Charge", "Finding", "Linked", "ProviderAudit"]

_LISTED = 1000  # calls of a settlement that plain data names


class Charge(Protocol):
    """Money that was taken: a settlement on chain, an entry of a book."""

    @property
    def transaction(self) -> str:
        """Hash of its transaction, or its number in a book."""
        ...

    @property
    def paid(self) -> Amount:
        """How much."""
        ...


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """One receipt beside what was charged for it.

    Attributes:
        receipt_id: Of the receipt.
        request_id: What joins the two: number of the request, or of the permit; "" if the receipt knows none.
        result: ``"agrees"``; ``"differs"``; ``"missing"`` (nothing was charged, as far as was read); ``"open"`` (it can
            still be charged); ``"unknown"`` (nothing joins the two, or the receipt says no exact cost).
        said: What the receipt says that it cost.
        charged: What was charged; None where nothing was, or for several calls together.
        provider: Who was paid, by whoever charged.
        transaction: By which transaction, "" where a book was charged.
    """

    receipt_id: str
    request_id: str
    result: Literal["agrees", "differs", "missing", "open", "unknown"]
    said: Amount
    charged: Amount | None = None
    provider: str = ""
    transaction: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "receipt_id": self.receipt_id,
            "request_id": self.request_id,
            "result": self.result,
            "said": _plain(self.said),
            "charged": None if self.charged is None else _plain(self.charged),
            "provider": self.provider,
            "transaction": self.transaction or None,
        }


def _plain(amount: Amount) -> dict[str, str]:
    return {"units": str(amount.units), "currency": amount.currency}


@dataclass(frozen=True, slots=True)
class Linked:
    """A settlement and the receipts whose fees it can have collected.

    Attributes:
        settlement: What was charged.
        at: Time of its block.
    """

    settlement: Charge
    at: datetime
    _calls: Sequence[Audited] = field(repr=False)
    _part: tuple[int, int] = (0, 0)

    @property
    def calls(self) -> int:
        """How many calls it can cover."""
        return self._part[1] - self._part[0]

    @property
    def receipts(self) -> tuple[str, ...]:
        """Ids of the calls it can cover."""
        return tuple(each.id for each in self._calls[slice(*self._part)])

    @property
    def alone(self) -> str | None:
        """The one call it is for; None if there is none, or more than one that it may be for."""
        return self._calls[self._part[0]].id if self.calls == 1 else None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit.

    Attributes:
        code: ``"settled_too_much"``, ``"settled_too_little"``, ``"price_raised"``, ``"usage_inflated"``; where calls
            are charged one by one, also ``"other_provider"``, ``"other_currency"``, ``"not_charged"``,
            ``"not_located"``, ``"not_joined"``, ``"charged_without_receipt"``.
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
        """Plain data; the amount is a text, in the smallest unit of its currency."""
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
        """Plain data; amounts are texts, in the smallest unit of `currency`."""
        most = self.carried[1]
        return {
            "provider": self.provider,
            "calls": self.calls,
            "refused": self.refused,
            "currency": self.exact.currency,
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
                    "calls": each.calls,
                    "receipts": list(each.receipts[:_LISTED]),
                    "call": each.alone,
                }
                for each in self.settlements
            ],
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found; the same for every backend.

    Iterating it gives `calls`.

    Attributes:
        providers: The sums.
        findings: What does not fit.
        calls: Call by call, where a backend charges each by itself, or under a permit; none where it settles sums.
        backend: Whose.

    Example:
        >>> Audit((), ()).ok
        True
    """

    providers: tuple[ProviderAudit, ...]
    findings: tuple[Finding, ...]
    calls: tuple[AuditedCall, ...] = ()
    backend: str = "direct"

    def __iter__(self) -> Iterator[AuditedCall]:
        return iter(self.calls)

    @property
    def ok(self) -> bool:
        """Whether nothing lies outside of what the receipts allow."""
        return not any(each.outside for each in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "ok": self.ok,
            "backend": self.backend,
            "providers": [each.to_dict() for each in self.providers],
            "findings": [each.to_dict() for each in self.findings],
            "calls": [each.to_dict() for each in self.calls],
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
        return display.table("Audit (smallest units)", self._rows()) + found
