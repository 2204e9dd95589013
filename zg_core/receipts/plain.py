"""Parts of a receipt as plain data, and back: what a stranger wrote is checked field by field."""

from __future__ import annotations

import base64
import binascii
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.money import Amount, Fee
from zg_core.types import Kind, Service, Usage
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fields", "bytes_of", "fee_of_dict", "service_of", "service_to_dict", "text_of_bytes", "verdict_of"]

_MOST_DIGITS = 78  # of a uint256
_PRICES = ("input_price", "output_price")


class Fields:
    """Reads the fields of one object, each with the type it must have.

    Example:
        >>> Fields({"a": 1}, "thing").integer("a")
        1
    """

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise bad_receipt(f"{what} is no object")
        self._value: Mapping[str, Any] = value
        self._what = what

    def raw(self, name: str, default: Any = ...) -> Any:
        """The value as it is.

        Raises:
            ConfigError: it is missing, and there is no default.
        """
        if name in self._value:
            return self._value[name]
        if default is ...:
            raise bad_receipt(f"{self._what} has no {name!r}")
        return default

    def _typed(self, name: str, kind: Any, default: Any) -> Any:
        value = self.raw(name, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise bad_receipt(f"{name!r} of {self._what} is a {type(value).__name__}")
        return value

    def text(self, name: str, default: Any = ...) -> str:
        """A text."""
        return str(self._typed(name, str, default))

    def flag(self, name: str, default: Any = ...) -> bool:
        """True or false."""
        return bool(self._typed(name, bool, default))

    def integer(self, name: str, default: Any = ...) -> int:
        """A whole number, not negative."""
        value = int(self._typed(name, int, default))
        if value < 0:
            raise bad_receipt(f"{name!r} of {self._what} is negative")
        return value

    def number(self, name: str, default: Any = ...) -> float:
        """A finite number, not negative."""
        value = float(self._typed(name, int | float, default))
        if not 0 <= value < 1e12:
            raise bad_receipt(f"{name!r} of {self._what} is out of range")
        return value

    def units(self, name: str, default: Any = ...) -> int:
        """Decimal text of a whole number."""
        value = self._typed(name, str, default)
        if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS):
            raise bad_receipt(f"{name!r} of {self._what} is no whole number in text")
        return int(value)

    def time(self, name: str) -> datetime:
        """An ISO 8601 time with its zone."""
        try:
            moment = datetime.fromisoformat(self.text(name))
        except ValueError:
            raise bad_receipt(f"{name!r} of {self._what} is no time") from None
        if moment.tzinfo is None:
            raise bad_receipt(f"{name!r} of {self._what} has no time zone")
        return moment.astimezone(UTC)

    def word(self, name: str, kind: Any, default: Any = ...) -> Any:
        """A word of an enumeration."""
        value = self.text(name, default)
        try:
            return kind(value)
        except ValueError:
            raise bad_receipt(f"{name!r} of {self._what} is unknown: {value[:40]!r}") from None

    def texts(self, name: str, default: Any = ...) -> tuple[str, ...]:
        """A list of texts."""
        values = self._typed(name, list | tuple, default)
        if not all(isinstance(value, str) for value in values):
            raise bad_receipt(f"{name!r} of {self._what} holds something that is no text")
        return tuple(values)

    def optional(self, name: str, read: Any) -> Any:
        """`read` of a field that may be null or missing."""
        return None if self.raw(name, None) is None else read(self.raw(name))


def bad_receipt(what: str) -> ConfigError:
    """The error for data that is no receipt."""
    return ConfigError(f"not a receipt: {what}", code="bad_receipt", hint="see docs/receipts.md for its form")


def service_to_dict(service: Service) -> dict[str, Any]:
    """A service record as the chain holds it; prices as decimal text."""
    values = {each.name: getattr(service, each.name) for each in fields(Service) if each.compare}
    return values | {name: str(values[name]) for name in _PRICES}


def service_of(value: Any) -> Service:
    """The way back.

    Raises:
        ConfigError: a field is missing or of another type (code ``bad_receipt``).
    """
    read = Fields(value, "service")
    return Service(
        provider=read.text("provider"),
        service_type=read.text("service_type"),
        url=read.text("url"),
        input_price=read.units("input_price"),
        output_price=read.units("output_price"),
        updated_at=read.integer("updated_at"),
        model=read.text("model"),
        verifiability=read.text("verifiability"),
        additional_info=read.text("additional_info"),
        tee_signer=read.text("tee_signer"),
        acknowledged=read.flag("acknowledged"),
    )


def verdict_of(value: Any) -> Verdict:
    """A verdict from `Verdict.to_dict`.

    Raises:
        ConfigError: a field is of another type, or says an unknown word (code ``bad_receipt``).
    """
    read = Fields(value, "verdict")
    words: dict[str, Any] = {
        "status": read.word("status", Status),
        "reason": read.word("reason", Reason, ""),
        "binding": read.word("binding", Binding, "unchecked"),
        "kind": read.optional("kind", lambda _: read.word("kind", Kind)),
        "sealed": read.flag("sealed", False),
        "record_age": None if read.raw("record_age", None) is None else read.integer("record_age"),
    }
    for each in fields(Verdict):
        if each.init and each.name not in words and read.raw(each.name, None) is not None:
            words[each.name] = read.text(each.name)
    return Verdict(**words)


def fee_of_dict(value: Any) -> Fee:
    """A fee from `Fee.to_dict`.

    Raises:
        ConfigError: as above.
    """
    read = Fields(value, "payment")
    try:
        amount = Amount(read.units("fee"), currency := read.text("currency"))
    except ConfigError as error:
        raise error if error.code == "bad_receipt" else bad_receipt(f"currency {currency[:40]!r}") from None
    if read.flag("exact"):
        return Fee(amount, exact=True, lower=amount.units, upper=amount.units)
    upper = read.optional("upper", lambda _: read.units("upper"))
    return Fee(amount, exact=False, reason=read.text("reason", ""), lower=read.units("lower", "0"), upper=upper)


def usage_to_dict(usage: Usage | None) -> dict[str, int] | None:
    """Token counts as plain data."""
    return None if usage is None else {each.name: getattr(usage, each.name) for each in fields(Usage)}


def usage_of(value: Any) -> Usage:
    """The way back.

    Raises:
        ConfigError: as above.
    """
    read = Fields(value, "usage")
    return Usage(**{each.name: read.integer(each.name, 0) for each in fields(Usage)})


def text_of_bytes(value: bytes | None) -> str | None:
    """Bytes as base64 text."""
    return None if value is None else base64.b64encode(value).decode("ascii")


def bytes_of(value: Any) -> bytes:
    """The way back.

    Raises:
        ConfigError: not base64.
    """
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise bad_receipt("kept bytes are no base64") from None
