"""The verdict on one reply (0g-direct §5.5): is this signed, by the right key, over exactly these bytes?

`examine` is pure. `verify` fetches what it needs through two callables and reads the chain record again before it
accuses: cached evidence may confirm, never condemn.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zg_core.crypto import SignatureError, recover_personal, same_address, sha256_hex
from zg_core.errors import ChainError
from zg_core.jsontext import parse_json
from zg_core.types import Kind
from zg_core.verify.schemes import gojson
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from zg_core.exchange import Exchange
    from zg_core.types import Service
    from zg_core.verify.replay import ReplayGuard

__all__ = ["MalformedSignature", "SignatureDocument", "SignedText", "examine", "parse_signed_text", "verify"]

_HASH = re.compile(r"[0-9a-f]{64}")
ADAPTER_PREFIX = "ft-"  # adapters fine-tuned on the model of a provider (0g-direct §8)


class MalformedSignature(ValueError):
    """A signature document or signed text does not have the form that its kind of service signs."""


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
            MalformedSignature: not an object with text fields ``text`` and ``signature``.
        """
        try:
            value = parse_json(body)
        except (ValueError, RecursionError):
            raise MalformedSignature("not JSON") from None
        if not isinstance(value, dict):
            raise MalformedSignature("not an object")
        fields = {name: value.get(name) or "" for name in cls.__slots__}
        if not all(isinstance(field, str) for field in fields.values()) or not fields["text"]:
            raise MalformedSignature("a field is missing or no text")
        if not all(field.isascii() for field in fields.values()):  # receipts repeat them (0g-direct §5.1: ASCII)
            raise MalformedSignature("a field is not ASCII")
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class SignedText:
    """A signed text taken apart (0g-direct §5.3)."""

    request_sha256: str
    response_sha256: str
    provider_identity: str = ""
    tls_fingerprint: str = ""


def _pair(parts: list[str], _: SignatureDocument) -> SignedText:
    return SignedText(*parts)


def _routing_proof(parts: list[str], document: SignatureDocument) -> SignedText:
    request, response, provider_type, identity, fingerprint = parts
    if provider_type != "centralized" or not identity or _HASH.fullmatch(fingerprint) is None:
        raise MalformedSignature("not a routing proof")
    said = (document.provider_type, document.provider_identity, document.tls_cert_fingerprint)
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
    if len(parts) != count or any(_HASH.fullmatch(part) is None for part in parts[:2]):
        raise MalformedSignature(f"{len(parts)} fields where {kind} signs {count}")
    return read(parts, document)


def examine(
    exchange: Exchange, service: Service, document: SignatureDocument, *, guard: ReplayGuard | None = None
) -> Verdict:
    """The verdict for one chain record, without I/O.

    Args:
        exchange: A complete exchange.
        service: The chain record to measure against; its kind must be one that signs.
        document: The provider's signature document.
        guard: Knows the requests that were ours; without it, no replay is recognised by its request.
    """
    verdict = Verdict(
        Status.FAILED,
        kind=service.kind,
        expected_signer=service.signer,
        signed_text=document.text[:4096],
        signature=document.signature[:132],
        response_sha256=exchange.response_sha256,
        request_sha256=exchange.request_sha256,
    )
    try:
        recovered = recover_personal(document.text, document.signature)
    except SignatureError:
        return replace(verdict, reason=Reason.MALFORMED)
    verdict = replace(verdict, recovered_signer=recovered)
    if not service.signer or not same_address(recovered, service.signer):
        return replace(verdict, reason=Reason.SIGNER_MISMATCH)
    if not service.acknowledged:
        return replace(verdict, reason=Reason.SIGNER_NOT_ACKNOWLEDGED)
    try:
        signed = parse_signed_text(document, service.kind)
    except MalformedSignature:
        return replace(verdict, reason=Reason.MALFORMED)
    verdict = replace(
        verdict,
        signed_request_sha256=signed.request_sha256,
        signed_response_sha256=signed.response_sha256,
        provider_identity=signed.provider_identity,
        tls_fingerprint=signed.tls_fingerprint,
    )
    if signed.response_sha256 != exchange.response_sha256:
        return replace(verdict, reason=Reason.CONTENT_MISMATCH)
    if exchange.replayed:
        return replace(verdict, reason=Reason.REPLAYED)
    binding = _bind(exchange, service, signed.request_sha256)
    verdict = replace(verdict, binding=binding)
    if binding is not Binding.UNKNOWN:
        return replace(verdict, status=Status.VERIFIED)
    if guard is not None and guard.was_sent(service.provider, signed.request_sha256):
        return replace(verdict, reason=Reason.REPLAYED)
    return replace(verdict, status=Status.RESPONSE_BOUND, reason=Reason.REQUEST_UNKNOWN)


