"""The verdict on one reply (0g-direct §5.5): is this signed, by the right key, over exactly these bytes?

`examine` is pure. `verify` fetches what it needs through two callables and reads the chain record again before it
accuses: cached evidence may confirm, never condemn.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from zg_core.crypto import SignatureError, recover_personal, same_address, sha256_hex
from zg_core.errors import ChainError
from zg_core.jsontext import parse_json
from zg_core.types import Kind
from zg_core.verify.reach import ADAPTER_PREFIX
from zg_core.verify.schemes import gojson
from zg_core.verify.schemes.evidence import Scheme
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from zg_core.exchange import Exchange
    from zg_core.types import ServiceRecord
    from zg_core.verify.replay import ReplayGuard
    from zg_core.verify.schemes.evidence import Kept

__all__ = [
    "SCHEME",
    "MalformedSignature",
    "NoDocument",
    "SignatureDocument",
    "SignedText",
    "document_of",
    "examine",
    "parse_signed_text",
    "said_in",
    "verify",
]

_HASH = re.compile(r"(?:0x)?([0-9a-f]{64})")
_BOUND = (Binding.EXACT, Binding.REWRITTEN, Binding.RENAMED)
_BARE_SIGNATURE = re.compile(r"[0-9a-fA-F]{130}")


class MalformedSignature(ValueError):
    """A signature document or signed text does not have the form that its kind of service signs."""


class NoDocument(ValueError):
    """What answered in place of a signature document is none: a gateway's page, an error object, half of one."""


@dataclass(frozen=True, slots=True)
class SignatureDocument:
    """The body of ``GET …/signature/{chat id}`` (0g-direct §5.1). `signing_address` is left out: it proves nothing."""

    text: str
    signature: str
    provider_type: str = ""
    provider_identity: str = ""
    tls_cert_fingerprint: str = ""

    @classmethod
    def parse(cls, body: bytes) -> SignatureDocument:
        """Read the JSON body.

        Raises:
            NoDocument: not an object with ``text`` and ``signature`` that are text: whatever answered, it says nothing.
            MalformedSignature: it is one, and another of its fields is no text, or one is not ASCII.
        """
        try:
            value = said_in(body)
        except (ValueError, RecursionError):
            raise NoDocument("not JSON") from None
        if not isinstance(value, dict):
            raise NoDocument("not an object")
        if not (isinstance(value.get("text"), str) and value["text"] and isinstance(value.get("signature"), str)):
            raise NoDocument("no text, or no signature")
        fields = [value.get(name) or "" for name in cls.__slots__]
        if _BARE_SIGNATURE.fullmatch(fields[1]):
            fields[1] = f"0x{fields[1]}"
        for field in fields:
            if not isinstance(field, str):
                raise MalformedSignature("a field is no text")
            if not field.isascii():  # receipts repeat them (0g-direct §5.1: ASCII)
                raise MalformedSignature("a field is not ASCII")
        return cls(*fields)


@lru_cache(maxsize=32)
def said_in(body: bytes) -> Any:
    """What a document says beside its signature, parsed once for all who read it; nobody changes it.

    Raises:
        ValueError, RecursionError: as `parse_json`.
    """
    return parse_json(body)


@lru_cache(maxsize=32)
def document_of(body: bytes) -> SignatureDocument:
    """`SignatureDocument.parse`, once for who fetches a document and who reads it."""
    return SignatureDocument.parse(body)


class SignedText(NamedTuple):
    """A signed text taken apart (0g-direct §5.3)."""

    request_sha256: str
    response_sha256: str
    provider_identity: str = ""
    tls_fingerprint: str = ""


def _pair(parts: list[str], _: SignatureDocument) -> SignedText:
    return SignedText(*parts)


def _routing_proof(parts: list[str], document: SignatureDocument) -> SignedText:
    request, response, provider_type, identity, fingerprint = parts
    fingerprint = _hash(fingerprint)
    if provider_type != "centralized" or not identity or not fingerprint:
        raise MalformedSignature("not a routing proof")
    said = (document.provider_type, document.provider_identity, _hash(document.tls_cert_fingerprint))
    if said != (provider_type, identity, fingerprint):
        raise MalformedSignature("the document says other routing facts than its signed text")
    return SignedText(request, response, identity, fingerprint)


