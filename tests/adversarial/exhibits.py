"""Reports of enclaves, recorded and made up, and an oracle of its own for what a changed one still shows.

The oracle reads a report anew, with the standard library and nothing of the code under test, and says level by level
what may come of it. What a report says at a level is what is signed or hashed there, whatever its spelling.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.zg_core.verify.scene import service
from zg_core.localnet.base.keys import Key
from zg_core.localnet.hardware.attestation import Enclave, os_image
from zg_core.localnet.hardware.platform import Maker
from zg_core.types import Kind
from zg_core.verify.attestation import (
    AttestationOptions,
    AttestationReport,
    Collateral,
    Evidence,
    MalformedEvidence,
    Outcome,
    examine,
)

PASS, FAIL, UNAVAILABLE = Outcome.PASS, Outcome.FAIL, Outcome.UNAVAILABLE
BINDING, DCAP, CONFIG = LEVELS = (1, 2, 3)
MADE_UP = ("legacy", "v1", "model")
RECORDED = ("broker_attestation_report", "llm_attestation_report", "attestation_report")
RECORDED_SIGNERS = (
    "0xDC1A4da6BdCD90c20d7FF53a6cDc11fBf0E2303C",
    "0x8a4D4984CF370210dFEeFC773FAf9bb0edE97cC0",
    "0x894df56e2817f38b9c1a2656a30ca91755b0885f",
)
# What both dstack reports measured: the firmware, and the registers 1 and 2.
RECORDED_IMAGE = (
    "b24d3b24e9e3c16012376b52362ca09856c4adecb709d5fac33addf1c47e193da075b125b6c364115771390a5461e217:"
    "6e1afb7464ed0b941e8f5bf5b725cf1df9425e8105e3348dca52502f27c453f3018a28b90749cf05199d5a17820101a7:"
    "54a76ae236a9ab1699379c54d70252cd8e6d20ae398fd8cdb240e39bf3a51074aeeee255a375772b8b431421a5435a0d"
)
RUNTIME = 0x08000001
Shown = dict[int, set[Outcome]]


@dataclass(frozen=True)
class Exhibit:
    """One enclave's report in its parts, and what it takes to examine it.

    Attributes:
        quote: The quote's bytes.
        log: The event log as it stands in the served JSON; None: the report has none.
        compose: The same of ``tcb_info``, with the compose file in it.
        signer: The key on chain.
        collateral: Of its platform, if it is at hand.
    """

    name: str
    quote: bytes
    log: bytes | None
    compose: bytes | None
    signer: str
    collateral: Collateral | None
    options: AttestationOptions
    now: datetime

    @property
    def body(self) -> bytes:
        """The report as it would be served, without what nobody reads."""
        if self.log is None or self.compose is None:  # AliCloud's form
            inner = json.dumps({"quote": base64.b64encode(self.quote).decode()}).encode()
            return json.dumps({"evidence": base64.b64encode(inner).decode()}).encode()
        quote = self.quote.hex().encode()
        return b'{"quote":"%s","event_log":%s,"tcb_info":%s}' % (quote, self.log, self.compose)

    def with_part(self, part: str, changed: bytes) -> Exhibit:
        """With another quote, log or compose."""
        return replace(self, **{part: changed})

    def without_collateral(self) -> Exhibit:
        """The same, where level 2 is not looked at: that depends on the quote alone, and takes the longest."""
        return replace(self, collateral=None)

    def examined(self, body: bytes | None = None) -> AttestationReport:
        """What the code under test says, up to level 3."""
        try:
            evidence: Any = Evidence.parse(self.body if body is None else body)
        except MalformedEvidence as error:
            evidence = error
        return examine(
            service(Kind.TEE_ML, tee_signer=self.signer),
            {"broker": evidence},
            level=CONFIG,
            now=self.now,
            options=self.options,
            collateral={} if self.collateral is None else {"broker": self.collateral},
        )


@cache
def made_up(layout: str) -> Exhibit:
    """An enclave of made-up hardware that names its key in this layout."""
    now = 1_780_000_000
    maker, key = Maker(now), Key("0x" + "11" * 32)
    enclave = Enclave(lambda: maker)
    if layout == "model":
        body = enclave.model_report(key, bytes(range(32)))
    else:
        body = json.loads(enclave.quote_body(key, legacy=layout == "legacy", encryption_key=bytes(range(1, 33))))
    parts = _parts(body, key.address, Collateral.parse(enclave.platform.collateral))
    options = AttestationOptions(root=maker.root, os_images=[os_image()])
    return Exhibit(layout, *parts, options=options, now=datetime.fromtimestamp(now, UTC))


@cache
def recorded(directory: Path, name: str) -> Exhibit:
    """A real report; the statuses that these two platforms really have are accepted."""
    body = json.loads((directory / f"{name}.json").read_bytes())
    signer = dict(zip(RECORDED, RECORDED_SIGNERS, strict=True))[name]
    options = AttestationOptions(statuses=("UpToDate", "OutOfDate"), os_images=[RECORDED_IMAGE])
    now = datetime(2026, 3, 1, tzinfo=UTC)
    if "evidence" in body:
        quote = base64.b64decode(json.loads(base64.b64decode(body["evidence"]))["quote"])
        options = replace(options, os_images=frozenset({_whole(quote).image}))
        return Exhibit(name, quote, None, None, signer, None, options, now)
    collateral = Collateral.read(directory / "tdx_collateral_90C06F000000_2026-03.json")
    return Exhibit(name, *_parts(body, signer, collateral), options=options, now=now)


def _parts(body: dict[str, Any], signer: str, collateral: Collateral) -> tuple[Any, ...]:
    tcb = body.get("tcb_info") or body["info"]["tcb_info"]
    compose = (json.loads(tcb) if isinstance(tcb, str) else tcb)["app_compose"]
    log, tcb_info = json.dumps(body["event_log"]), json.dumps(json.dumps({"app_compose": compose}))
    return bytes.fromhex(body["quote"]), log.encode(), tcb_info.encode(), signer, collateral


# the oracle


class NoReportError(Exception):
    """These bytes are no quote of the form that is promised."""


WRONG = (NoReportError, ValueError, TypeError, KeyError, AttributeError)


def shown(honest: Exhibit, body: bytes) -> Shown:
    """The outcomes that may come of `body` served in place of the report of `honest`, by level."""
    try:
        value = json.loads(body.decode())
        text, unhex = _text_of_quote(value)
    except WRONG:  # nothing that speaks of an enclave
        return {level: {UNAVAILABLE} for level in LEVELS}
    try:
        quote = _whole(unhex(text))
    except WRONG:
        return {level: {FAIL} for level in LEVELS}
    try:
        events, compose = _measured(value)
    except WRONG:  # unsigned, and in no form that is known
        events, compose = None, None
    hardware = {UNAVAILABLE} if honest.collateral is None else _hardware(honest.quote, quote.raw)
    known = quote.image in (honest.options.os_images or ())
    config = _config(quote, events, compose) if known else FAIL
    return {BINDING: {_binding(quote, honest.signer)}, DCAP: hardware, CONFIG: {config}}


def _text_of_quote(value: Any) -> tuple[str, Any]:
    """How the quote is written, and what reads that."""
    if "quote" not in value and "evidence" in value:
        inner = json.loads(base64.b64decode(_text(value["evidence"]), validate=True))
        return _text(inner["quote"]), lambda text: base64.b64decode(text, validate=True)
    return _text(value.get("quote") or value.get("intel_quote")), _unhex


def _text(value: Any) -> str:
    if not value or not isinstance(value, str):
        raise NoReportError
    return value


def _unhex(text: Any) -> bytes:
    return bytes.fromhex(re.sub(r"\A0[xX]", "", text))


def _measured(value: Any) -> tuple[Any, str | None]:
    if "event_log" not in value:
        return None, None
    log = _unfolded(value.get("event_log"))
    tcb = _unfolded(value.get("tcb_info") or (value.get("info") or {}).get("tcb_info"))
    compose = tcb.get("app_compose") if isinstance(tcb, dict) else None
    events = None if log is None else [_event(each) for each in log]
    return events, compose if isinstance(compose, str) else None


def _unfolded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


@dataclass(frozen=True)
class Quote:
    """A quote cut where its version says."""

    raw: bytes
    report: bytes

    @property
    def registers(self) -> bytes:
        return self.report[328:520]

    @property
    def config_id(self) -> bytes:
        return self.report[184:232]

    @property
    def image(self) -> tuple[str, str, str]:
        return self.report[136:184].hex(), self.registers[48:96].hex(), self.registers[96:144].hex()


def _whole(quote: bytes) -> Quote:
    version, begin, size = _number(quote[:2]), 48, 584
    if version == 5:
        begin, size = 54, _number(quote[50:54])
    end = begin + size
    right = version == 4 or (version == 5 and 2 <= _number(quote[48:50]) <= 4 and size >= 584)
    if not right or _number(quote[4:8]) != 0x81 or len(quote) < end + 4 + _number(quote[end : end + 4]):
        raise NoReportError
    if len(quote) < end + 4:
        raise NoReportError
    return Quote(quote, quote[begin:end])


def _event(entry: Any) -> tuple[int, int, bytes, str, bytes]:
    register, kind, name = entry["imr"], entry["event_type"], entry.get("event") or ""
    digest, payload = _unhex(entry.get("digest") or ""), _unhex(entry.get("event_payload") or "")
    if type(register) is not int or type(kind) is not int or register not in range(4) or kind not in range(2**32):
        raise NoReportError
    if not digest and kind == RUNTIME:
        digest = _digests(name, payload)[int(entry.get("version") == 2)]
    if len(digest) != 48 or name.encode() is None:  # half a character raises
        raise NoReportError
    return register, kind, digest, name, payload


def _digests(name: str, payload: bytes) -> list[bytes]:
    """Of one of dstack's events: joined bytes, or canonical JSON."""
    written = json.dumps({"type": RUNTIME, "payload": payload.hex(), "name": name}, sort_keys=True, ensure_ascii=False)
    # without the blanks that stand outside of texts
    canonical = re.sub(r'("(?:[^"\\]|\\.)*")|\s+', lambda found: found[1] or "", written)
    forms = (RUNTIME.to_bytes(4, "little") + b":" + name.encode() + b":" + payload, canonical.encode())
    return [hashlib.sha384(form).digest() for form in forms]


