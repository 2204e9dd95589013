"""What an enclave signs of a sealed exchange: hashes of both parts of every envelope (0g-router §10.7).

Neither a router nor an operator can change a bound byte without breaking it, whatever they rename on the way; and
whoever holds the envelopes can recompute it, without being able to read them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zg_core.crypto import SignatureError, recover_personal, same_address
from zg_core.jsontext import parse_json
from zg_core.sealing.canonical import bindings_of
from zg_core.sse import SSEDecoder
from zg_core.types import Kind
from zg_core.verify.schemes.evidence import Evidence, Scheme
from zg_core.verify.schemes.signed_hashes import (
    MalformedSignature,
    NoDocument,
    SignatureDocument,
    assumed,
    document_of,
    parse_signed_text,
    said_in,
)
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zg_core.sealing.envelopes import SealedRequest
    from zg_core.types import ServiceRecord
    from zg_core.verify.schemes.evidence import Kept

__all__ = ["SCHEME", "Sealed", "evidence_of", "examine", "remade", "signed_text"]

_TEXT = re.compile(r"zg-sig-v1/e2ee-ct(-stream)?:([0-9a-f]{64}):([0-9a-f]{64})")
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What stands for a sealed exchange.

    Attributes:
        request: The binding of the request's envelope, hex.
        response: That of the answer, hex: of its one frame, or of all frames of a stream.
        streamed: Which of both.
        complete: Whether the final frame was there.
    """

    request: str
    response: str
    streamed: bool
    complete: bool = True

    @classmethod
    def of(cls, request: bytes, frames: Sequence[bytes], *, streamed: bool, complete: bool = True) -> Sealed:
        """The exchange of a request and the frames of its answer, from their bindings."""
        whole = frames[0] if len(frames) == 1 and not streamed else hashlib.sha256(b"".join(frames)).digest()
        return cls(request.hex(), whole.hex(), streamed, complete)

    def facts(self) -> dict[str, Any]:
        """What a receipt keeps of it."""
        return {
            "request_binding": self.request,
            "response_binding": self.response,
            "streamed": self.streamed,
            "final_frame": self.complete,
        }


def signed_text(sealed: Sealed) -> str:
    """The text that the enclave signs.

    Example:
        >>> signed_text(Sealed("11" * 32, "22" * 32, streamed=True))[:28]
        'zg-sig-v1/e2ee-ct-stream:111'
    """
    return f"zg-sig-v1/e2ee-ct{'-stream' if sealed.streamed else ''}:{sealed.request}:{sealed.response}"


def examine(
    sealed: Sealed, service: ServiceRecord, document: SignatureDocument, proof: Mapping[str, Any] | None = None
) -> Verdict:
    """The verdict on a sealed exchange for one chain record, without I/O.

    Args:
        sealed: What was sent and received.
        service: The chain record to measure against.
        document: The provider's signature document.
        proof: The ``routing_proof`` inside it, with which a relay vouches for the vendor behind it.
    """
    facts: dict[str, Any] = {
        "kind": service.kind,
        "expected_signer": service.tee_signer,
        "signed_text": document.text[:4096],
        "signature": document.signature[:132],
        "sealed": True,
    }
    try:
        recovered = recover_personal(document.text, document.signature)
    except SignatureError:
        return Verdict(Status.FAILED, Reason.MALFORMED, **facts)
    facts["recovered_signer"] = recovered
    # The broker's enclave opens and signs, also where the model has an enclave of its own.
    if not service.tee_signer.strip("0x") or not same_address(recovered, service.tee_signer):
        return Verdict(Status.FAILED, Reason.SIGNER_MISMATCH, **facts)
    if not service.acknowledged:
        return Verdict(Status.FAILED, Reason.SIGNER_NOT_ACKNOWLEDGED, **facts)
    found = _TEXT.fullmatch(document.text)
    if found is None or bool(found[1]) is not sealed.streamed:
        return Verdict(Status.FAILED, Reason.MALFORMED, **facts)
    facts |= {"signed_request_sha256": found[2], "signed_response_sha256": found[3]}
    if service.kind is Kind.TEE_TLS:
        vendor = _vendor(proof, found[2], found[3], service)
        if isinstance(vendor, Reason):
            return Verdict(Status.FAILED, vendor, **facts)
        facts |= {"provider_identity": vendor[0], "tls_fingerprint": vendor[1]}
    if found[3] != sealed.response:
        return Verdict(Status.FAILED, Reason.CONTENT_MISMATCH, **facts)
    if found[2] != sealed.request:  # an answer of this enclave, to what somebody else asked
        return Verdict(Status.FAILED, Reason.REPLAYED, binding=Binding.UNKNOWN, **facts)
    if not sealed.complete:
        return Verdict(Status.UNAVAILABLE, Reason.INCOMPLETE, **facts)
    return Verdict(Status.VERIFIED, binding=Binding.EXACT, **facts)


