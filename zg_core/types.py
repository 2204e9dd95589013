"""Values that every part of the package shares: amounts, services, usage, fees, verdicts, receipts.

All are immutable but `Receipt`, whose verdict may arrive later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROXY", "Kind", "PriceTier", "Prompt", "Service", "ServiceRecord", "Usage", "count_of"]

PROXY = "/v1/proxy"
"""What the OpenAI-shaped routes of a provider begin with (0g-direct §4.1)."""


class Prompt(StrEnum):
    """Who could have seen the prompt: all that may be claimed of it (docs/guides/attestation.md)."""

    SEALED = "sealed"
    """It was encrypted to a key that an attested enclave holds."""
    DECLARED = "declared"
    """The provider says that it stays in an enclave; nothing ties the connection to it, so a proxy could read it."""
    VENDOR = "vendor"
    """A vendor outside any enclave of 0G answered, and read it."""
    OPEN = "open"
    """Nothing is claimed."""


class Kind(StrEnum):
    """What stands behind a service's word "verifiable" (0g-direct §4.8)."""

    TEE_ML = "TeeML"
    """Broker and model in one enclave; the broker's key signs."""
    TEE_ML_SEPARATED = "TeeML-separated"
    """The model runs in an enclave of its own, whose key signs."""
    TEE_TLS = "TeeTLS"
    """The broker's enclave signs a routing proof; the upstream vendor answers outside any enclave of 0G."""
    STANDARD = "standard"
    """Nothing is signed."""

    @property
    def prompt(self) -> Prompt:
        """Who could have seen a prompt that went to such a service unsealed."""
        if self is Kind.STANDARD:
            return Prompt.OPEN
        return Prompt.VENDOR if self is Kind.TEE_TLS else Prompt.DECLARED

    @property
    def strength(self) -> int:
        """Order for choosing: a stronger kind proves more."""
        return {Kind.TEE_ML: 3, Kind.TEE_ML_SEPARATED: 2, Kind.TEE_TLS: 1, Kind.STANDARD: 0}[self]


@dataclass(frozen=True, slots=True)
class PriceTier:
    """One tier of a tiered price (0g-direct §4.7): multipliers are fractions, `max_input_tokens` 0 means no bound."""

    max_input_tokens: int
    input_multiplier: tuple[int, int]
    output_multiplier: tuple[int, int]


@dataclass(frozen=True)
class ServiceRecord:
    """One provider's service record as the chain holds it (0g-direct §2.2), with the facts derived from it.

    Prices are neuron per token. `url` has no trailing slash; `private`, which is no part of the record, says whether it
    may lead to this machine and into private networks, as on a local network (`Network.private_providers`).
    """

    provider: str
    service_type: str
    url: str
    input_price: int
    output_price: int
    updated_at: int
    model: str
    verifiability: str
    additional_info: str
    tee_signer: str
    acknowledged: bool
    private: bool = field(default=False, repr=False, compare=False)

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """`additional_info` parsed; empty when it is not a JSON object."""
        return self._info or {}

    @cached_property
    def _info(self) -> Mapping[str, Any] | None:
        if not self.additional_info.strip():
            return {}
        try:
            value = parse_json(self.additional_info)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    @cached_property
    def kind(self) -> Kind:
        """The kind of verifiability. On chain, TeeTLS hides behind the word "TeeML" (0g-direct §4.8)."""
        if self.verifiability != "TeeML":
            return Kind.STANDARD
        provider_type = self.info.get("ProviderType", "decentralized" if self._info is not None else None)
        if provider_type == "centralized":
            return Kind.TEE_TLS
        if provider_type not in ("decentralized", ""):  # unknown, or not to be read: nothing may be promised
            return Kind.STANDARD
        return Kind.TEE_ML_SEPARATED if self.info.get("TargetSeparated") is True else Kind.TEE_ML

    @cached_property
    def signer(self) -> str:
        """Address whose signature binds a reply: the broker's, or the model enclave's when separated; "" if none."""
        signer = self.info.get("TargetTeeAddress", "") if self.kind is Kind.TEE_ML_SEPARATED else self.tee_signer
        return signer if isinstance(signer, str) and signer.strip("0x") else ""

    @property
    def endpoint(self) -> str:
        """Base URL of the OpenAI-shaped routes (0g-direct §4.1)."""
        return self.url + PROXY

    @property
    def usd_priced(self) -> bool:
        """Whether the provider bills per-model prices in USD, so that the on-chain price is not the fee."""
        return self.info.get("priceDenomination") == "USD"

    @property
    def multi_model(self) -> bool:
        """Whether the provider serves more models than the one on chain."""
        return bool(self.info.get("MultiModel"))

    @cached_property
    def tiers(self) -> tuple[PriceTier, ...]:
        """Price tiers of `additional_info`; malformed entries are left out."""
        block = self.info.get("tieredPricing")
        return tiers_of(block.get("tiers") if isinstance(block, dict) else None)

    @cached_property
    def cache_divisor(self) -> int:
        """Divisor of the input price for cached tokens, 0 when the service advertises no cache billing."""
        block = self.info.get("cacheTokenBilling")
        divisor = block.get("divisor", 4) if isinstance(block, dict) else 0  # default 4: 0g-direct §4.7
        return divisor if isinstance(divisor, int) and divisor > 0 else 0


