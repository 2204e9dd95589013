"""The reports that providers serve, taken apart. Everything but the quote is unsigned convenience (0g-direct §6.1)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from zg_core.jsontext import parse_json
from zg_core.verify.attestation.events import Event, parse_events
from zg_core.verify.attestation.quote import MalformedEvidence, NoReport, TdxQuote, unhex

__all__ = ["Evidence"]

# The largest report on record has some 10,000 values; each takes a hundred bytes of memory once it is parsed.
_MOST_VALUES = 200_000


@dataclass(frozen=True)
class Evidence:
    """One report as it was served.

    Attributes:
        raw: The body.
        quote: Its quote.
        events: The event log, None when there is none in a form we know.
        app_compose: dstack's compose JSON, exactly as it is hashed; None when there is none.
        nvidia: The GPU's payload, None when there is none.
        nonce: The nonce that the report says it was asked with, hex; "" when it says none.
        unread: Why event log or compose file are not there though something is in their place, "" otherwise. It says
            nothing against the quote: nobody signed them, and there are forms that are not known here.
    """

    raw: bytes = field(repr=False)
    quote: TdxQuote = field(repr=False)
    events: tuple[Event, ...] | None = field(default=None, repr=False)
    app_compose: str | None = field(default=None, repr=False)
    nvidia: dict[str, Any] | None = field(default=None, repr=False)
    nonce: str = ""
    unread: str = ""

    @classmethod
    def parse(cls, body: bytes) -> Evidence:
        """Read a broker's quote, a model enclave's report, or an AliCloud report.

        Raises:
            NoReport: no such JSON, or no quote in it.
            MalformedEvidence: the quote is none.
        """
        value = _object(body, "the report")
        if "evidence" in value and "quote" not in value:
            return cls._alicloud(body, value)
        quote = _hex(value.get("quote") or value.get("intel_quote"))
        events, compose, unread = None, None, ""
        try:
            events = _events(value.get("event_log"))
            compose = _compose(value)
        except MalformedEvidence as error:
            unread = str(error)
        nonce = value.get("request_nonce")
        return cls(
            raw=body,
            quote=TdxQuote.parse(quote),
            events=events,
            app_compose=compose,
            nvidia=_nvidia(value.get("nvidia_payload")),
            nonce=nonce if isinstance(nonce, str) else "",
            unread=unread,
        )

    @classmethod
    def _alicloud(cls, body: bytes, value: dict[str, Any]) -> Evidence:
        inner = _object(_base64(value["evidence"]), "evidence")
        return cls(raw=body, quote=TdxQuote.parse(_base64(inner.get("quote"))))


def _events(log: Any) -> tuple[Event, ...] | None:
    return None if log is None else parse_events(_json(log, "the event log") if isinstance(log, str) else log)


def _compose(value: dict[str, Any]) -> str | None:
    info = value.get("info")
    tcb = value.get("tcb_info") or (info.get("tcb_info") if isinstance(info, dict) else None)
    tcb = _object(tcb, "tcb_info") if isinstance(tcb, str) else tcb
    compose = tcb.get("app_compose") if isinstance(tcb, dict) else None
    return compose if isinstance(compose, str) else None


def _nvidia(value: Any) -> dict[str, Any] | None:
    try:
        value = _object(value, "nvidia_payload") if isinstance(value, str) and value else value
    except NoReport:
        return None
    return value if isinstance(value, dict) else None


def _json(text: str | bytes, what: str) -> Any:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _MOST_VALUES:
        raise NoReport(f"{what} holds more than {_MOST_VALUES} values")
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        raise NoReport(f"{what} is not JSON") from None


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    value = _json(text, what)
    if not isinstance(value, dict):
        raise NoReport(f"{what} is no JSON object")
    return value


def _hex(value: Any) -> bytes:
    if not value or not isinstance(value, str):
        raise NoReport("it holds no quote")
    try:
        return unhex(value)
    except ValueError:
        raise MalformedEvidence("the quote is not hex") from None


def _base64(value: Any) -> bytes:
    if not value or not isinstance(value, str):
        raise NoReport("it holds no quote")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedEvidence("the quote is not base64") from None
