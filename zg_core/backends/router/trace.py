"""What the Router says beside an answer (``x_0g_trace``): who served it, its number, what it cost, what was checked.

It is the Router's word. It comes with any event, in six shapes (0g-router §4.2), or not at all: then nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, DecimalException, localcontext
from typing import TYPE_CHECKING, Any

from zg_core.crypto import checksum_address, is_address
from zg_core.money import Amount, Fee

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELD", "Billing", "Trace", "amount_of", "fee_of_trace", "only_trace"]

FIELD = "x_0g_trace"
_LONGEST = 128
_MICRO_USD = 10**12  # units of an Amount in USD, which counts 1e-18
_MOST_UNITS = 10**40


@dataclass(frozen=True, slots=True)
class Billing:
    """What the Router says that it charged.

    Attributes:
        total: All of it, in the smallest unit of its currency, rounded up.
        input: For the prompt.
        output: For the answer.
        raw: The total as it was written: examples of the documentation are fractions.
        exact: Whether it is a whole number of units.
        agrees: Whether both parts come to the total.
    """

    total: Amount
    input: Amount
    output: Amount
    raw: str
    exact: bool
    agrees: bool

    @classmethod
    def parse(cls, value: Any) -> Billing | None:
        """Read ``billing``; None where it is missing or no such object.

        Example:
            >>> Billing.parse({"input_cost": "1", "output_cost": "2", "total_cost": "3", "currency": "usd"}).total
            Amount('0.000003', 'USD')
        """
        if not isinstance(value, dict):
            return None
        currency = value.get("currency")
        if not (currency is None or isinstance(currency, str)) or (currency or "0g").lower() not in ("0g", "usd"):
            return None
        usd = (currency or "0g").lower() == "usd"
        numbers = [_decimal(value.get(name)) for name in ("total_cost", "input_cost", "output_cost")]
        total = numbers[0]
        if total is None:
            return None
        factor = _MICRO_USD if usd else 1
        amounts = [Amount(_units(each or Decimal(0), factor), "USD" if usd else "0G") for each in numbers]
        with localcontext() as context:
            context.prec = 100
            agrees = None in numbers[1:] or (numbers[1] or Decimal(0)) + (numbers[2] or Decimal(0)) == total
            exact = (total * factor) % 1 == 0
        return cls(amounts[0], amounts[1], amounts[2], str(value["total_cost"])[:_LONGEST], exact, agrees)


@dataclass(frozen=True, slots=True)
class Trace:
    """The Router's word on one answer.

    Attributes:
        request_id: Number of the request, under which the usage history has it; "" if it says none.
        provider: Address of the provider that served it, "" if it says none.
        billing: What it charged; None where it could not compute that.
        verified: Whether it checked the provider's signature: None where it was not asked to.
    """

    request_id: str = ""
    provider: str = ""
    billing: Billing | None = None
    verified: bool | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Trace | None:
        """That of an event or body; None where there is none. Of odd parts nothing is taken.

        Example:
            >>> Trace.of({"choices": [], "x_0g_trace": {"request_id": "r", "tee_verified": True}}).verified
            True
        """
        value = said.get(FIELD)
        if not isinstance(value, dict):
            return None
        number, provider, verified = value.get("request_id"), value.get("provider"), value.get("tee_verified")
        return cls(
            number[:_LONGEST] if isinstance(number, str) else "",
            checksum_address(provider) if is_address(provider) else "",
            Billing.parse(value.get("billing")),
            verified if isinstance(verified, bool) else None,
        )

    def and_then(self, later: Trace) -> Trace:
        """Both together; what was said later counts."""
        return Trace(
            later.request_id or self.request_id,
            later.provider or self.provider,
            later.billing or self.billing,
            self.verified if later.verified is None else later.verified,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a receipt, without floats."""
        plain: dict[str, Any] = {
            "request_id": self.request_id,
            "provider": self.provider,
            "tee_verified": self.verified,
        }
        if self.billing is not None:
            billing = self.billing
            plain["billing"] = {
                "total_cost": billing.raw,
                "input": str(billing.input.units),
                "output": str(billing.output.units),
                "total": str(billing.total.units),
                "currency": billing.total.currency,
            }
        return plain


def only_trace(said: dict[str, Any]) -> bool:
    """Whether an event says nothing beside its trace, so that nobody else need see it."""
    return (
        FIELD in said
        and not said.get("choices")
        and not said.get("usage")
        and "error" not in said
        and (set(said) <= {FIELD, "choices", "id", "object", "created", "model", "usage"})
    )


def fee_of_trace(trace: Trace | None, upper: int | None, currency: str = "0G") -> Fee:
    """What a call cost, by the Router's word; unknown, never nothing, where it says none.

    Args:
        trace: What it said.
        upper: The most that it can have cost, in units of `currency`; None where no bound is known.
        currency: Of the bound.
    """
    billing = None if trace is None else trace.billing
    if billing is None:
        return Fee(Amount(0, currency), exact=False, reason="cost_not_said", upper=upper)
    total = billing.total
    beyond = upper is not None and total.currency == currency and total.units > upper
    if billing.exact and billing.agrees and not beyond:
        return Fee(total, exact=True, lower=total.units, upper=total.units)
    reason = "cost_implausible" if beyond else "cost_contradicts" if not billing.agrees else "cost_fraction"
    parts = billing.input.units + billing.output.units
    lower = 0 if beyond else max(0, min(total.units - (0 if billing.exact else 1), parts))
    return Fee(total, exact=False, reason=reason, lower=lower, upper=max(total.units, parts))


def amount_of(value: Any, currency: Any = None) -> Amount | None:
    """An amount as the Router writes it, ``currency`` beside it: neuron, or micro-USD; None if it is none.

    Example:
        >>> amount_of("42"), amount_of("1.5", "usd"), amount_of("1", "eur")
        (Amount('0.000000000000000042', '0G'), Amount('0.0000015', 'USD'), None)
    """
    billing = Billing.parse({"total_cost": value, "currency": currency})
    return None if billing is None else billing.total


def _decimal(value: Any) -> Decimal | None:
    """An amount as the Router writes it; None if it is none: a float has lost digits by then, and is not taken."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        number = Decimal(str(value)[:_LONGEST].strip())
    except DecimalException:
        return None
    return number if number.is_finite() and 0 <= number < _MOST_UNITS and number.adjusted() > -60 else None


def _units(number: Decimal, factor: int) -> int:
    with localcontext() as context:
        context.prec = 120
        return int((number * factor).to_integral_value(rounding=ROUND_CEILING))
