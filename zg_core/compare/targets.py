"""The numbers of one target in a comparison, and how an amount is written in a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zg_core.money import Amount

__all__ = ["NONE", "TargetSummary", "money"]

NONE = "-"
"""What a table shows where there is no number."""


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """One target.

    Attributes:
        target: Its name.
        kind: Kind of the service.
        calls: Calls that were made; `unsent` were not, for want of budget.
        verified_rate: Share of the calls whose answer and request are bound to the enclave's signature, 0 to 1; None
            without calls.
        response_bound_rate: Share of those where the answer is bound, and that it belongs to this request is not shown.
        failure_rate: Share of the calls that ended in an error, an answer that was found out among them.
        first_token_ms: Median milliseconds to the first piece; `first_token_p95_ms` is the 95th percentile.
        total_ms: Median milliseconds to the end; `total_p95_ms` likewise.
        tokens_per_second: Median of tokens of the answer by seconds of the call.
        cost: Fees together.
        cost_exact: Whether every fee is exact; if not, it may be more.
        cost_per_1000_tokens: Fees by thousand tokens, in and out; None without tokens.
        correct_rate: Share of the calls with a right answer; None without a grader.
        cost_per_correct: Fees, of wrong answers too, by right answer; None if there is none.
        signer_only_rate: Share of the calls where an acknowledged enclave is known to have signed, but not what.
        readers: Who could have read the prompts, the weakest of all calls (`zg_core.types.Prompt`); "" if nobody
            answered.
    """

    target: str
    kind: str
    calls: int
    unsent: int
    verified_rate: float | None
    response_bound_rate: float | None
    failure_rate: float | None
    first_token_ms: float | None
    first_token_p95_ms: float | None
    total_ms: float | None
    total_p95_ms: float | None
    tokens_per_second: float | None
    cost: Amount
    cost_exact: bool
    cost_per_1000_tokens: Amount | None
    correct_rate: float | None
    cost_per_correct: Amount | None
    signer_only_rate: float | None = None
    readers: str = ""

    @property
    def currency(self) -> str:
        """What the amounts are in."""
        return self.cost.currency

    def record(self) -> dict[str, Any]:
        """Plain data for tables; amounts are ints in the smallest unit of their `currency`."""
        names = list(TargetSummary.__dataclass_fields__)
        values = {name: getattr(self, name) for name in names}
        plain = {name: value.units if isinstance(value, Amount) else value for name, value in values.items()}
        return {**plain, "currency": self.currency}


def money(amount: Amount | None) -> str:
    """A number in whole units with at most three digits that count: tables compare, rows have every neuron."""
    if amount is None:
        return NONE
    value = amount.units / 10**18
    text = f"{value:.3g}" if not value or abs(value) >= 1e-4 else f"{value:.{2 - _magnitude(value)}f}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _magnitude(value: float) -> int:
    from math import floor, log10

    return floor(log10(abs(value)))