# One entry for each form of signed text: how many fields, and how they are read. Images, speech and sealed replies
# are further entries.
_FORMS: Mapping[Kind, tuple[int, Callable[[list[str], SignatureDocument], SignedText]]] = {
    Kind.TEE_ML: (2, _pair),
    Kind.TEE_ML_SEPARATED: (2, _pair),
    Kind.TEE_TLS: (5, _routing_proof),
}


def parse_signed_text(document: SignatureDocument, kind: Kind) -> SignedText:
    """Take the signed text of `document` apart as a service of `kind` signs it.

    Raises:
        MalformedSignature: another number of fields, a field that is no hash, or contradicting routing facts.
    """
    count, read = _FORMS[kind]
    parts = document.text.split(":")
    if len(parts) != count or not (request := _hash(parts[0])) or not (response := _hashes(parts[1])):
        raise MalformedSignature(f"{len(parts)} fields where {kind} signs {count}")
    return read([request, response, *parts[2:]], document)


def _hashes(text: str) -> str:
    """One hash, or those of several images with commas between them (services §1.2); "" if one is none."""
    if "," not in text:
        return _hash(text)
    found = [_hash(part) for part in text.split(",")]
    return ",".join(found) if all(found) else ""


def _hash(text: str) -> str:
    """A hash in the one form that is compared, without 0x; "" if it is none."""
    found = _HASH.fullmatch(text)
    return "" if found is None else found[1]


def examine(
    exchange: Exchange,
    service: ServiceRecord,
    document: SignatureDocument,
    *,
    guard: ReplayGuard | None = None,
    accept_models: Mapping[str, str] | None = None,
    record_age: int | None = None,
) -> Verdict:
    """The verdict for one chain record, without I/O.

    Args:
        exchange: A complete exchange.
        service: The chain record to measure against; its kind must be one that signs.
        document: The provider's signature document.
        guard: Knows the requests that were ours; without it, no replay is recognised by its request.
        accept_models: Renames that the user accepts, asked to forwarded.
        record_age: Of the record, for the verdict.
    """
    facts: dict[str, Any] = {
        "record_age": record_age,
        "kind": service.kind,
        "expected_signer": service.signer,
        "signed_text": document.text[:4096],
        "signature": document.signature[:132],
        "response_sha256": exchange.response_sha256,
        "request_sha256": exchange.request_sha256,
    }
    try:
        recovered = recover_personal(document.text, document.signature)
    except SignatureError:
        return Verdict(Status.FAILED, Reason.MALFORMED, **facts)
    facts["recovered_signer"] = recovered
    if not service.signer or not same_address(recovered, service.signer):
        return Verdict(Status.FAILED, Reason.SIGNER_MISMATCH, **facts)
    if not service.acknowledged:
        return Verdict(Status.FAILED, Reason.SIGNER_NOT_ACKNOWLEDGED, **facts)
    try:
        signed = parse_signed_text(document, service.kind)
    except MalformedSignature:
        return Verdict(Status.FAILED, Reason.MALFORMED, **facts)
    facts |= {
        "signed_request_sha256": signed.request_sha256,
        "signed_response_sha256": signed.response_sha256,
        "provider_identity": signed.provider_identity,
        "tls_fingerprint": signed.tls_fingerprint,
    }
    # Where the model is inside, images are signed one by one, and not the bytes around them (services §1.2).
    inside = exchange.images if service.kind is Kind.TEE_ML else ()
    if signed.response_sha256 != (",".join(inside) or exchange.response_sha256):
        return Verdict(Status.FAILED, Reason.CONTENT_MISMATCH, **facts)
    if exchange.replayed:
        return Verdict(Status.FAILED, Reason.REPLAYED, **facts)
    binding, form = _bind(exchange, service, signed.request_sha256, accept_models or {})
    facts |= {
        "binding": binding, "asked_model": form.asked, "signed_model": form.signed, "signed_adapter": form.adapter
    }  # fmt: skip
    accepted = binding is Binding.RENAMED and (accept_models or {}).get(form.asked) == form.signed
    if binding in (Binding.EXACT, Binding.REWRITTEN) or accepted:
        return Verdict(Status.VERIFIED, **facts)
    if binding is Binding.RENAMED:
        return Verdict(Status.RESPONSE_BOUND, Reason.MODEL_RENAMED, **facts)
    if guard is not None and guard.was_sent(service.provider, signed.request_sha256):
        return Verdict(Status.FAILED, Reason.REPLAYED, **facts)
    return Verdict(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN, **facts)


