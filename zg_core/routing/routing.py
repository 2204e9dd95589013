"""What the user asks of whoever answers: constraints and an order, as one value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zg_core.backends.service import LONGEST_ID
from zg_core.crypto import typed_address
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.tasks.models import ABILITIES
from zg_core.types import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


__all__ = ["ABILITIES", "SORTS", "Routing"]
_LIKE_ADDRESS = re.compile(r"(?i)0x.{0,44}")
SORTS = ("price", "latency", "throughput")


@dataclass(frozen=True, slots=True)
class Routing:
    """How a provider is chosen among those that serve a model.

    Attributes:
        sort: ``"price"``, ``"latency"`` (seconds to the first byte) or ``"throughput"`` (tokens a second): what is
            better comes first. Latency and throughput are those of our own calls, in this process.
        max_price: Amount per million tokens that neither the input nor the output price may exceed, in any tier.
            Services whose prices are not on chain, or in another currency, are out.
        kinds: Kinds of service; all if not given.
        require: Abilities that the provider must say its model has: ``"tools"``, ``"structured_output"``,
            ``"json_mode"``, ``"reasoning"``, ``"images"``, ``"audio"``, ``"files"``.
        allow: Ids of the only providers to use; on 0G they are addresses.
        deny: Ids of providers never to use.
        sticky: True keeps a conversation (same system messages and first message of the user) at its provider while
            that is healthy; a text names the conversation.

    Raises:
        ConfigError: one of them is malformed (code ``bad_routing``).

    Example:
        >>> from zg_core.money import og
        >>> Routing(sort="latency", max_price=og("0.5"), kinds=["TeeML"], require={"tools"}).kinds
        frozenset({<Kind.TEE_ML: 'TeeML'>})
    """

    sort: Literal["price", "latency", "throughput"] = "price"
    max_price: Amount | None = None
    kinds: Collection[str] | None = None
    require: Collection[str] = frozenset()
    allow: Collection[str] | None = None
    deny: Collection[str] = frozenset()
    sticky: bool | str = False

    def __post_init__(self) -> None:
        """Check everything that can be checked without I/O."""
        if self.sort not in SORTS:
            raise _bad(f"sort is {self.sort!r}", f"sort= takes {', '.join(SORTS)}")
        price: object = self.max_price
        if price is not None and not (isinstance(price, Amount) and price.units > 0):
            raise _bad(f"max_price is {price!r}", 'give an amount per million tokens: max_price=og("0.5")')
        if self.kinds is not None:
            self._put("kinds", frozenset(map(Kind, _words("kinds", self.kinds, tuple(map(str, Kind))))))
            if not self.kinds:
                raise _bad("kinds is empty", "leave kinds= out to allow all")
        self._put("require", _words("require", self.require, ABILITIES))
        denied = _providers("deny", self.deny)
        self._put("deny", denied)
        if self.allow is not None:
            allowed = _providers("allow", self.allow)
            if not allowed - denied:
                raise _bad("allow leaves no provider", "leave allow= out to allow all, or name one that deny= does not")
            self._put("allow", allowed)
        sticky: object = self.sticky
        if not isinstance(sticky, bool | str) or sticky == "":
            raise _bad(f"sticky is {sticky!r}", "sticky= takes True, False, or a name for the conversation")

    def allows(self, provider: str) -> bool:
        """Whether `allow` leaves this provider."""
        return self.allow is None or provider in self.allow

    def denies(self, provider: str) -> bool:
        """Whether `deny` names this provider."""
        return provider in self.deny

    def _put(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` takes it back. Only what differs from the defaults."""
        plain: dict[str, Any] = {"sort": self.sort}
        if self.max_price is not None:
            plain["max_price"] = str(self.max_price.units)
            if self.max_price.currency != "0G":
                plain["currency"] = self.max_price.currency
        for name in ("kinds", "require", "allow", "deny"):
            if value := getattr(self, name):
                plain[name] = sorted(map(str, value))
        return plain | ({"sticky": self.sticky} if self.sticky else {})

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Routing:
        """The routing that `to_dict` wrote down.

        Raises:
            ConfigError: it is none (code ``bad_routing``).

        Example:
            >>> Routing.from_dict(Routing(sort="latency", sticky=True).to_dict())
            Routing(sort='latency', max_price=None, kinds=None, require=frozenset(), allow=None, deny=frozenset(), \
sticky=True)
        """
        values = dict(plain)
        try:
            if (price := values.get("max_price")) is not None:
                values["max_price"] = Amount(int(price), values.pop("currency", "0G"))
            return cls(**values)
        except (TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise _bad(f"it cannot be read ({error})", f"it takes {', '.join(cls.__dataclass_fields__)}") from None


def _bad(what: str, hint: str) -> ConfigError:
    return ConfigError(f"routing: {what}", code="bad_routing", hint=hint)


def _words(name: str, given: object, known: tuple[str, ...]) -> frozenset[str]:
    words = _texts(name, given, f"for example [{known[0]!r}]")
    if unknown := sorted(words - set(known)):
        raise _bad(f"{name} names {unknown[0]!r}", f"{name}= takes {', '.join(known)}")
    return words


def _providers(name: str, given: object) -> frozenset[str]:
    """Ids of providers; what looks like an address is one, in the form in which chains name it."""
    texts = _texts(name, given, "for example ['0x…']")
    try:
        return frozenset(typed_address(text) if _LIKE_ADDRESS.fullmatch(text) else _opaque(text) for text in texts)
    except ValueError as error:
        raise _bad(f"{name}: {error}", f"{name}= takes ids of providers, such as addresses") from None


def _opaque(text: str) -> str:
    if not 0 < len(text) <= LONGEST_ID or not text.isprintable() or " " in text:
        raise ValueError(f"{text[:60]!r} is no id of a provider")
    return text


def _texts(name: str, given: object, example: str) -> frozenset[str]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise _bad(f"{name} is {given!r}", f"{name}= takes a list, {example}")
    texts = list(given)
    if not all(isinstance(text, str) for text in texts):
        raise _bad(f"{name} holds {next(t for t in texts if not isinstance(t, str))!r}", f"{name}= takes texts")
    return frozenset(texts)
