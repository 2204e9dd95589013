"""The fee of one call in exact integer arithmetic, as the provider computes it (0g-direct §4.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.types import Amount, Fee, PriceTier

if TYPE_CHECKING:
    from zg_core.types import Service, Usage

__all__ = ["fee_of"]

_FLAT = PriceTier(0, (1, 1), (1, 1))


def fee_of(service: Service, usage: Usage | None) -> Fee:
    """What `usage` costs at `service`'s prices, in neuron.

    The fee is exact when the provider bills the on-chain price of one model. It is not when it bills in USD, serves
    several models at prices of their own, or reported no usage (it then bills an estimate of its own).

    Example:
        >>> from zg_core.types import Service, Usage
        >>> service = Service("0x" + "a" * 40, "chatbot", "http://localhost", 3, 5, 0, "m", "TeeML", "{}", "", True)
        >>> fee_of(service, Usage(10, 2)).amount
        Amount('0.00000000000000004', '0G')
    """
    if usage is None:
        return Fee(Amount(0), exact=False, reason="no_usage")
    tier = _tier(service.tiers, usage.prompt_tokens)
    input_price = service.input_price * tier.input_multiplier[0] // tier.input_multiplier[1]
    output_price = service.output_price * tier.output_multiplier[0] // tier.output_multiplier[1]
    cached = min(usage.cached_tokens, usage.prompt_tokens) if service.cache_divisor else 0
    input_fee = input_price * (usage.prompt_tokens - cached)
    if cached:
        input_fee += input_price * cached // service.cache_divisor
    units = input_fee + output_price * usage.completion_tokens
    if service.usd_priced:
        return Fee(Amount(units), exact=False, reason="usd_priced")
    if service.multi_model:
        return Fee(Amount(units), exact=False, reason="multi_model")
    return Fee(Amount(units), exact=True, lower=units, upper=units)


def _tier(tiers: tuple[PriceTier, ...], prompt_tokens: int) -> PriceTier:
    for tier in tiers:
        if tier.max_input_tokens == 0 or prompt_tokens <= tier.max_input_tokens:
            return tier
    return tiers[-1] if tiers else _FLAT