async def verify(
    exchange: Exchange,
    service: ServiceRecord,
    *,
    fetch: Callable[[tuple[str, ...]], Awaitable[bytes | None]],
    reread: Callable[[], Awaitable[ServiceRecord]],
    guard: ReplayGuard | None = None,
    accept_models: Mapping[str, str] | None = None,
    record_age: int | None = None,
) -> Verdict:
    """The verdict on `exchange`, every row of the verdict table included.

    Args:
        exchange: What was sent and received.
        service: The chain record as it was known before the call.
        fetch: Gets the signature document, given the ids it may be stored under, likeliest first, retries included;
            None when there is none to be had.
        reread: Reads the chain record again; raises `ChainError` when it cannot.
        guard: Knows the requests that were ours.
        accept_models: Renames that the user accepts, asked to forwarded.
        record_age: Of `service`, for the verdict.
    """

    def without(status: Status, reason: Reason) -> Verdict:
        return Verdict(
            status,
            reason,
            service.kind,
            expected_signer=service.signer,
            request_sha256=exchange.request_sha256,
            response_sha256=exchange.response_sha256,
            record_age=record_age,
        )

    if service.kind is Kind.STANDARD:
        return without(Status.NOT_VERIFIABLE, Reason.UNSIGNED_SERVICE)
    if not exchange.complete:
        return without(Status.UNAVAILABLE, Reason.INCOMPLETE)
    if exchange.known_id:
        return without(Status.FAILED, Reason.REPLAYED)
    if not (chat_ids := exchange.chat_ids):
        return without(Status.UNAVAILABLE, Reason.NO_CHAT_ID)
    body = await fetch(chat_ids)
    if body is None:
        return without(Status.UNAVAILABLE, Reason.NO_SIGNATURE)
    try:
        document = document_of(body)
    except NoDocument:
        return without(Status.UNAVAILABLE, Reason.NO_SIGNATURE)
    except MalformedSignature:
        return without(Status.FAILED, Reason.MALFORMED)
    ways: dict[str, Any] = {"guard": guard, "accept_models": accept_models, "record_age": record_age}
    verdict = examine(exchange, service, document, **ways)
    if verdict.reason not in (Reason.SIGNER_MISMATCH, Reason.SIGNER_NOT_ACKNOWLEDGED, Reason.MALFORMED):
        return verdict
    if verdict.reason is Reason.MALFORMED and not verdict.recovered_signer:
        return verdict  # not a signature at all, whatever the record says
    try:
        fresh = await reread()
    except ChainError:
        return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
    if fresh.kind is Kind.STANDARD:
        return verdict
    return examine(exchange, fresh, document, **ways)


class Form(NamedTuple):
    """One form in which a provider may forward a request; the names are given where the model is renamed in it.

    Attributes:
        body: Its bytes.
        asked: The model that was asked for.
        signed: The model that is named in it instead.
        adapter: The adapter that it names beside that (``lora_adapter_name``).
    """

    body: bytes
    asked: str = ""
    signed: str = ""
    adapter: str = ""


def _bind(exchange: Exchange, service: ServiceRecord, signed: str, accepted: Mapping[str, str]) -> tuple[Binding, Form]:
    if signed == exchange.request_sha256:
        return Binding.EXACT, Form(exchange.request)
    for form in rewrites(exchange.request, service, accepted):
        if sha256_hex(form.body) == signed:
            return Binding.RENAMED if form.signed else Binding.REWRITTEN, form
    return Binding.UNKNOWN, Form(b"")


