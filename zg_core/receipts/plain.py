"""Parts of a receipt as plain data, and back: what a stranger wrote is checked field by field."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.money import Amount, Fee
from zg_core.types import Kind, ServiceRecord, Usage
from zg_core.verify.schemes.evidence import Evidence
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "IN_EVIDENCE",
    "Fields",
    "bytes_of",
    "evidence_of",
    "fee_of_dict",
    "fee_to_dict",
    "is_record",
    "object_of",
    "record_of",
    "record_to_dict",
    "service_of",
    "service_to_dict",
    "text_of_bytes",
    "verdict_of",
]

IN_EVIDENCE = ("signed_text", "signature", "recovered_signer")
"""Fields of a verdict that a receipt keeps as its evidence."""

_MOST_DIGITS = 78  # of a uint256
_PRICES = ("input_price", "output_price")
_RECORD = tuple(each.name for each in fields(ServiceRecord) if each.compare)
_COUNTS = tuple(each.name for each in fields(Usage))
_TOKENS = frozenset(name for name in _COUNTS if name.endswith("tokens"))
_COUNTED = attrgetter(*_COUNTS)
DIRECT = "direct"
"""The backend whose services are records of 0G's chain."""


@dataclass(frozen=True, slots=True)
class Described:
    """A service of another backend than 0G's own, as a receipt describes it.

    Attributes:
        provider: Its id.
        model: The model.
        url: Where it was asked.
        kind: What stands behind its word.
        certificate_sha256: The certificate that it had to present.
        record: What its backend has read of it.
    """

    provider: str
    model: str
    url: str
    kind: Kind
    certificate_sha256: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


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

    def object(self, name: str) -> Fields:
        """The fields of an object in it."""
        return Fields(self.raw(name), f"{name!r} of {self._what}")

    def optional(self, name: str, read: Any) -> Any:
        """`read` of a field that may be null or missing."""
        return None if self.raw(name, None) is None else read(self.raw(name))


def bad_receipt(what: str) -> ConfigError:
    """The error for data that is no receipt."""
    return ConfigError(f"not a receipt: {what}", code="bad_receipt", hint="see docs/receipts.md for its form")


def record_to_dict(service: ServiceRecord) -> dict[str, Any]:
    """A record of 0G's chain as the chain holds it; prices as decimal text."""
    values = {name: getattr(service, name) for name in _RECORD}
    return values | {name: str(values[name]) for name in _PRICES}


def is_record(value: Mapping[str, Any]) -> bool:
    """Whether plain data has the fields of a record of 0G's chain, and no others."""
    return set(value) == set(_RECORD)


def record_of(value: Any) -> ServiceRecord:
    """The way back.

    Raises:
        ConfigError: a field is missing or of another type (code ``bad_receipt``).
    """
    read = Fields(value, "the service's record")
    return ServiceRecord(
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


def service_to_dict(service: Any, block: int | None) -> dict[str, Any] | None:
    """A service, in words that every backend shares, with its backend's own record; None stays None.

    Args:
        service: A record of 0G's chain, or a service of another backend.
        block: The newest block before it was read.
    """
    if service is None:
        return None
    of_chain = isinstance(service, ServiceRecord)
    return {
        "provider": service.provider,
        "model": service.model,
        "url": service.url,
        "kind": str(service.kind),
        "certificate_sha256": "" if of_chain else service.certificate_sha256,
        "block": block,
        "record": record_to_dict(service) if of_chain else dict(service.record),
    }


def service_of(value: Any, backend: str) -> tuple[Any, int | None]:
    """The way back: the service, and the block. Of 0G's own backend, it is the record on chain.

    Raises:
        ConfigError: a field is missing or of another type (code ``bad_receipt``).
    """
    read = Fields(value, "service")
    block = read.optional("block", lambda _: read.integer("block"))
    if backend == DIRECT:
        return record_of(read.raw("record")), block
    return (
        Described(
            read.text("provider"),
            read.text("model"),
            read.text("url"),
            read.word("kind", Kind),
            read.text("certificate_sha256"),
            object_of(read.raw("record")),
        ),
        block,
    )


def evidence_of(value: Any) -> Evidence:
    """The evidence of a receipt.

    Raises:
        ConfigError: as above.
    """
    read = Fields(value, "evidence")
    return Evidence(
        scheme=read.text("scheme"),
        ids=read.texts("ids"),
        signed_text=read.text("signed_text"),
        signature=read.text("signature"),
        signer=read.text("signer"),
        time=read.optional("time", lambda _: read.integer("time")),
        facts=object_of(read.raw("facts")),
    )


def object_of(value: Any) -> dict[str, Any]:
    """Plain data that has to be an object.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, dict):
        raise bad_receipt(f"an object was expected, not a {type(value).__name__}")
    return value


def verdict_of(value: Any, evidence: Evidence | None = None) -> Verdict:
    """A verdict from `Verdict.to_dict`.

    Args:
        value: The plain data.
        evidence: Of a receipt, which keeps a part of it there.

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
    if evidence is not None:
        said = evidence.signed_text, evidence.signature, evidence.signer
        words |= dict(zip(IN_EVIDENCE, said, strict=True))
    return Verdict(**words)


def fee_to_dict(fee: Fee) -> dict[str, Any]:
    """A fee with every field that it can have; amounts as decimal text."""
    return {"reason": "", "lower": str(fee.amount.units), "upper": str(fee.amount.units), **fee.to_dict()}


def fee_of_dict(read: Fields) -> Fee:
    """The fee in a payment.

    Raises:
        ConfigError: as above.
    """
    try:
        amount = Amount(read.units("fee"), currency := read.text("currency"))
    except ConfigError as error:
        raise error if error.code == "bad_receipt" else bad_receipt(f"currency {currency[:40]!r}") from None
    if read.flag("exact"):
        return Fee(amount, exact=True, lower=amount.units, upper=amount.units)
    upper = read.optional("upper", lambda _: read.units("upper"))
    return Fee(amount, exact=False, reason=read.text("reason", ""), lower=read.units("lower", "0"), upper=upper)


def usage_to_dict(usage: Usage | None) -> dict[str, int] | None:
    """What was counted, as plain data: tokens always, other things where there are any."""
    if usage is None:
        return None
    return {name: count for name, count in zip(_COUNTS, _COUNTED(usage), strict=True) if count or name in _TOKENS}


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