def _binding(quote: Quote, signer: str) -> Outcome:
    return PASS if not quote.report[120] & 1 and _signer(quote.report[520:584]) == signer.lower() else FAIL


def _signer(data: bytes) -> str | None:
    if re.fullmatch(rb"0x[0-9a-fA-F]{40}", data[:42]) and not any(data[42:]):
        return data[:42].decode().lower()
    if not any(data[20:32]):
        return "0x" + data[:20].hex()
    return "0x" + data[32:52].hex() if data[52:] == b"\0\0\0\1" + bytes(8) else None


def _hardware(honest: bytes, quote: bytes) -> set[Outcome]:
    if quote == honest:
        return {PASS}
    # Another frame or spelling, and another root in the chain (a verifier has that from elsewhere), may be minded.
    return {PASS, FAIL} if _signed(quote) == _signed(honest) else {FAIL}


_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def _signed(quote: bytes) -> Any:
    """What the chain of signatures covers: of a version 4 quote, all but three sizes, a type, and the chain's end."""
    blocks = [_der(text) for text in _PEM.findall(quote[1258:])]
    certificates = [block for block in blocks if block is not None][:2]  # what is none may stand between them
    return quote[:632], quote[636:764], quote[770:1254], certificates


def _der(text: bytes) -> bytes | None:
    try:
        der = base64.b64decode(text)
        x509.load_der_x509_certificate(der)
    except x509.InvalidVersion:
        return der
    except ValueError:
        return None
    return der


def _config(quote: Quote, events: Any, compose: str | None) -> Outcome:
    if events is None or compose is None:
        return UNAVAILABLE
    registers = [bytes(48)] * 4
    measured, foreign = [], False
    for register, kind, digest, name, payload in events:
        registers[register] = hashlib.sha384(registers[register] + digest).digest()
        if register != 3:
            continue
        foreign |= kind != RUNTIME
        if kind == RUNTIME and digest not in _digests(name, payload):
            return FAIL
        measured += [payload] if name == "compose-hash" else []
    if b"".join(registers) != quote.registers:
        return FAIL
    if foreign:
        return UNAVAILABLE
    known = hashlib.sha256(compose.encode("utf-8", "surrogatepass")).digest()
    if measured != [known]:
        return FAIL
    if quote.config_id[0] != 1:
        return UNAVAILABLE
    return PASS if quote.config_id == (b"\1" + known).ljust(48, b"\0") else FAIL