def rewrites(request: bytes, service: ServiceRecord, accepted: Mapping[str, str] | None = None) -> Iterator[Form]:
    """The forms in which a provider is documented to forward `request` (0g-direct §4.3, §5.5).

    All are re-marshalled by Go: as it is, with ``stream_options.include_usage``, with ``max_tokens`` and
    ``max_completion_tokens`` exchanged, under another name of the model, and combinations of these. Names are those on
    chain, and those that the user accepts; what a provider lists is no ground.
    """
    try:
        payload = json.loads(request, parse_int=float)  # as Go reads them, -0 included
    except (ValueError, RecursionError):
        return
    if not isinstance(payload, dict):
        return
    for form, named in _names(payload, service, accepted or {}):
        for tokens in _token_forms(named):
            for whole in _stream_forms(tokens):
                try:
                    yield form._replace(body=gojson.marshal(whole))
                except (ValueError, RecursionError):
                    return


def _names(
    payload: dict[str, Any], service: ServiceRecord, accepted: Mapping[str, str]
) -> Iterator[tuple[Form, dict[str, Any]]]:
    """The request under its own name first, then under every other that the provider may have put into it."""
    same, asked = Form(b""), payload.get("model")
    yield same, payload
    if asked is None:  # a provider then puts its own name in, which is what was asked for
        yield same, {**payload, "model": service.model}
    if not isinstance(asked, str):
        return
    canonical = service.info.get("CanonicalID") or service.info.get("canonicalId")
    for name in dict.fromkeys((service.model, canonical, accepted.get(asked))):
        if not isinstance(name, str) or name in ("", asked):
            continue
        renamed = {**payload, "model": name}
        yield Form(b"", asked, name), renamed
        if asked.startswith(ADAPTER_PREFIX):
            yield Form(b"", asked, name, asked), {**renamed, "lora_adapter_name": asked}


def _token_forms(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield payload
    for old, new in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
        if old in payload and new not in payload:
            yield {(new if key == old else key): value for key, value in payload.items()}


def _stream_forms(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield payload
    options = payload.get("stream_options")
    if payload.get("stream") is True and not (isinstance(options, dict) and "include_usage" in options):
        kept = options if isinstance(options, dict) else {}
        yield {**payload, "stream_options": {**kept, "include_usage": True}}


def remade(kept: Kept) -> Verdict:
    """The verdict again: a key on chain signed two hashes, and for TeeTLS a routing proof (0g-direct §5.3)."""
    evidence = kept.evidence
    parts = evidence.signed_text.split(":")
    routing = parts[2:] if len(parts) == 5 else []
    document = SignatureDocument(evidence.signed_text, evidence.signature, *routing)
    return examine(kept.exchange, kept.record, document, accept_models=kept.accept_models)


def assumed(record: ServiceRecord, kept: Kept) -> ServiceRecord:
    """The record with the key that the verdict names: it may have been read again after the call (verdict table)."""
    signer = kept.claimed.expected_signer
    if not signer or (same_address(signer, record.signer) and kept.claimed.kind is record.kind):
        return record
    if record.kind is not Kind.TEE_ML_SEPARATED:
        return replace(record, tee_signer=signer, acknowledged=True)
    info = json.dumps({**record.info, "TargetTeeAddress": signer})
    return replace(record, additional_info=info, acknowledged=True)


def vouches(kept: Kept, verdict: Verdict) -> Iterator[str]:
    """The bytes of the response, and those of the request where the signature is for them.

    Of images, their hashes: what stands around them is not signed.
    """
    images = bool(kept.exchange.images) and ",".join(kept.exchange.images) == verdict.signed_response_sha256
    yield from ("evidence.facts",) if images else ("response.sha256", "response.complete")
    if kept.response is not None and not images:
        yield from ("response.size", "response.body")
    sent = bool(kept.exchange.request)
    if verdict.binding is Binding.EXACT or (verdict.binding in _BOUND and sent):
        yield from ("request.sha256", "verdict.request_sha256")
    if verdict.binding in _BOUND and sent:
        yield from ("request.size", "request.body")


SCHEME = Scheme(remade, vouches, assumed, on_chain=True)