def _vendor(
    proof: Mapping[str, Any] | None, request: str, response: str, service: ServiceRecord
) -> tuple[str, str] | Reason:
    """Identity and certificate of the vendor behind a relay, out of a proof for the same exchange by the same key."""
    try:
        document = _Document.inner(proof)
        signed = parse_signed_text(document, Kind.TEE_TLS)
        signer = recover_personal(document.text, document.signature)
    except (MalformedSignature, NoDocument, SignatureError):
        return Reason.MALFORMED
    if not same_address(signer, service.tee_signer):
        return Reason.SIGNER_MISMATCH
    if (signed.request_sha256, signed.response_sha256) != (request, response):
        return Reason.CONTENT_MISMATCH
    return signed.provider_identity, signed.tls_fingerprint


@dataclass(frozen=True, slots=True)
class _Document:
    """A signature document with the proof inside it."""

    outer: SignatureDocument
    proof: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: bytes) -> _Document:
        outer = document_of(body)
        proof = said_in(body).get("routing_proof")
        if not isinstance(proof, dict):
            return cls(outer)
        names = SignatureDocument.__slots__
        return cls(outer, {name: proof.get(name) for name in names if isinstance(proof.get(name), str)})

    @staticmethod
    def inner(proof: Mapping[str, Any] | None) -> SignatureDocument:
        fields = {name: (proof or {}).get(name) or "" for name in SignatureDocument.__slots__}
        if not all(isinstance(each, str) and each.isascii() for each in fields.values()) or not fields["text"]:
            raise MalformedSignature("no routing proof")
        return SignatureDocument(**fields)


def evidence_of(sealed: Sealed, body: bytes, ids: tuple[str, ...]) -> Evidence:
    """What a receipt keeps of a signature document.

    Raises:
        NoDocument: `body` is none.
        MalformedSignature: it is one, and a field of it is malformed.
    """
    found = _Document.parse(body)
    facts = sealed.facts() | ({"routing_proof": found.proof} if found.proof else {})
    return Evidence(
        "sealed", ids, signed_text=found.outer.text[:4096], signature=found.outer.signature[:132], facts=facts
    )


def remade(kept: Kept, sent: SealedRequest | None = None) -> Verdict:
    """The verdict again: the enclave's key on chain signed the bindings of the envelopes; kept bytes must give them.

    Args:
        kept: What was kept.
        sent: The request, for whoever has sealed it: its binding is that of its bytes, and not worked out again.
    """
    facts = kept.evidence.facts
    said = [facts.get(name) for name in ("request_binding", "response_binding", "streamed", "final_frame")]
    request, response, streamed, complete = said
    if not (isinstance(request, str) and isinstance(response, str)) or not (
        isinstance(streamed, bool) and isinstance(complete, bool)
    ):
        return Verdict(Status.FAILED, Reason.MALFORMED, kept.record.kind, expected_signer=kept.record.tee_signer)
    sealed = Sealed(request, response, streamed, complete and kept.exchange.complete)
    proof = facts.get("routing_proof")
    document = SignatureDocument(kept.evidence.signed_text, kept.evidence.signature)
    verdict = examine(sealed, kept.record, document, proof if isinstance(proof, dict) else None)
    if verdict.status is Status.VERIFIED and not _same_bytes(sealed, kept, sent):
        return replace(verdict, status=Status.FAILED, reason=Reason.CONTENT_MISMATCH, binding=Binding.UNCHECKED)
    if kept.exchange.replayed:
        return replace(verdict, status=Status.FAILED, reason=Reason.REPLAYED)
    return verdict


def _same_bytes(sealed: Sealed, kept: Kept, sent: SealedRequest | None) -> bool:
    """Whether the bytes that were kept, where they were, are the envelopes that the bindings stand for."""
    try:
        if kept.exchange.request:
            if sent is not None and kept.exchange.request is sent.data:
                request = sent.binding
            else:
                (request,) = bindings_of([parse_json(kept.exchange.request)])
            if request.hex() != sealed.request:
                return False
        if kept.response is not None:
            frames = bindings_of(_envelopes(kept.response, streamed=sealed.streamed))
            return Sealed.of(b"", frames, streamed=sealed.streamed).response == sealed.response
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return False
    return True


def _envelopes(body: bytes, *, streamed: bool) -> list[Any]:
    if not streamed:
        return [parse_json(body)]
    decoder = SSEDecoder()
    events = [event.strip() for event in (*decoder.feed(body), *decoder.flush())]
    said = [parse_json(event) for event in events if event[:1] == b"{"]
    return [each for each in said if not (isinstance(each, dict) and set(each) == {"x_0g_trace"})]


def _vouched(_: Kept, __: Verdict) -> Iterable[str]:
    """The bindings are what was signed; of the proof inside, what it says is in the verdict."""
    return (f"evidence.facts.{name}" for name in ("request_binding", "response_binding", "streamed", "final_frame"))


SCHEME = Scheme(remade, vouches=_vouched, assumed=assumed, on_chain=True)
