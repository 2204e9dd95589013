"""What the user asks of whoever answers: constraints and an order, as one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zg_core.crypto import typed_address
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.types import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


__all__ = ["ABILITIES", "SORTS", "Routing"]


ABILITIES = ("tools", "structured_output", "json_mode", "reasoning", "images", "audio", "files")
"""What `Routing.require` can name; see `zg_core.ModelInfo`."""
SORTS = ("price", "latency", "throughput")


@dataclass(frozen=True, slots=True)
class Routing:
    """How a provider is chosen among those that serve a model.

    Attributes:
        sort: ``"price"``, ``"latency"`` (seconds to the first byte) or ``"throughput"`` (tokens a second): what is
            better comes first. Latency and throughput are those of our own calls, in this process.
        max_price: 0G per million tokens that neither the input nor the output price may exceed, in any tier. Services
            whose prices are not on chain are out.
        kinds: Kinds of service; all if not given.
        require: Abilities that the provider must say its model has: ``"tools"``, ``"structured_output"``,
            ``"json_mode"``, ``"reasoning"``, ``"images"``, ``"audio"``, ``"files"``.
        allow: Addresses of the only providers to use.
        deny: Addresses of providers never to use.
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
        if price is not None and not (isinstance(price, Amount) and price.currency == "0G" and price.units > 0):
            raise _bad(f"max_price is {price!r}", 'give 0G per million tokens: max_price=og("0.5")')
        if self.kinds is not None:
            self._put("kinds", frozenset(map(Kind, _words("kinds", self.kinds, tuple(map(str, Kind))))))
            if not self.kinds:
                raise _bad("kinds is empty", "leave kinds= out to allow all")
        self._put("require", _words("require", self.require, ABILITIES))
        denied = _addresses("deny", self.deny)
        self._put("deny", denied)
        if self.allow is not None:
            allowed = _addresses("allow", self.allow)
            if not allowed - denied:
                raise _bad("allow leaves no provider", "leave allow= out to allow all, or name one that deny= does not")
            self._put("allow", allowed)
        sticky: object = self.sticky
        if not isinstance(sticky, bool | str) or sticky == "":
            raise _bad(f"sticky is {sticky!r}", "sticky= takes True, False, or a name for the conversation")

    def _put(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` takes it back. Only what differs from the defaults."""
        plain: dict[str, Any] = {"sort": self.sort}
        if self.max_price is not None:
            plain["max_price"] = str(self.max_price.units)
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
                values["max_price"] = Amount(int(price))
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


def _addresses(name: str, given: object) -> frozenset[str]:
    texts = _texts(name, given, "for example ['0x…']")
    try:
        return frozenset(map(typed_address, texts))
    except ValueError as error:
        raise _bad(f"{name}: {error}", f"{name}= takes provider addresses") from None


def _texts(name: str, given: object, example: str) -> frozenset[str]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise _bad(f"{name} is {given!r}", f"{name}= takes a list, {example}")
    texts = list(given)
    if not all(isinstance(text, str) for text in texts):
        raise _bad(f"{name} holds {next(t for t in texts if not isinstance(t, str))!r}", f"{name}= takes texts")
    return frozenset(texts)
