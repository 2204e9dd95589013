"""Comparisons of several backends as one: names that say who is whose, and all fees in one currency at stated rates."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING

from zg_core.compare.result import Comparison
from zg_core.errors import ConfigError
from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.compare.rows import Row

__all__ = ["together"]

_DIGITS = 80  # enough for any amount of 18 decimals times any rate


def together(
    comparisons: Mapping[str, Comparison], *, currency: str = "USD", rates: Mapping[str, str] | None = None
) -> Comparison:
    """Put comparisons side by side: one table, one figure, one currency.

    What was graded stays graded. Receipts keep the currency that was paid.

    Args:
        comparisons: Each by the name that goes before its targets, such as ``"Router"``; "" puts nothing there.
        currency: What all fees are shown in: ``"USD"``, ``"0G"`` or ``"OPG"``.
        rates: By currency, how much one of it is in `currency`, as text: ``{"0G": "0.8"}``. They are yours: no price is
            fetched. They stand below tables and pictures.

    Raises:
        ConfigError: a currency without a rate, or a rate that is no positive number (code ``bad_rate``).

    Example:
        >>> together({"Direct": Comparison([])}, rates={"0G": "0.8"}).note
        'Amounts in USD at these rates: 1 0G = 0.8 USD.'
    """
    known = {name: _rate(name, value) for name, value in (rates or {}).items()} | {currency: Decimal(1)}
    rows = []
    for name, comparison in comparisons.items():
        for row in comparison.rows:
            prefixed = replace(row, target=f"{name}: {row.target}" if name else row.target)
            rows.append(_converted(prefixed, currency, known))
    used = [f"1 {name} = {value} {currency}" for name, value in (rates or {}).items() if name != currency]
    note = f"Amounts in {currency} at these rates: {', '.join(used)}." if used else ""
    return Comparison(rows, note=note)


def _rate(name: str, value: object) -> Decimal:
    try:
        rate = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or rate <= 0:
        message = f"the rate of {name} is a positive number as text, not {value!r}"
        raise ConfigError(message, code="bad_rate", hint='rates={"0G": "0.8", "OPG": "0.05"}')
    return rate


def _converted(row: Row, currency: str, rates: Mapping[str, Decimal]) -> Row:
    """`row` with its fee in `currency`, rounded up to its smallest unit: never shown cheaper than it was."""
    if row.fee is None:
        return row
    if row.fee.currency not in rates:
        message = f"{row.target} was paid in {row.fee.currency}, and what one is in {currency} is not said"
        raise ConfigError(message, code="bad_rate", hint=f'rates={{"{row.fee.currency}": "…"}}')
    with localcontext() as context:
        context.prec = _DIGITS
        units = (row.fee.units * rates[row.fee.currency]).to_integral_value(ROUND_CEILING)
    return replace(row, fee=Amount(int(units), currency))
