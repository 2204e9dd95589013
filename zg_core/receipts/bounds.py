"""How much a call can cost whose fee is not known: the upper bound of what a receipt says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from zg_core.pricing import PROMPT_ALLOWANCE, answer_limit, dearest

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt
    from zg_core.types import Fee, Service

__all__ = ["bounded", "upper_bound"]


def bounded(fee: Fee, receipt: Receipt, request: bytes) -> Fee:
    """`fee` with an upper bound, where it has none and one can be given.

    A provider that bills at prices of its own (in USD, several models) has none. Neither has a call that was not
    answered to its end and did not limit the answer's length.
    """
    service = receipt.service
    if fee.exact or fee.upper is not None or service is None or service.usd_priced or service.multi_model:
        return fee
    completion = receipt.response_bytes if receipt.complete else _most_tokens(request)
    if completion is None:
        return fee
    return replace(fee, upper=_most(service, request, completion))


def upper_bound(service: Service, request: bytes) -> int | None:
    """The most that `request` can cost at `service`, in neuron; None where that is not known before it is sent.

    Providers that bill at prices of their own have no bound, nor has a request that does not limit the answer.
    """
    completion = _most_tokens(request)
    if completion is None or service.usd_priced or service.multi_model:
        return None
    return _most(service, request, completion)


def _most(service: Service, request: bytes, completion: int) -> int:
    input_price, output_price = dearest(service)
    return input_price * (len(request) + PROMPT_ALLOWANCE) + output_price * completion


def _most_tokens(request: bytes) -> int | None:
    limit, choices = answer_limit(request)
    return None if limit is None else limit * choices
