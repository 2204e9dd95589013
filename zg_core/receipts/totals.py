"""What calls cost together: sums by provider, model and currency, with bounds where a fee is not exactly known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zg_core.receipts.model import Receipt

__all__ = ["Total", "spent_in", "totals_of"]


@dataclass(frozen=True, slots=True)
class Total:
    """What the calls to one provider's model cost.

    Attributes:
        provider: Provider address.
        model: Model asked for.
        currency: ``"0G"``, …; different currencies are never added up.
        calls: Number of calls that were served, or may have been.
        inexact: How many of them have a fee that is not known exactly.
        amount: The best estimate; where `inexact` is 0 it is what was paid.
        lower: At least this was paid.
        upper: At most this; None if a call has no known bound.
        refused: Number of requests that were refused, and are no part of the numbers above.
        disputable: What they cost at most, if they were served and billed all the same; None where that is not known.
    """

    provider: str
    model: str
    currency: str
    calls: int
    inexact: int
    amount: Amount
    lower: Amount
    upper: Amount | None
    refused: int = 0
    disputable: Amount | None = None

    @property
    def exact(self) -> bool:
        """Whether `amount` is what was paid."""
        return self.inexact == 0

    def __str__(self) -> str:
        said = f"{self.calls} call{'' if self.calls == 1 else 's'}, {self.amount}"
        if not self.exact:
            upper = "unknown" if self.upper is None else str(self.upper)
            said = f"{said.partition(',')[0]}, {self.lower} to {upper} ({self.inexact} not exact)"
        if self.refused:
            most = "unknown" if self.disputable is None else str(self.disputable)
            said += f"; {self.refused} refused (disputable: at most {most})"
        return said


def totals_of(receipts: Iterable[Receipt]) -> tuple[Total, ...]:
    """What `receipts` say was paid, by provider, model and currency, in the order in which these first occur.

    Example:
        >>> totals_of([])
        ()
    """
    groups: dict[tuple[str, str, str], list[Receipt]] = {}
    for receipt in receipts:
        groups.setdefault((receipt.provider, receipt.model, receipt.fee.amount.currency), []).append(receipt)
    return tuple(_total(*names, group) for names, group in groups.items())


def spent_in(receipts: Iterable[Receipt], currency: str = "0G") -> Total:
    """What `receipts` say was paid in one currency, over all providers and models.

    Raises:
        ConfigError: unknown currency.

    Example:
        >>> str(spent_in([]))
        '0 calls, 0 0G'
    """
    return _total("", "", currency, [receipt for receipt in receipts if receipt.fee.amount.currency == currency])


def _total(provider: str, model: str, currency: str, receipts: Sequence[Receipt]) -> Total:
    fees = [receipt.fee for receipt in receipts if receipt.outcome != "refused"]
    disputed = [receipt.fee.upper for receipt in receipts if receipt.outcome == "refused"]
    inexact = [fee for fee in fees if not fee.exact]
    exact = sum(fee.amount.units for fee in fees if fee.exact)
    uppers = [fee.upper for fee in inexact]
    upper = None if None in uppers else exact + sum(bound for bound in uppers if bound is not None)
    return Total(
        provider=provider,
        model=model,
        currency=currency,
        calls=len(fees),
        inexact=len(inexact),
        amount=Amount(sum(fee.amount.units for fee in fees), currency),
        lower=Amount(exact + sum(fee.lower for fee in inexact), currency),
        upper=None if upper is None else Amount(upper, currency),
        refused=len(disputed),
        disputable=None if None in disputed else Amount(sum(most or 0 for most in disputed), currency),
    )
