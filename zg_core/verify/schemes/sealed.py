"""What an enclave signs of a sealed exchange: hashes of the clear and the sealed part of every envelope (0g-router §10.7).

Neither a router nor an operator can change a byte of either without breaking it, whatever they rename on the way; and
whoever holds the two envelopes can recompute it, without being able to read them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zg_core.crypto import SignatureError, recover_personal, same_address
from zg_core.types import Kind
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.types import Service
    from zg_core.verify.schemes.signed_hashes import SignatureDocument

__all__ = ["Sealed", "examine_sealed", "signed_text"]

_TEXT = re.compile(r"zg-sig-v1/e2ee-ct(-stream)?:([0-9a-f]{64}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What stands for a sealed exchange.

    Attributes:
        request: The binding of the request's envelope, hex.
        response: That of the answer, hex: of its one frame, or of all frames of a stream.
        streamed: Which of both.
        complete: Whether the final frame was there.
        attested: Whether the key it was sealed to is one that genuine hardware vouches for.
    """

    request: str
    response: str
    streamed: bool
    complete: bool = True
    attested: bool = True

    @classmethod
    def of(
        cls, request: bytes, frames: Sequence[bytes], *, streamed: bool, complete: bool = True, attested: bool = True
    ) -> Sealed:
        """The exchange of a request and the frames of its answer, from their bindings."""
        whole = frames[0] if len(frames) == 1 and not streamed else hashlib.sha256(b"".join(frames)).digest()
        return cls(request.hex(), whole.hex(), streamed, complete, attested)


def signed_text(sealed: Sealed) -> str:
    """The text that the enclave signs.

    Example:
        >>> signed_text(Sealed("11" * 32, "22" * 32, streamed=True))[:28]
        'zg-sig-v1/e2ee-ct-stream:111'
    """
    return f"zg-sig-v1/e2ee-ct{'-stream' if sealed.streamed else ''}:{sealed.request}:{sealed.response}"


def examine_sealed(sealed: Sealed, service: Service, document: SignatureDocument) -> Verdict:
    """The verdict on a sealed exchange for one chain record, without I/O.

    Args:
        sealed: What was sent and received.
        service: The chain record to measure against.
        document: The provider's signature document.
    """
    verdict = Verdict(
        Status.FAILED,
        kind=service.kind,
        expected_signer=service.tee_signer,
        signed_text=document.text[:4096],
        signature=document.signature[:132],
        response_sha256=sealed.response,
        request_sha256=sealed.request,
        sealed=sealed.attested,
    )
    try:
        recovered = recover_personal(document.text, document.signature)
    except SignatureError:
        return replace(verdict, reason=Reason.MALFORMED)
    verdict = replace(verdict, recovered_signer=recovered)
    # The broker's enclave opens and signs, also where the model has an enclave of its own.
    if not service.tee_signer or not same_address(recovered, service.tee_signer):
        return replace(verdict, reason=Reason.SIGNER_MISMATCH)
    if not service.acknowledged:
        return replace(verdict, reason=Reason.SIGNER_NOT_ACKNOWLEDGED)
    found = _TEXT.fullmatch(document.text)
    if found is None or bool(found[1]) is not sealed.streamed:
        return replace(verdict, reason=Reason.MALFORMED)
    verdict = replace(verdict, signed_request_sha256=found[2], signed_response_sha256=found[3])
    if service.kind is Kind.TEE_TLS:
        verdict = replace(verdict, provider_identity=document.provider_identity)
    if found[3] != sealed.response:
        return replace(verdict, reason=Reason.CONTENT_MISMATCH)
    if found[2] != sealed.request:  # an answer of this enclave, to what somebody else asked
        return replace(verdict, reason=Reason.REPLAYED, binding=Binding.UNKNOWN)
    if not sealed.complete:
        return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.INCOMPLETE)
    return replace(verdict, status=Status.VERIFIED, binding=Binding.EXACT)
