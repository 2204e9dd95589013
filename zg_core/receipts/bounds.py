"""How much a call can cost whose fee is not known: the upper bound of what a receipt says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from zg_core.money import Amount
from zg_core.pricing import Asked, Tariff
from zg_core.types import ServiceRecord
from zg_core.verify.usage import USAGE_IMPLAUSIBLE

if TYPE_CHECKING:
    from zg_core.money import Fee
    from zg_core.receipts.model import Receipt

__all__ = ["bounded", "capped", "doubted", "upper_bound"]


def bounded(fee: Fee, receipt: Receipt, request: bytes | Asked, tariff: Tariff | None = None) -> Fee:
    """`fee` with an upper bound, where it has none and one can be given.

    A call that was not answered to its end and did not limit the answer's length has none, nor has one at a provider
    that bills at prices of its own, where `tariff` does not give them.
    """
    tariff = tariff or _tariff(receipt)
    if fee.exact or fee.upper is not None or tariff is None:
        return fee
    asked = Asked.read(request)
    completion = receipt.response_bytes if receipt.complete else asked.most
    if completion is None:
        return fee
    amount = fee.amount if fee.amount.units else Amount(0, tariff.currency)
    return replace(fee, amount=amount, upper=tariff.bound(asked, completion))


def capped(fee: Fee, most: Amount | None) -> Fee:
    """`fee` where what it was paid with allows `most` at the most (`Grant.most`)."""
    if most is None or fee.exact or (fee.amount.units and fee.amount.currency != most.currency):
        return fee
    amount = fee.amount if fee.amount.currency == most.currency else Amount(0, most.currency)
    known = fee.upper is not None and fee.amount.currency == most.currency
    return replace(fee, amount=amount, upper=min(fee.upper or 0, most.units) if known else most.units)


def doubted(fee: Fee, receipt: Receipt, request: bytes | Asked, tariff: Tariff | None = None) -> Fee:
    """The fee where the counts cannot be true: at most what the bytes exchanged, and the answer asked for, can cost.

    The provider may bill what it reported all the same. That is for the chain to show; a number that somebody made up
    enters no sum.
    """
    tariff = tariff or _tariff(receipt)
    if tariff is None:
        return replace(fee, exact=False)
    asked = Asked.read(request)
    completion = receipt.response_bytes if asked.most is None else min(receipt.response_bytes, asked.most)
    counted = receipt.usage is not None and receipt.usage.seconds  # the answer says that it is billed by the second
    upper = tariff.dearest[0] * asked.seconds if counted else tariff.bound(asked, completion)
    amount = Amount(min(fee.amount.units, upper), tariff.currency)
    return replace(fee, amount=amount, exact=False, reason=USAGE_IMPLAUSIBLE, lower=0, upper=upper)


def _tariff(receipt: Receipt) -> Tariff | None:
    return Tariff.of(receipt.service) if isinstance(receipt.service, ServiceRecord) else None


def upper_bound(service: ServiceRecord, request: bytes) -> int | None:
    """The most that `request` can cost at `service`, in neuron; None where that is not known before it is sent.

    Providers that bill at prices of their own have no bound, nor has a request that does not limit the answer.
    """
    asked, tariff = Asked.read(request), Tariff.of(service)
    if asked.most is None or tariff is None:
        return None
    return tariff.bound(asked, asked.most)
