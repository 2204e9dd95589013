"""The fee of one call in exact integer arithmetic, as the provider computes it (0g-direct §4.7)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeGuard

from zg_core.jsontext import encode_body, parse_json
from zg_core.money import Amount, Fee
from zg_core.tasks.forms import FilePart, fields_in
from zg_core.tasks.pictures import images_asked
from zg_core.tasks.sound import most_seconds
from zg_core.types import MOST_TOKENS, PriceTier, tiers_of

if TYPE_CHECKING:
    from zg_core.types import ServiceRecord, Usage

__all__ = ["PROMPT_ALLOWANCE", "Asked", "Tariff", "estimate", "fee_of"]

PROMPT_ALLOWANCE = 512
"""Tokens that a chat template may add to the bytes of a request: no tokenizer makes more tokens than bytes."""
_TOKENS_A_SECOND = 100
"""Tokens of a second of speech at the most: models of today make 12 to 50 of it."""
_WORDS_A_SECOND = 10
_WORDS_OF_NOTHING = 100  # what an empty answer is billed as (services §4.5)
_LIMITS = ("max_tokens", "max_completion_tokens")
_CHOICES = ("n", "best_of")
_BEARING = frozenset({"file", "prompt", "input", *_LIMITS, *_CHOICES})
_FLAT = PriceTier(0, (1, 1), (1, 1))
_LISTED_NAMES = ("max_input_tokens", "input_multiplier", "output_multiplier", "_denominator")
_PRICE = re.compile(r"\d{1,60}(?:\.\d{1,60})?(?:[eE][+-]?\d{1,2})?")


@dataclass(frozen=True, slots=True)
class Tariff:
    """What the tokens of one model cost, in the smallest unit of `currency` each.

    Attributes:
        input_price: A token of the prompt.
        output_price: A token of the answer.
        tiers: Other prices for long prompts.
        cache_divisor: What a prompt token read from the cache costs: the input price divided by this; 0 bills it whole.
        write_multiplier: What a prompt token written to the cache costs, as a fraction of the input price.
        currency: ``"0G"`` or ``"USD"``.
        listed: Whether it is from the provider's own list (``/v1/models``), which nobody signs, and not from the chain.
    """

    input_price: int
    output_price: int
    tiers: tuple[PriceTier, ...] = ()
    cache_divisor: int = 0
    write_multiplier: tuple[int, int] = (1, 1)
    currency: str = "0G"
    listed: bool = False

    @classmethod
    def of(cls, service: ServiceRecord) -> Tariff | None:
        """What the chain says; None where the provider bills by a list of its own, in USD or model by model."""
        if service.usd_priced or service.multi_model:
            return None
        return cls(
            service.input_price,
            service.output_price,
            service.tiers,
            service.cache_divisor,
            _write_multiplier(service.info.get("cacheTokenBilling"), "writeMultiplier", "writeMultiplierDenominator"),
        )

    @classmethod
    def read(cls, service: ServiceRecord, entry: Mapping[str, Any]) -> Tariff | None:
        """What the model's `entry` in the provider's ``/v1/models`` says (0g-direct §4.8); None if it says nothing.

        Example:
            >>> from zg_core.types import ServiceRecord
            >>> info = '{"MultiModel":true,"priceDenomination":"USD"}'
            >>> service = ServiceRecord("0x" + "a" * 40, "chatbot", "http://h", 3, 5, 0, "m", "TeeML", info, "", True)
            >>> tariff = Tariff.read(service, {"pricing_usd": {"prompt": "0.0000005", "completion": "0.000002"}})
            >>> tariff.currency, tariff.input_price
            ('USD', 500000000000)
        """
        name, currency = ("pricing_usd", "USD") if service.usd_priced else ("pricing", "0G")
        block = entry.get(name)
        if not isinstance(block, dict):
            return None
        prices = [_price(block.get(field), currency) for field in ("prompt", "completion")]
        if prices[0] is None or prices[1] is None:
            return None
        cache = block.get("cache_token_billing")
        divisor = cache.get("divisor", 4) if isinstance(cache, dict) else 0
        return cls(
            prices[0],
            prices[1],
            tiers_of(block.get("tiered_pricing"), _LISTED_NAMES),
            divisor if _is_count(divisor) else 0,
            _write_multiplier(cache, "write_multiplier", "write_multiplier_denominator"),
            currency,
            listed=True,
        )

    def fee(self, usage: Usage) -> tuple[int, int, int]:
        """What `usage` costs, in units: as if nothing were written to the cache, the least, and the most.

        They differ only where tokens written to the cache have a price of their own: a usage object does not say how
        many these are (0g-direct §4.3).
        """
        input_price, output_price = self._at(_tier(self.tiers, usage.prompt_tokens))
        cached = min(usage.cached_tokens, usage.prompt_tokens) if self.cache_divisor else 0
        written = input_price * (usage.prompt_tokens - cached)  # all that was not read from the cache, at the most
        rest = output_price * (usage.completion_tokens + usage.images + usage.words) + input_price * usage.seconds
        if cached:
            rest += input_price * cached // self.cache_divisor
        numerator, denominator = self.write_multiplier
        other = written * numerator // denominator
        return written + rest, min(written, other) + rest, max(written, other) + rest

    def most(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The most that so many tokens can cost, in units, whatever tier they fall into."""
        input_price, output_price = self.dearest
        numerator, denominator = self.write_multiplier
        input_fee = input_price * prompt_tokens
        return max(input_fee, -(-input_fee * numerator // denominator)) + output_price * completion_tokens

    def bound(self, asked: Asked, completion_tokens: int) -> int:
        """The most that a request can cost, in units, with so many tokens in its answer where tokens are billed.

        Images have the output price each. Of a recording nothing on chain says whether the input price is for a second
        or a token (services §4.5): the dearest reading counts, but where an answer costs nothing it is for a second.
        """
        input_price, output_price = self.dearest
        if asked.images:
            return output_price * asked.images
        if asked.seconds:
            if not output_price:
                return input_price * asked.seconds
            words = max(2 * _WORDS_A_SECOND * asked.seconds, _WORDS_OF_NOTHING)
            tokens = _TOKENS_A_SECOND * asked.seconds
            return max(input_price * tokens + output_price * tokens, output_price * words)
        return self.most(asked.size + PROMPT_ALLOWANCE, completion_tokens)

    @property
    def dearest(self) -> tuple[int, int]:
        """The highest price of an input and of an output token, over all tiers."""
        inputs, outputs = zip(*(self._at(tier) for tier in (_FLAT, *self.tiers)), strict=True)
        return max(inputs), max(outputs)

    def _at(self, tier: PriceTier) -> tuple[int, int]:
        return (
            self.input_price * tier.input_multiplier[0] // tier.input_multiplier[1],
            self.output_price * tier.output_multiplier[0] // tier.output_multiplier[1],
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says that bears on its cost. It is read once: for the bound, the budget and the check of usage.

    Attributes:
        size: Bytes of the request.
        limit: The most tokens that each choice of the answer may have; None where that is not limited.
        strictest: The lower one, where both ``max_tokens`` and ``max_completion_tokens`` are given.
        choices: How many choices the answer has.
        odd: The parameter, if there is one, that should say how long the answer is and is no count: a provider reads it
            as it likes, so it limits nothing.
        images: Images that are asked for.
        seconds: Seconds that a recording lasts at the most, rounded up.

    Example:
        >>> Asked.read(b'{"messages":[],"max_tokens":5,"n":2}')
        Asked(size=36, limit=5, strictest=5, choices=2, odd='', images=0, seconds=0)
        >>> Asked.read(b'{"messages":[],"max_tokens":"5"}').odd
        'max_tokens'
    """

    size: int
    limit: int | None = None
    strictest: int | None = None
    choices: int = 1
    odd: str = ""
    images: int = 0
    seconds: int = 0

    @classmethod
    def of(cls, payload: object, size: int) -> Asked:
        """What `payload`, a parsed request of `size` bytes, says; anything may be in it."""
        if not isinstance(payload, Mapping):
            return cls(size)
        if _BEARING.isdisjoint(payload):
            return cls(size)
        if isinstance(payload.get("file"), FilePart):
            return cls(size, 0, seconds=most_seconds(payload["file"]))
        if "prompt" in payload and "messages" not in payload:
            return cls(size, 0, images=images_asked(payload))
        if "input" in payload and "messages" not in payload:  # embeddings have no completion
            return cls(size, 0, None, 1)
        limits = [n for name in _LIMITS if _is_count(n := payload.get(name))]
        choices = [n for name in _CHOICES if _is_count(n := payload.get(name))]
        said = ((name, payload.get(name)) for name in (*_LIMITS, *_CHOICES))
        odd = [name for name, value in said if value is not None and not (_is_count(value) and value <= MOST_TOKENS)]
        return cls(
            size,
            max(limits, default=None),
            min((n for n in limits if n), default=None),
            max(1, *choices) if choices else 1,
            odd[0] if odd else "",
        )

    @classmethod
    def read(cls, request: bytes | Asked) -> Asked:
        """What the bytes of a request say; as it is, where that is known already."""
        if isinstance(request, Asked):
            return request
        try:
            payload = fields_in(request) if request.startswith(b"--") else parse_json(request)
        except (ValueError, RecursionError):
            payload = None
        return cls.of(payload, len(request))

    @property
    def most(self) -> int | None:
        """The most tokens that the answer may have; None where that is not limited."""
        return None if self.limit is None else self.limit * self.choices


def estimate(
    service: ServiceRecord,
    request: Mapping[str, Any] | bytes | Asked,
    *,
    completion_tokens: int = 32_768,
    tariff: Tariff | None = None,
) -> Amount | None:
    """The most that `request` can cost at `service`, before it is sent; None where its prices are not known.

    No tokenizer makes more tokens than bytes, so the prompt has at most the request's bytes and a chat template's
    512 tokens; this does not hold for images behind a URL. The answer has at most ``max_tokens`` (or
    ``max_completion_tokens``) for each of ``n`` choices; without either, `completion_tokens` is taken, which is no
    bound but a guess. Every price is that of the dearest tier the prompt can fall into.

    Args:
        service: The provider's record on chain.
        request: The payload, its bytes, or what they say.
        completion_tokens: Length of an answer that the request does not limit.
        tariff: The prices of the model, where they are not those of `service`; the amount is in its currency.

    Example:
        >>> from zg_core.types import ServiceRecord
        >>> address = "0x" + "a" * 40
        >>> service = ServiceRecord(address, "chatbot", "http://localhost", 3, 5, 0, "m", "TeeML", "{}", "", True)
        >>> estimate(service, {"messages": [], "max_tokens": 10}).units == 3 * (512 + 31) + 5 * 10
        True
    """
    tariff = tariff or Tariff.of(service)
    if tariff is None:
        return None
    return bound_of(
        tariff, Asked.read(encode_body(request) if isinstance(request, Mapping) else request), completion_tokens
    )


def bound_of(tariff: Tariff, asked: Asked, completion_tokens: int = 32_768) -> Amount:
    """The most that a request can cost by `tariff`; see `estimate`."""
    completion = (completion_tokens if asked.limit is None else asked.limit) * asked.choices
    return Amount(tariff.bound(asked, completion), tariff.currency)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _price(value: Any, currency: str) -> int | None:
    """A price per token, rounded up: neuron as a whole number, or USD as a decimal."""
    if isinstance(value, bool) or not isinstance(value, str | int) or not _PRICE.fullmatch(text := str(value)):
        return None
    return math.ceil(Fraction(text) * (1 if currency == "0G" else 10**18))


def _write_multiplier(block: Any, name: str, below: str) -> tuple[int, int]:
    """What a prompt token written to the cache costs, as a fraction of the input price; 1/1 if not advertised."""
    if not isinstance(block, dict):
        return 1, 1
    numerator, denominator = block.get(name, 1), block.get(below, 1)
    if not (_is_count(numerator) and _is_count(denominator) and denominator):
        return 1, 1
    return numerator, denominator


def fee_of(service: ServiceRecord, usage: Usage | None, tariff: Tariff | None = None) -> Fee:
    """What `usage` costs at `service`.

    The fee is exact when the provider bills the on-chain price of one model. It is not, and `Fee.reason` says why, when
    it bills in USD (``usd_priced``; the amount is in USD then) or model by model (``multi_model``; ``listed_price``
    with the provider's own list), bills tokens written to its cache by a price of their own (``cache_write``), or
    reported no usage (``no_usage``: it then bills an estimate of its own).

    Args:
        service: The provider's record on chain.
        usage: What it says it counted.
        tariff: The prices of the model, where they are not those of `service`.

    Example:
        >>> from zg_core.types import ServiceRecord, Usage
        >>> address = "0x" + "a" * 40
        >>> service = ServiceRecord(address, "chatbot", "http://localhost", 3, 5, 0, "m", "TeeML", "{}", "", True)
        >>> fee_of(service, Usage(10, 2)).amount
        Amount('0.00000000000000004', '0G')
    """
    currency = "USD" if service.usd_priced else "0G"
    if usage is None:
        return Fee(Amount(0, currency), exact=False, reason="no_usage")
    tariff = tariff or Tariff.of(service)
    if tariff is None:  # what it asks is not known
        return Fee(Amount(0, currency), exact=False, reason="usd_priced" if service.usd_priced else "multi_model")
    units, lower, upper = tariff.fee(usage)
    reason = "cache_write" if lower != upper else ""
    if tariff.listed:
        reason = "usd_priced" if currency == "USD" else "listed_price"
    return Fee(Amount(units, currency), exact=not reason, reason=reason, lower=lower, upper=upper)


def _tier(tiers: tuple[PriceTier, ...], prompt_tokens: int) -> PriceTier:
    for tier in tiers:
        if tier.max_input_tokens == 0 or prompt_tokens <= tier.max_input_tokens:
            return tier
    return tiers[-1] if tiers else _FLAT
