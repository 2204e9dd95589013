"""The verdict on one reply: what was proven about its bytes, and how (architecture, "Verdict")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from zg_core.shown.escaping import line
from zg_core.types import Kind, Prompt

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Binding", "Reason", "Status", "Verdict", "rank"]


class Status(StrEnum):
    """What a verdict says; `failed` is the only one that accuses."""

    VERIFIED = "verified"
    RESPONSE_BOUND = "response_bound"
    SIGNER_ONLY = "signer_only"
    CLAIMED = "claimed"
    NOT_CHECKED = "not_checked"
    PENDING = "pending"
    UNAVAILABLE = "unavailable"
    NOT_VERIFIABLE = "not_verifiable"
    FAILED = "failed"


# Only these prove something, the strongest first; the others never satisfy a minimum.
_RANK: dict[str, int] = {Status.VERIFIED: 4, Status.RESPONSE_BOUND: 3, Status.SIGNER_ONLY: 2, Status.CLAIMED: 1}


def rank(status: Status) -> int:
    """How much a status proves, from 0 (nothing) to 4 (`verified`)."""
    return _RANK.get(status, 0)


class Reason(StrEnum):
    """Why a verdict is not `verified`."""

    NONE = ""
    # failed
    CONTENT_MISMATCH = "content_mismatch"
    SIGNER_MISMATCH = "signer_mismatch"
    SIGNER_NOT_ACKNOWLEDGED = "signer_not_acknowledged"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    CLAIM_FAILED = "claim_failed"
    # response_bound
    REQUEST_UNKNOWN = "request_unknown"
    MODEL_RENAMED = "model_renamed"
    # unavailable
    INCOMPLETE = "incomplete"
    NO_CHAT_ID = "no_chat_id"
    NO_SIGNATURE = "no_signature"
    RECORD_UNREADABLE = "record_unreadable"
    RECORD_CHANGED = "record_changed"
    SIGNER_SHARED = "signer_shared"
    STALE = "stale"
    # not_checked
    POLICY_OFF = "policy_off"
    ABANDONED = "abandoned"
    REFUSED = "refused"
    # not_verifiable
    UNSIGNED_SERVICE = "unsigned_service"


class Binding(StrEnum):
    """How the signed request hash relates to the bytes sent."""

    EXACT = "exact"
    REWRITTEN = "rewritten"
    """In a documented way that changes no meaning."""
    RENAMED = "renamed"
    """With another name of the model in it, which proves the request only where the user accepts that name."""
    UNKNOWN = "unknown"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of checking one reply.

    Attributes:
        status: What was proven.
        reason: Why it is not `verified`; empty when it is.
        kind: Kind of the service that answered.
        binding: How the request is bound.
        expected_signer: Address from the chain record.
        recovered_signer: Address that signed the text.
        signed_text: The text the provider signed.
        signature: Its signature, 0x and 130 hex digits.
        signed_response_sha256: Response hash inside the signed text.
        response_sha256: Hash of the bytes received.
        signed_request_sha256: Request hash inside the signed text.
        request_sha256: Hash of the bytes sent.
        provider_identity: TeeTLS: the upstream vendor the enclave routed to.
        tls_fingerprint: TeeTLS: SHA-256 of that vendor's leaf certificate.
        asked_model: With the binding ``renamed``: the model that was asked for.
        signed_model: The model named in the request that was signed instead.
        signed_adapter: The adapter named in it beside that model, "" if none is.
        record_age: Whole seconds before the call at which the chain record was read that this rests on; 0 where it was
            read during the call, None where no record was used.
        unsigned: Names of what the caller sees and the signature does not cover, parted by commas; "" where it covers
            all bytes.
        sealed: Whether the request was encrypted to a key that genuine hardware attests, and this is about its answer.

    Example:
        >>> from zg_core.types import Kind
        >>> verdict = Verdict(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN, Kind.TEE_ML)
        >>> verdict.satisfies("response_bound"), verdict.satisfies("verified")
        (True, False)
    """

    status: Status
    reason: Reason = Reason.NONE
    kind: Kind | None = None
    binding: Binding = Binding.UNCHECKED
    expected_signer: str = ""
    recovered_signer: str = ""
    signed_text: str = ""
    signature: str = ""
    signed_response_sha256: str = ""
    response_sha256: str = ""
    signed_request_sha256: str = ""
    request_sha256: str = ""
    provider_identity: str = ""
    tls_fingerprint: str = ""
    asked_model: str = ""
    signed_model: str = ""
    signed_adapter: str = ""
    record_age: int | None = None
    unsigned: str = ""
    sealed: bool = False

    @property
    def prompt(self) -> Prompt:
        """Who could have seen the prompt, going by the kind of service and whether it was sealed."""
        if self.sealed and self.kind in (Kind.TEE_ML, Kind.TEE_ML_SEPARATED):
            return Prompt.SEALED
        return Prompt.OPEN if self.kind is None else self.kind.prompt

    def satisfies(self, minimum: Status | str) -> bool:
        """Whether this verdict proves at least `minimum` (``"verified"``, ``"response_bound"``, …)."""
        least = _RANK.get(minimum)
        return rank(self.status) >= (least or rank(Status(minimum)) or 5)

    def explain(self) -> str:
        """One sentence in plain words; strangers' names in it are made harmless for a terminal."""
        return line(self._sentence())

    def _sentence(self) -> str:
        sentence = _SENTENCES.get(self.reason) or _SENTENCES.get(self.status, str(self.status))
        if self.binding is Binding.RENAMED and self.status in (Status.VERIFIED, Status.RESPONSE_BOUND):
            adapter = f" and the adapter {self.signed_adapter!r}" if self.signed_adapter else ""
            accepted = ", as you accept" if self.status is Status.VERIFIED else ""
            sentence = (
                "the provider's enclave key signed exactly these bytes, for this request with the model "
                f"{self.signed_model!r}{adapter} where {self.asked_model!r} was asked for{accepted}"
            )
        if self.unsigned and self.binding is not Binding.RENAMED and self.status is Status.VERIFIED:
            sentence = "the enclave's key signed exactly this request, this output and the time"
        if self.unsigned and self.status in (Status.VERIFIED, Status.RESPONSE_BOUND):
            sentence = f"{sentence}; not signed: {self.unsigned}"
        if self.status in (Status.VERIFIED, Status.RESPONSE_BOUND) and self.provider_identity:
            return f"{sentence}; vendor {self.provider_identity} answered outside the enclave"
        return sentence

    def to_dict(self) -> dict[str, Any]:
        """Plain data for message metadata and receipts."""
        return {
            "status": str(self.status),
            "reason": str(self.reason),
            "kind": str(self.kind) if self.kind else None,
            "prompt": str(self.prompt),
            "binding": str(self.binding),
            "expected_signer": self.expected_signer,
            "recovered_signer": self.recovered_signer,
            "signed_text": self.signed_text,
            "signature": self.signature,
            "signed_response_sha256": self.signed_response_sha256,
            "response_sha256": self.response_sha256,
            "signed_request_sha256": self.signed_request_sha256,
            "request_sha256": self.request_sha256,
            "provider_identity": self.provider_identity,
            "tls_fingerprint": self.tls_fingerprint,
            "asked_model": self.asked_model,
            "signed_model": self.signed_model,
            "signed_adapter": self.signed_adapter,
            "record_age": self.record_age,
            "unsigned": self.unsigned,
            "sealed": self.sealed,
            "explanation": self.explain(),
        }

    def _repr_html_(self) -> str:
        from zg_core import display

        return display.facts("Verdict", self.to_dict())

    def to_pandas(self) -> Any:
        """One row with all fields.

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        from zg_core import display

        return display.frame([self.to_dict()])

    def __bool__(self) -> NoReturn:
        raise TypeError('a verdict is not true or false; use verdict.status or verdict.satisfies("response_bound")')

    def __str__(self) -> str:
        return f"{self.status} ({self.reason})" if self.reason else str(self.status)


_SENTENCES: dict[str, str] = {
    Status.VERIFIED: "the provider's enclave key signed exactly these bytes, for exactly this request",
    Status.SIGNER_ONLY: "the right key signed, over bytes that cannot be recomputed here",
    Status.CLAIMED: "an intermediary says that it checked",
    Status.PENDING: "the check is still running",
    Reason.CONTENT_MISMATCH: "the signature covers other bytes than those received",
    Reason.SIGNER_MISMATCH: "the signature is not by the key on chain",
    Reason.SIGNER_NOT_ACKNOWLEDGED: "the signing key is not acknowledged on chain",
    Reason.MALFORMED: "the signature does not have the form that this kind of service signs",
    Reason.REPLAYED: "this answer belongs to an earlier exchange",
    Reason.CLAIM_FAILED: "an intermediary says that the signature of this answer does not hold",
    Reason.REQUEST_UNKNOWN: (
        "the provider's enclave key signed exactly these bytes, "
        "but that they answer this request could not be recomputed"
    ),
    Reason.MODEL_RENAMED: "the provider signed a request for another model than was asked for",
    Reason.INCOMPLETE: "the reply ended before its end, so its bytes cannot be compared",
    Reason.NO_CHAT_ID: "the reply names no usable chat id, so no signature can be looked up",
    Reason.NO_SIGNATURE: "the provider has no signature for this reply",
    Reason.RECORD_UNREADABLE: "the chain record of the provider could not be read",
    Reason.RECORD_CHANGED: "the chain record changed around this call, and it no longer names the key that signed",
    Reason.SIGNER_SHARED: (
        "the key on chain is that of a provider of another kind too, so that nobody can tell which of them signed"
    ),
    Reason.STALE: "the signature was made at another time than this call: an old answer, or a clock that is off",
    Reason.POLICY_OFF: "the policy is off",
    Reason.ABANDONED: "the reader broke off before the end",
    Reason.REFUSED: "the request was refused, so there is no reply to check",
    Reason.UNSIGNED_SERVICE: "this service signs nothing",
}
