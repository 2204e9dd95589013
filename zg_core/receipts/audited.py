"""What an audit needs of a call, and nothing else: a store of a million of them is read in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from zg_core.pricing import PROMPT_ALLOWANCE
from zg_core.verify.usage import USAGE_IMPLAUSIBLE

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt

__all__ = ["Audited", "is_implausible"]


class Audited(NamedTuple):
    """One call as an audit sees it.

    Attributes:
        id: Id of its receipt.
        provider: Who answered.
        started: When it began, unix seconds.
        units: What it cost, or is estimated to have, in the smallest unit of its currency.
        exact: Whether that is what it cost.
        upper: The most that it can have cost where it is not exact; None where no bound is known.
        refused: Whether it was refused.
        implausible: Whether more tokens were reported than its bytes can hold.
        prices: What a token of the prompt and of the answer cost then.
        currency: ``"0G"``, ….
    """

    id: str
    provider: str
    started: float
    units: int
    exact: bool
    upper: int | None
    refused: bool
    implausible: bool
    prices: tuple[int, int]
    currency: str = "0G"

    @classmethod
    def of(cls, receipt: Receipt) -> Audited:
        """What an audit needs of `receipt`."""
        fee = receipt.fee
        return cls(
            receipt.id,
            receipt.provider,
            receipt.started_at.timestamp(),
            fee.amount.units,
            fee.exact,
            fee.most,
            receipt.outcome == "refused",
            is_implausible(receipt),
            (receipt.input_price, receipt.output_price),
            fee.amount.currency,
        )


def is_implausible(receipt: Receipt) -> bool:
    """Whether the receipt reports more tokens than its bytes can hold."""
    if USAGE_IMPLAUSIBLE in receipt.flags:
        return True
    usage = receipt.usage
    if usage is None or not receipt.complete:
        return False
    return (
        usage.prompt_tokens > receipt.request_bytes + PROMPT_ALLOWANCE
        or usage.completion_tokens > receipt.response_bytes
    )
