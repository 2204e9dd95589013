"""The fee of one call in exact integer arithmetic, as the provider computes it (0g-direct §4.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from zg_core.exchange import encode_body, parse_json
from zg_core.types import Amount, Fee, PriceTier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.types import Service, Usage

__all__ = ["PROMPT_ALLOWANCE", "answer_limit", "dearest", "estimate", "fee_of"]

PROMPT_ALLOWANCE = 512
"""Tokens that a chat template may add to the bytes of a request: no tokenizer makes more tokens than bytes."""
_FLAT = PriceTier(0, (1, 1), (1, 1))


def estimate(service: Service, request: Mapping[str, Any] | bytes, *, completion_tokens: int = 32_768) -> Amount | None:
    """The most that `request` can cost at `service`, before it is sent; None where its prices are not on chain.

    No tokenizer makes more tokens than bytes, so the prompt has at most the request's bytes and a chat template's
    512 tokens; this does not hold for images behind a URL. The answer has at most ``max_tokens`` (or
    ``max_completion_tokens``) for each of ``n`` choices; without either, `completion_tokens` is taken, which is no
    bound but a guess. Every price is that of the dearest tier the prompt can fall into.

    Example:
        >>> from zg_core.types import Service
        >>> service = Service("0x" + "a" * 40, "chatbot", "http://localhost", 3, 5, 0, "m", "TeeML", "{}", "", True)
        >>> estimate(service, {"messages": [], "max_tokens": 10}).units == 3 * (512 + 31) + 5 * 10
        True
    """
    if service.usd_priced or service.multi_model:
        return None
    body = request if isinstance(request, bytes) else encode_body(request)
    prompt = len(body) + PROMPT_ALLOWANCE
    input_price, output_price = dearest(service)
    limit, choices = answer_limit(body)
    numerator, denominator = _write_multiplier(service)
    input_fee = input_price * prompt
    input_fee = max(input_fee, -(-input_fee * numerator // denominator))
    return Amount(input_fee + output_price * (completion_tokens if limit is None else limit) * choices)


def answer_limit(request: bytes) -> tuple[int | None, int]:
    """The most tokens that each choice of an answer may have, None where `request` sets no limit; how many choices.

    Example:
        >>> answer_limit(b'{"messages":[],"max_tokens":5,"n":2}'), answer_limit(b'{"input":"an embedding"}')
        ((5, 2), (0, 1))
    """
    try:
        payload = parse_json(request)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        return None, 1
    if "input" in payload and "messages" not in payload:  # embeddings have no completion
        return 0, 1
    limits = [n for name in ("max_tokens", "max_completion_tokens") if _is_count(n := payload.get(name))]
    choices = payload.get("n")
    return max(limits, default=None), choices if _is_count(choices) and choices else 1


def dearest(service: Service) -> tuple[int, int]:
    """The highest price of an input and of an output token, over all tiers, in neuron."""
    inputs, outputs = zip(*(_at(service, tier) for tier in (_FLAT, *service.tiers)), strict=True)
    return max(inputs), max(outputs)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _at(service: Service, tier: PriceTier) -> tuple[int, int]:
    return (
        service.input_price * tier.input_multiplier[0] // tier.input_multiplier[1],
        service.output_price * tier.output_multiplier[0] // tier.output_multiplier[1],
    )


def _write_multiplier(service: Service) -> tuple[int, int]:
    """What a prompt token costs that is written to the cache, as a fraction of the input price; 1/1 if not advertised.

    A usage object does not say how many these are (0g-direct §4.3), so they make a range of a fee.
    """
    block = service.info.get("cacheTokenBilling")
    if not isinstance(block, dict):
        return 1, 1
    numerator, denominator = block.get("writeMultiplier", 1), block.get("writeMultiplierDenominator", 1)
    if not (_is_count(numerator) and _is_count(denominator) and denominator):
        return 1, 1
    return numerator, denominator


def fee_of(service: Service, usage: Usage | None) -> Fee:
    """What `usage` costs at `service`'s prices, in neuron.

    The fee is exact when the provider bills the on-chain price of one model. It is not when it bills in USD, serves
    several models at prices of their own, bills tokens written to its cache by a price of their own, or reported no
    usage (it then bills an estimate of its own).

    Example:
        >>> from zg_core.types import Service, Usage
        >>> service = Service("0x" + "a" * 40, "chatbot", "http://localhost", 3, 5, 0, "m", "TeeML", "{}", "", True)
        >>> fee_of(service, Usage(10, 2)).amount
        Amount('0.00000000000000004', '0G')
    """
    if usage is None:
        return Fee(Amount(0), exact=False, reason="no_usage")
    tier = _tier(service.tiers, usage.prompt_tokens)
    input_price, output_price = _at(service, tier)
    cached = min(usage.cached_tokens, usage.prompt_tokens) if service.cache_divisor else 0
    input_fee = input_price * (usage.prompt_tokens - cached)
    if cached:
        input_fee += input_price * cached // service.cache_divisor
    units = input_fee + output_price * usage.completion_tokens
    if service.usd_priced:
        return Fee(Amount(units), exact=False, reason="usd_priced")
    if service.multi_model:
        return Fee(Amount(units), exact=False, reason="multi_model")
    numerator, denominator = _write_multiplier(service)
    if numerator != denominator:
        written = input_price * (usage.prompt_tokens - cached)  # all that was not read from the cache, at the most
        other = units - written + written * numerator // denominator
        return Fee(Amount(units), exact=False, reason="cache_write", lower=min(units, other), upper=max(units, other))
    return Fee(Amount(units), exact=True, lower=units, upper=units)


def _tier(tiers: tuple[PriceTier, ...], prompt_tokens: int) -> PriceTier:
    for tier in tiers:
        if tier.max_input_tokens == 0 or prompt_tokens <= tier.max_input_tokens:
            return tier
    return tiers[-1] if tiers else _FLAT
