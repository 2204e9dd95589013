"""How much a call can cost whose fee is not known: the upper bound of what a receipt says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.exchange import parse_json

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt
    from zg_core.types import Fee, Service

__all__ = ["PROMPT_ALLOWANCE", "bounded", "upper_bound"]

PROMPT_ALLOWANCE = 512
"""Tokens that a chat template may add to the bytes of a request: no tokenizer makes more tokens than bytes."""


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
    input_price, output_price = _highest_prices(service)
    return input_price * (len(request) + PROMPT_ALLOWANCE) + output_price * completion


def _most_tokens(request: bytes) -> int | None:
    try:
        payload = parse_json(request)
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    if "input" in payload and "messages" not in payload:  # embeddings have no completion
        return 0
    limits = [_count(payload.get(name)) for name in ("max_tokens", "max_completion_tokens")]
    known = [limit for limit in limits if limit is not None]
    return max(known) * max(_count(payload.get("n")) or 1, 1) if known else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _highest_prices(service: Service) -> tuple[int, int]:
    tiers = [((1, 1), (1, 1)), *((tier.input_multiplier, tier.output_multiplier) for tier in service.tiers)]
    return (
        max(service.input_price * inward[0] // inward[1] for inward, _ in tiers),
        max(service.output_price * outward[0] // outward[1] for _, outward in tiers),
    )
