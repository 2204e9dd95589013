"""What one run or thread of an agent may spend: a budget of `zg_core.budget` for each currency."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from zg_core.budget import Budget, Spending
from zg_core.errors import BudgetExceeded
from zg_core.money import Amount
from zg_core.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.base import Service
    from zg_core.calls.budgets import Referee
    from zg_core.money import Fee
    from zg_core.pricing import Asked
    from zg_core.receipts.model import Receipt

__all__ = ["Purse"]

_NOBODY = "0x" + "0" * 40


class Purse:
    """Holds what calls can cost before they are sent, and counts what they did cost (`zg_core.calls.budgets.Counts`).

    Args:
        limits: The most that may be spent, by currency.
        unpriced: What to hold for a call whose price nobody signs.
        per: ``"run"`` or ``"thread"``, for messages.
        spent: What was spent before, by currency, as `spent` said.
    """

    referee: Referee | None = None

    def __init__(
        self,
        limits: Mapping[str, Amount],
        *,
        unpriced: Amount | None = None,
        per: str = "run",
        spent: Mapping[str, int] | None = None,
    ) -> None:
        self._limits = limits
        self._per = per
        self._run = uuid.uuid4().hex
        self.store = Store("memory:")
        self._of = {currency: self._made(self.store, limit, unpriced) for currency, limit in limits.items()}
        for currency, units in (spent or {}).items():
            if currency in self._of:
                self._of[currency].carry(units)

    @staticmethod
    def _made(store: Store, limit: Amount, unpriced: Amount | None) -> Spending:
        held = unpriced if unpriced is not None and unpriced.units and unpriced.currency == limit.currency else None
        budget = Budget(
            per_run=Amount(max(limit.units, 1), limit.currency),  # of nothing, calls that cost nothing may be made
            unpriced=held,
        )
        return Spending(budget, store, 0)

    @property
    def stores(self) -> tuple[Store]:
        """See `Spending.stores`."""
        return (self.store,)

    def spent(self) -> dict[str, int]:
        """What was spent, or may have been, by currency in smallest units."""
        return {currency: self._limits[currency].units - self._left(currency) for currency in self._of}

    def _left(self, currency: str) -> int:
        spending, limit = self._of[currency], self._limits[currency]
        left = spending.left(_NOBODY, _NOBODY)["per_run"].units
        return left - max(limit.units, 1) + limit.units

    def refused(self, error: BudgetExceeded) -> bool:
        """Whether it was this purse that refused."""
        return error.details.get("run") == self._run

    def reserve(
        self,
        receipt: Receipt,
        service: Service,
        request: bytes | Asked,
        most: Amount | None = None,
        *,
        earlier: int = 0,
    ) -> int:
        """See `Spending.reserve`; a currency that has no limit is refused (``currency_not_budgeted``)."""
        tariff = service.tariff
        currency = most.currency if most is not None else service.currency if tariff is None else tariff.currency
        if currency not in self._of:
            raise BudgetExceeded(
                f"the next model call would be paid in {currency}, for which there is no limit",
                code="currency_not_budgeted",
                hint=f'pass a limit for each currency: limit=[…, Amount("1", "{currency}")]',
                **self._details(None, None, currency),
            )
        try:
            return self._of[currency].reserve(receipt, service, request, most, earlier=earlier)
        except BudgetExceeded as error:
            asked = Amount(error.details["asked"].units, currency)
            left = Amount(max(self._left(currency), 0), currency)
            raise BudgetExceeded(
                f"the next model call may cost {asked}, and {left} of {self._limits[currency]} per {self._per} is left",
                hint="raise limit=…, or give a lower max_tokens",
                **self._details(asked, left, currency),
            ) from None

    def _details(self, asked: Amount | None, left: Amount | None, currency: str) -> dict[str, Any]:
        limit = self._limits.get(currency)
        return {
            "limit": f"per_{self._per}",
            "asked": asked,
            "left": left,
            "of": limit,
            "until": None,
            "run": self._run,
        }

    def settle(self, receipt: Receipt, fee: Fee) -> None:
        """See `Spending.settle`."""
        self._for(fee).settle(receipt, fee)

    def recount(self, receipt: Receipt, before: Fee, after: Fee) -> None:
        """See `Spending.recount`."""
        self._for(after).recount(receipt, before, after)

    def release(self, receipt: Receipt) -> None:
        """See `Spending.release`."""
        self._for(receipt.fee).release(receipt)

    def fits_call(self, units: int) -> bool:  # noqa: ARG002 - there is no limit for one call
        """See `Spending.fits_call`."""
        return True

    def _for(self, fee: Fee) -> Spending:
        """Who counts `fee`; what is held is found by its receipt, whoever is asked."""
        return self._of.get(fee.amount.currency) or next(iter(self._of.values()))
