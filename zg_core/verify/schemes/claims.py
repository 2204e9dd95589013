"""What an intermediary says of a reply, and signatures over bytes that cannot be recomputed (0g-router §9.2).

Never more than ``signer_only``: a router strips and rewrites what it passes on, so that the hashes which the provider
signed are of bytes that nobody here has seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.crypto import SignatureError, recover_personal, same_address
from zg_core.types import Kind, ServiceRecord
from zg_core.verify.schemes.evidence import Evidence, Scheme
from zg_core.verify.schemes.signed_hashes import (
    MalformedSignature,
    NoDocument,
    SignatureDocument,
    parse_signed_text,
)
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.verify.schemes.evidence import Kept

__all__ = ["SCHEME", "claim_evidence", "remade"]


def claim_evidence(body: bytes | None, ids: tuple[str, ...], trace: Mapping[str, Any] | None) -> Evidence:
    """What a receipt keeps.

    Args:
        body: The provider's signature document, None where there is none.
        ids: Under which it was looked for.
        trace: What the intermediary said.
    """
    facts = {} if trace is None else {"trace": dict(trace)}
    if body is None:
        return Evidence("claims", ids, facts=facts)
    try:
        document = SignatureDocument.parse(body)
    except (MalformedSignature, NoDocument):
        return Evidence("claims", ids, facts=facts)
    routing = {
        name: value
        for name in ("provider_type", "provider_identity", "tls_cert_fingerprint")
        if (value := getattr(document, name))
    }
    return Evidence(
        "claims",
        ids,
        signed_text=document.text[:4096],
        signature=document.signature[:132],
        facts=facts | ({"routing": routing} if routing else {}),
    )


def remade(kept: Kept) -> Verdict:
    """The verdict again: ``signer_only`` where a key on chain signed two hashes, else what was claimed, or nothing.

    The kind is left out of it: whatever answered, the intermediary has read question and answer.
    """
    evidence, record = kept.evidence, kept.record if isinstance(kept.record, ServiceRecord) else None
    trace = evidence.facts.get("trace")
    said = trace.get("tee_verified") if isinstance(trace, dict) else None
    blank = Verdict(
        Status.UNAVAILABLE,
        Reason.NO_SIGNATURE if evidence.ids else Reason.NO_CHAT_ID,
        signed_text=evidence.signed_text,
        signature=evidence.signature,
    )
    if not kept.exchange.complete:
        return replace(blank, reason=Reason.INCOMPLETE)
    if said is False:
        return replace(blank, status=Status.FAILED, reason=Reason.CLAIM_FAILED)
    claimed = replace(blank, status=Status.CLAIMED, reason=Reason.NONE) if said is True else blank
    if record is None or not evidence.signed_text or record.kind is Kind.STANDARD:
        return claimed
    verdict = replace(blank, expected_signer=record.signer)
    try:
        recovered = recover_personal(evidence.signed_text, evidence.signature)
    except SignatureError:
        return replace(verdict, status=Status.FAILED, reason=Reason.MALFORMED)
    verdict = replace(verdict, recovered_signer=recovered)
    if not record.signer or not same_address(recovered, record.signer):
        return replace(verdict, status=Status.FAILED, reason=Reason.SIGNER_MISMATCH)
    if not record.acknowledged:
        return replace(verdict, status=Status.FAILED, reason=Reason.SIGNER_NOT_ACKNOWLEDGED)
    routing = evidence.facts.get("routing")
    named = routing if isinstance(routing, dict) else {}
    try:
        signed = parse_signed_text(SignatureDocument(evidence.signed_text, evidence.signature, **named), record.kind)
    except (MalformedSignature, TypeError, AttributeError):
        return replace(verdict, status=Status.FAILED, reason=Reason.MALFORMED)
    return replace(
        verdict,
        status=Status.SIGNER_ONLY,
        reason=Reason.NONE,
        signed_request_sha256=signed.request_sha256,
        signed_response_sha256=signed.response_sha256,
        provider_identity=signed.provider_identity,
        tls_fingerprint=signed.tls_fingerprint,
    )


SCHEME = Scheme(remade, proves=False)