Service = ServiceRecord
"""Its earlier name, for programs that were written with it."""


def tiers_of(
    entries: object,
    names: tuple[str, str, str, str] = ("maxInputTokens", "inputMultiplier", "outputMultiplier", "Denominator"),
) -> tuple[PriceTier, ...]:
    """The tiers in a list that a provider wrote; malformed ones are left out.

    Args:
        entries: Anything.
        names: What it calls the bound and the two multipliers, and what it adds for their denominators.
    """
    found = (_tier(entry, names) for entry in (entries if isinstance(entries, list) else []))
    return tuple(tier for tier in found if tier is not None)


def _tier(entry: object, names: tuple[str, str, str, str]) -> PriceTier | None:
    if not isinstance(entry, dict):
        return None
    bound, of_input, of_output, below = names

    def fraction(name: str) -> tuple[int, int]:
        return entry.get(name, 1), entry.get(name + below, 1) or 1

    limit, inward, outward = entry.get(bound, 0), fraction(of_input), fraction(of_output)
    numbers = (limit, *inward, *outward)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers) or min(inward[1], outward[1]) < 1:
        return None
    return PriceTier(limit, inward, outward)


MOST_TOKENS = 2**53
"""No call has so many; it is the largest count that every reader of JSON reads alike."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer is billed by, as the provider reported it inside the signed bytes: tokens, or what else it counts.

    Attributes:
        prompt_tokens: Tokens of the request, or of the recording.
        completion_tokens: Tokens of the answer.
        cached_tokens: Those of the prompt that were read from a cache.
        reasoning_tokens: Those of the answer that were spent on thinking.
        images: Images that are billed.
        seconds: Seconds of a recording that are billed.
        words: Units of an answer that states none of these, by the provider's rule of thumb.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    seconds: int = 0
    words: int = 0

    @classmethod
    def parse(cls, value: object) -> Usage | None:
        """Read an OpenAI ``usage`` object; None when it is missing, null, malformed or all zero.

        For zeros, too, a provider bills an estimate of its own (0g-direct §4.7). A count beyond `MOST_TOKENS` is read
        as `MOST_TOKENS`: none so large is true, and sums of larger ones are numbers that nothing can hold.
        """
        if not isinstance(value, dict):
            return None
        prompt, completion = count_of(value, "prompt_tokens") or 0, count_of(value, "completion_tokens") or 0
        if not prompt and not completion:
            return None
        cached = reasoning = 0
        if details := value.get("prompt_tokens_details"):
            cached = count_of(details, "cached_tokens") or 0
        if details := value.get("completion_tokens_details"):
            reasoning = count_of(details, "reasoning_tokens") or 0
        return cls(prompt, completion, cached, reasoning)

    @staticmethod
    def is_odd(value: object) -> bool:
        """Whether `value` is no ``usage`` object, or one of its counts is none: a fraction, a text, less than nothing.

        Nobody can say what a provider makes of these when it bills.

        Example:
            >>> Usage.is_odd({"prompt_tokens": 9, "completion_tokens": 2.5}), Usage.is_odd({"prompt_tokens": 9})
            (True, False)
        """
        if not isinstance(value, dict):
            return value is not None
        if _tokens(value, "prompt_tokens") == -1 or _tokens(value, "completion_tokens") == -1:
            return True
        details = value.get("prompt_tokens_details")
        return details is not None and _tokens(details, "cached_tokens") == -1

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


def count_of(source: object, name: str) -> int | None:
    """The count `name` of `source`, to be shown: 9.0 is 9; None where there is none.

    Example:
        >>> count_of({"a": 9.0}, "a"), count_of({"a": 9.5}, "a"), count_of({"a": "9"}, "a"), count_of(None, "a")
        (9, None, None, None)
    """
    if not isinstance(source, dict) or (number := source.get(name)) is None:
        return None
    if number.__class__ is int and 0 <= number <= MOST_TOKENS:
        return int(number)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return None
    return min(number, MOST_TOKENS)


def _tokens(source: object, name: str) -> int | None:
    """The count `name` of `source`: None where nothing is said, -1 where it is no count."""
    number = source.get(name) if isinstance(source, dict) else None
    if number is None:
        return None
    counts = isinstance(number, int) and not isinstance(number, bool) and number >= 0
    return min(number, MOST_TOKENS) if counts else -1
