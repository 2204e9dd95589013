"""What is asked of the Router beside the request: its headers, never its body (0g-router §5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, Literal

from zg_core.crypto import typed_address
from zg_core.errors import ConfigError
from zg_core.types import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from zg_core.routing.routing import Routing

__all__ = ["Wishes", "routing_headers", "wishes_of"]

_IDENTITY = re.compile(r"[!-~]{1,64}")
_PREFIX = "X-0G-Provider-"
_CONFIDENTIAL = frozenset({Kind.TEE_ML, Kind.TEE_ML_SEPARATED})


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the Router shall choose.

    Attributes:
        trust_mode: The least tier: ``"verified"`` (an enclave answers or vouches), ``"private"`` (the model runs in
            one); None may land anywhere.
        sort: ``"price"`` or ``"latency"``; None leaves it to the Router.
        provider: Address of the only provider to use.
        identity: The only upstream channel to use, such as ``"aliyun"``.
        fallbacks: Whether it may go to another provider when one fails; None leaves it to the Router.
        require_parameters: Whether a provider that would ignore a parameter is out.
        max_price_usd: The most that a million tokens of prompt and of answer may cost, in USD.
    """

    trust_mode: Literal["verified", "private"] | None = "verified"
    sort: Literal["price", "latency"] | None = None
    provider: str | None = None
    identity: str | None = None
    fallbacks: bool | None = None
    require_parameters: bool = False
    max_price_usd: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Check everything that can be checked without I/O.

        Raises:
            ConfigError: one of them is malformed (code ``bad_routing``).
        """
        _one_of("trust_mode", self.trust_mode, ("verified", "private"))
        _one_of("sort", self.sort, ("price", "latency"))
        if self.provider is not None:
            try:
                object.__setattr__(self, "provider", typed_address(self.provider))
            except ValueError as error:
                raise _bad(f"provider: {error}", "provider= takes 0x and 40 hex digits") from None
        if self.identity is not None and not (isinstance(self.identity, str) and _IDENTITY.fullmatch(self.identity)):
            raise _bad(f"identity is {self.identity!r}", "identity= takes the channel's name, such as 'aliyun'")
        for name in ("fallbacks", "require_parameters"):
            if not isinstance(getattr(self, name), bool | None):
                raise _bad(f"{name} is {getattr(self, name)!r}", f"{name}= takes True or False")
        if self.max_price_usd is not None:
            object.__setattr__(self, "max_price_usd", _prices(self.max_price_usd))


def routing_headers(wishes: Wishes, *, sealed: bool = False) -> dict[str, str]:
    """The headers that say `wishes`; what is left to the Router is not sent.

    A sealed request is for one enclave: that is pinned, under both names that the switch for fall-backs has (§10.4).

    Example:
        >>> routing_headers(Wishes(sort="price", max_price_usd="0.5"))["X-0G-Provider-Max-Price-Usd-Completion"]
        '0.5'
    """
    said: dict[str, str | None] = {
        "Trust-Mode": wishes.trust_mode,
        "Sort": wishes.sort,
        "Address": wishes.provider,
        "Identity": wishes.identity,
        "Allow-Fallbacks": None if wishes.fallbacks is None else str(wishes.fallbacks).lower(),
        "Require-Parameters": "true" if wishes.require_parameters else None,
    }
    if wishes.max_price_usd is not None:  # one client saw a cap on the prompt alone refused
        said["Max-Price-Usd-Prompt"], said["Max-Price-Usd-Completion"] = _prices(wishes.max_price_usd)
    headers = {_PREFIX + name: value for name, value in said.items() if value}
    if sealed:
        headers |= {f"{_PREFIX}Allow-Fallbacks": "false", "X-0G-Allow-Fallbacks": "false"}
    return headers


def wishes_of(wishes: Wishes, routing: Routing | None, provider: str | None = None) -> Wishes:
    """`wishes`, and what `Routing` asks of any backend in the Router's words.

    Args:
        wishes: What is asked of the Router alone.
        routing: What is asked of whoever chooses.
        provider: The provider that was named.

    Raises:
        ConfigError: the Router has no words for it (code ``bad_routing``).
    """
    values: dict[str, Any] = {name: getattr(wishes, name) for name in Wishes.__slots__}
    if provider is not None:
        values["provider"] = provider
    if routing is None:
        return Wishes(**values)
    if routing.sort == "throughput":
        raise _bad("the Router cannot sort by throughput", "sort='price' or 'latency'; or backend='direct'")
    values["sort"] = values["sort"] or routing.sort
    if routing.max_price is not None:
        if routing.max_price.currency != "USD":
            hint = "backend=Router(max_price_usd='0.5') caps the price of a million tokens"
            raise _bad("the Router caps prices in USD, not in 0G", hint)
        values["max_price_usd"] = values["max_price_usd"] or str(routing.max_price).removesuffix(" USD")
    if routing.kinds is not None:
        if not set(routing.kinds) <= _CONFIDENTIAL and set(routing.kinds) & {Kind.STANDARD}:
            raise _bad("the Router is not asked for unattested services", "leave 'standard' out of kinds=")
        if set(routing.kinds) <= _CONFIDENTIAL:
            values["trust_mode"] = "private"
    if routing.require:
        values["require_parameters"] = True
    if routing.allow is not None:
        allowed = _only(routing.allow)
        if values["provider"] not in (None, allowed):
            raise _bad("allow leaves out the provider that is named", "leave one of them out")
        values["provider"] = allowed
    if routing.deny:
        raise _bad("the Router cannot be told which providers to leave out", "name one: provider='0x…'")
    return Wishes(**values)


def _only(allowed: Collection[str]) -> str:
    if len(allowed) != 1:
        raise _bad("the Router takes one provider or all", "allow=['0x…'] names one; or Router(identity='…')")
    return next(iter(allowed))


def _prices(given: Any) -> tuple[str, str]:
    prices = (given, given) if isinstance(given, str) else tuple(given) if isinstance(given, tuple | list) else ()
    if len(prices) != 2 or not all(isinstance(price, str) for price in prices):
        raise _bad(f"max_price_usd is {given!r}", "max_price_usd='0.5', or ('0.5', '2') for prompt and answer")
    for price in prices:
        try:
            number = Decimal(price)
        except DecimalException:
            number = Decimal(-1)
        if not (number.is_finite() and 0 <= number < 10**9):
            raise _bad(f"max_price_usd holds {price!r}", "USD per million tokens, such as '0.5'")
    return f"{Decimal(prices[0]):f}", f"{Decimal(prices[1]):f}"


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise _bad(f"{name} is {value!r}", f"{name}= takes {', '.join(map(repr, allowed))}")


def _bad(what: str, hint: str) -> ConfigError:
    return ConfigError(f"routing: {what}", code="bad_routing", hint=hint)
