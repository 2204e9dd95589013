"""The reports that providers serve, taken apart. Everything but the quote is unsigned convenience (0g-direct §6.1)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from zg_core.jsontext import parse_json
from zg_core.verify.attestation.events import Event, parse_events
from zg_core.verify.attestation.quote import MalformedEvidence, TdxQuote

__all__ = ["Evidence"]


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
    """

    raw: bytes = field(repr=False)
    quote: TdxQuote = field(repr=False)
    events: tuple[Event, ...] | None = field(default=None, repr=False)
    app_compose: str | None = field(default=None, repr=False)
    nvidia: dict[str, Any] | None = field(default=None, repr=False)
    nonce: str = ""

    @classmethod
    def parse(cls, body: bytes) -> Evidence:
        """Read a broker's quote, a model enclave's report, or an AliCloud report.

        Raises:
            MalformedEvidence: no such JSON, no quote in it, or a part that contradicts its form.
        """
        value = _object(body, "the report")
        if "evidence" in value and "quote" not in value:
            return cls._alicloud(body, value)
        quote = _hex(value.get("quote") or value.get("intel_quote"), "the quote")
        info = value.get("info")
        tcb = value.get("tcb_info") or (info.get("tcb_info") if isinstance(info, dict) else None)
        tcb = _object(tcb, "tcb_info") if isinstance(tcb, str) else tcb
        compose = tcb.get("app_compose") if isinstance(tcb, dict) else None
        nvidia, log = value.get("nvidia_payload"), value.get("event_log")
        nonce = value.get("request_nonce")
        return cls(
            raw=body,
            quote=TdxQuote.parse(quote),
            events=None if log is None else parse_events(_json(log, "the event log") if isinstance(log, str) else log),
            app_compose=compose if isinstance(compose, str) else None,
            nvidia=_nvidia(nvidia),
            nonce=nonce if isinstance(nonce, str) else "",
        )

    @classmethod
    def _alicloud(cls, body: bytes, value: dict[str, Any]) -> Evidence:
        inner = _object(_base64(value["evidence"], "evidence"), "evidence")
        return cls(raw=body, quote=TdxQuote.parse(_base64(inner.get("quote"), "the quote")))


def _nvidia(value: Any) -> dict[str, Any] | None:
    if value is None or value == "":
        return None
    return _object(value, "nvidia_payload") if isinstance(value, str) else value if isinstance(value, dict) else None


def _json(text: str | bytes, what: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        raise MalformedEvidence(f"{what} is not JSON") from None


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    value = _json(text, what)
    if not isinstance(value, dict):
        raise MalformedEvidence(f"{what} is no JSON object")
    return value


def _hex(value: Any, what: str) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, TypeError, ValueError):
        raise MalformedEvidence(f"{what} is missing or not hex") from None


def _base64(value: Any, what: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise MalformedEvidence(f"{what} is missing or not base64") from None
