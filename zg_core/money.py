"""Amounts of money: integers with a currency, never a float; and what a call cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from zg_core.errors import ConfigError

__all__ = ["Amount", "Fee", "either", "neuron", "og"]


METERED = "metered_by_gateway"
"""Of a fee: who was paid says what it was, and does not sign it; the chain tells later."""

# Decimal places of a currency's smallest unit (0g-direct §1.1: 1 0G = 1e18 neuron).
_DECIMALS = {"0G": 18, "OPG": 18, "USD": 18}
_UNITS = {"0G": "neuron", "OPG": "wei", "USD": "1e-18 USD"}


@dataclass(frozen=True, slots=True, init=False, order=False)
class Amount:
    """An amount of money: an integer in the currency's smallest unit. Never a float.

    Args:
        value: ``"1.5"`` (text in whole units), or an ``int`` in the smallest unit.
        currency: ``"0G"``, ``"OPG"`` or ``"USD"``.

    Raises:
        ConfigError: a float, a malformed text, or more decimals than the currency has.

    Example:
        >>> Amount("1.5", "0G")
        Amount('1.5', '0G')
        >>> og("0.000000000000000002") + neuron(1)
        Amount('0.000000000000000003', '0G')
    """

    units: int
    currency: str

    def __init__(self, value: str | int, currency: str = "0G") -> None:
        if currency not in _DECIMALS:
            raise ConfigError(f"unknown currency {currency!r}", code="bad_amount", hint="use 0G, OPG or USD")
        object.__setattr__(self, "units", _units(value, _DECIMALS[currency]))
        object.__setattr__(self, "currency", currency)

    @property
    def unit(self) -> str:
        """Name of the smallest unit, for example ``"neuron"``."""
        return _UNITS[self.currency]

    def __str__(self) -> str:
        return f"{self._text()} {self.currency}"

    def __repr__(self) -> str:
        return f"Amount({self._text()!r}, {self.currency!r})"

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.units + self._same(other), self.currency)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.units - self._same(other), self.currency)

    def __lt__(self, other: Amount) -> bool:
        return self.units < self._same(other)

    def __le__(self, other: Amount) -> bool:
        return self.units <= self._same(other)

    def __gt__(self, other: Amount) -> bool:
        return self.units > self._same(other)

    def __ge__(self, other: Amount) -> bool:
        return self.units >= self._same(other)

    def _same(self, other: object) -> int:
        if not isinstance(other, Amount):
            raise TypeError(f"an Amount mixes with another only, not with {type(other).__name__}")
        if other.currency != self.currency:
            raise ConfigError(f"cannot mix {self.currency} and {other.currency}", code="mixed_currencies")
        return other.units

    def _text(self) -> str:
        sign = "-" if self.units < 0 else ""
        digits = str(abs(self.units)).rjust(_DECIMALS[self.currency] + 1, "0")
        whole, fraction = digits[: -_DECIMALS[self.currency]], digits[-_DECIMALS[self.currency] :].rstrip("0")
        return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def og(value: str) -> Amount:
    """An amount of 0G written as text: ``og("1.5")``."""
    if not isinstance(value, str):
        raise ConfigError(
            f"og() takes text, not {type(value).__name__}", code="bad_amount", hint='write og("1.5") or neuron(10**18)'
        )
    return Amount(value, "0G")


def neuron(value: int) -> Amount:
    """An amount of 0G in neuron, its smallest unit: ``neuron(10**18)`` is 1 0G."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(
            f"neuron() takes an int, not {type(value).__name__}", code="bad_amount", hint="neuron(10**18)"
        )
    return Amount(value, "0G")


def _units(value: object, decimals: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        hint = 'write it as text, Amount("1.5", "0G"), or as an int in the smallest unit'
        raise ConfigError(f"an amount cannot be a {type(value).__name__}", code="bad_amount", hint=hint)
    try:
        number = Decimal(value.strip())
        if not number.is_finite() or abs(number.adjusted()) > 60:
            raise InvalidOperation
        sign, digits, exponent = number.as_tuple()
        shift = int(exponent) + decimals
        magnitude = int("".join(map(str, digits)))
        if shift < 0:
            magnitude, rest = divmod(magnitude, 10**-shift)
            if rest:
                raise ConfigError(f"{value!r} has more than {decimals} decimals", code="bad_amount")
        else:
            magnitude *= int(10**shift)
    except (InvalidOperation, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"not an amount: {value!r}", code="bad_amount", hint='for example "1.5"') from None
    return -magnitude if sign else magnitude


@dataclass(frozen=True, slots=True)
class Fee:
    """What one call cost, in the currency's smallest unit.

    When `exact` is False, `reason` says why and the truth lies between `lower` and `upper` (None: no bound known).
    """

    amount: Amount
    exact: bool
    reason: str = ""
    lower: int = field(default=0)
    upper: int | None = None

    @property
    def most(self) -> int | None:
        """The most that it can be; None where no bound is known."""
        return self.amount.units if self.exact else self.upper

    @property
    def bounds(self) -> str:
        """What is known of a fee that is not exact, in words.

        Example:
            >>> Fee(neuron(0), exact=False, reason="outcome_unknown", upper=10**15).bounds
            'unknown (outcome_unknown), at most 0.001 0G'
            >>> Fee(Amount("0.2", "OPG"), exact=False, reason=METERED, upper=0).bounds
            '0.2 OPG (metered_by_gateway), within the permit of an earlier call'
        """
        upper = "no bound" if self.upper is None else f"at most {Amount(self.upper, self.amount.currency)}"
        if self.reason == METERED and self.upper is not None and self.upper < self.amount.units:
            upper = "within the permit of an earlier call"  # which answers for all that can be taken by it
        known = str(self.amount) if self.reason == METERED else "unknown"
        return f"{known} ({self.reason}), {upper}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data with amounts as decimal strings."""
        result = {
            "fee": str(self.amount.units),
            "unit": self.amount.unit,
            "currency": self.amount.currency,
            "exact": self.exact,
        }
        if not self.exact:
            result |= {"reason": self.reason, "lower": str(self.lower)}
            result["upper"] = None if self.upper is None else str(self.upper)
        return result


def either(first: Fee, second: Fee, reason: str) -> Fee:
    """The fee where one of two holds and nobody can tell which: the larger, bounded by both.

    Example:
        >>> either(Fee(neuron(5), exact=True), Fee(neuron(9), exact=True), "price_changed").lower
        5
    """
    known = [fee.most for fee in (first, second)]
    upper = None if None in known else max(most for most in known if most is not None)
    lower = min(fee.amount.units if fee.exact else fee.lower for fee in (first, second))
    amount = max(first.amount, second.amount, key=lambda amount: amount.units)
    return Fee(amount, exact=False, reason=reason, lower=lower, upper=upper)