async def verify(
    exchange: Exchange,
    service: Service,
    *,
    fetch: Callable[[tuple[str, ...]], Awaitable[bytes | None]],
    reread: Callable[[], Awaitable[Service]],
    guard: ReplayGuard | None = None,
) -> Verdict:
    """The verdict on `exchange`, every row of the verdict table included.

    Args:
        exchange: What was sent and received.
        service: The chain record as it was known before the call.
        fetch: Gets the signature document, given the ids it may be stored under, likeliest first, retries included;
            None when there is none to be had.
        reread: Reads the chain record again; raises `ChainError` when it cannot.
        guard: Knows the requests that were ours.
    """
    blank = Verdict(
        Status.UNAVAILABLE,
        kind=service.kind,
        expected_signer=service.signer,
        request_sha256=exchange.request_sha256,
        response_sha256=exchange.response_sha256,
    )
    if service.kind is Kind.STANDARD:
        return replace(blank, status=Status.NOT_VERIFIABLE, reason=Reason.UNSIGNED_SERVICE)
    if not exchange.complete:
        return replace(blank, reason=Reason.INCOMPLETE)
    if exchange.replayed:
        return replace(blank, status=Status.FAILED, reason=Reason.REPLAYED)
    if not exchange.chat_ids:
        return replace(blank, reason=Reason.NO_CHAT_ID)
    body = await fetch(exchange.chat_ids)
    if body is None:
        return replace(blank, reason=Reason.NO_SIGNATURE)
    try:
        document = SignatureDocument.parse(body)
    except MalformedSignature:
        return replace(blank, status=Status.FAILED, reason=Reason.MALFORMED)
    verdict = examine(exchange, service, document, guard=guard)
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
    return examine(exchange, fresh, document, guard=guard)


def _bind(exchange: Exchange, service: Service, signed: str) -> Binding:
    if signed == exchange.request_sha256:
        return Binding.EXACT
    if any(sha256_hex(candidate) == signed for candidate in rewrites(exchange.request, service)):
        return Binding.REWRITTEN
    return Binding.UNKNOWN


def rewrites(request: bytes, service: Service) -> Iterator[bytes]:
    """The forms in which a provider is documented to forward `request` (0g-direct §4.3, §5.5).

    All are re-marshalled by Go: as it is, with ``stream_options.include_usage``, with the provider's own model name,
    with ``max_tokens`` and ``max_completion_tokens`` exchanged, and combinations of these.
    """
    try:
        payload = json.loads(request, parse_int=float)  # as Go reads them, -0 included
    except (ValueError, RecursionError):
        return
    if not isinstance(payload, dict):
        return
    for named in (payload, *({**payload, "model": name} for name in _other_names(service, payload.get("model")))):
        for tokens in _token_forms(named):
            for form in _stream_forms(tokens):
                try:
                    yield gojson.marshal(form)
                except (ValueError, RecursionError):
                    return


def _other_names(service: Service, asked: object) -> list[str]:
    """What the provider may call the model that was asked for; never the name of another model that it serves, too."""
    if asked != service.model and (service.multi_model or str(asked).startswith(ADAPTER_PREFIX)):
        return []
    canonical = service.info.get("CanonicalID") or service.info.get("canonicalId")
    return [name for name in (service.model, canonical) if isinstance(name, str) and name != asked]


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
