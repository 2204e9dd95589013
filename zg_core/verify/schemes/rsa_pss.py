"""OpenGradient's signature (opengradient §3.1): an enclave's RSA key over a request, the output and the time.

``signature = RSA-PSS(SHA-256, MGF1, salt 32)`` over ``keccak(keccak(request) ‖ keccak(output) ‖ uint256(time))``. The
key is that of the registry; its hash is the enclave's id. Pure: no clock, no network.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from zg_core.crypto import keccak256
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.types import Kind
from zg_core.verify.schemes.canonical import Answer, Signed, has_attachments, request_texts, text_of
from zg_core.verify.schemes.evidence import Evidence, Kept, Scheme
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = [
    "FRESH_SECONDS",
    "SCHEME",
    "Signed",
    "UnfitKey",
    "check_key",
    "evidence_of",
    "examine",
    "message_hash",
    "record_key",
    "remade",
    "tee_id_of",
]

FRESH_SECONDS = 600
"""How far the signed time may be from the call: no nonce of the client is signed, so this is what bounds a replay."""

_SALT = 32
_USUAL_KEY = 1024  # bytes, more than RSA keys of 4096 bits take


class UnfitKey(ValueError):
    """A public key is no RSA key of 2048 bits or more."""


def tee_id_of(public_key: bytes) -> str:
    """The id of the enclave whose signing key this is (DER, SubjectPublicKeyInfo): its Keccak hash.

    Example:
        >>> len(tee_id_of(b"key"))
        66
    """
    return _usual_id(public_key) if len(public_key) <= _USUAL_KEY else _id_of(public_key)


def _id_of(public_key: bytes) -> str:
    return "0x" + keccak256(public_key).hex()


_usual_id = lru_cache(maxsize=64)(_id_of)


def message_hash(request_hash: bytes, output_hash: bytes, timestamp: int) -> bytes:
    """The 32 bytes that are signed."""
    return keccak256(request_hash + output_hash + timestamp.to_bytes(32, "big"))


def check_key(public_key: bytes) -> None:
    """Refuse what is no key that can sign.

    Raises:
        UnfitKey: not DER, not RSA, or too short.
        ConfigError: the extra ``opengradient`` is not installed (code ``missing_extra``).
    """
    _key(public_key)


@lru_cache(maxsize=64)
def _key(public_key: bytes) -> RSAPublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import load_der_public_key
    except ImportError:
        raise ConfigError(
            "OpenGradient's signatures need the package cryptography",
            code="missing_extra",
            hint='pip install "zerog-integrations[opengradient]"',
        ) from None
    try:
        key = load_der_public_key(public_key)
    except Exception as error:  # the library has several, all of which say the same
        raise UnfitKey("not a public key in DER") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise UnfitKey("not an RSA key of 2048 bits or more")
    return key


def _signs(key: RSAPublicKey, signature: bytes, request_hash: bytes, output_hash: bytes, timestamp: int) -> bool:
    pss, sha256, invalid = _way()
    try:
        key.verify(signature, message_hash(request_hash, output_hash, timestamp), pss, sha256)
    except invalid:
        return False
    return True


@cache
def _way() -> tuple[Any, Any, type[Exception]]:
    """How signatures are made, and the error where one is not; loaded when it is first needed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.hashes import SHA256

    return padding.PSS(padding.MGF1(SHA256()), _SALT), SHA256(), InvalidSignature


def examine(
    payload: Mapping[str, Any],
    answer: Answer,
    public_key: bytes,
    *,
    kind: Kind,
    window: tuple[float, float],
    complete: bool = True,
    seen: bool = False,
    accept_models: Mapping[str, str] | None = None,
    known: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict on one answer.

    Args:
        payload: The request as it was sent.
        answer: What the caller sees of the answer.
        public_key: The enclave's key in the registry (DER).
        kind: Of the service.
        window: Between which two times (unix seconds) the call was under way.
        complete: Whether the answer came to its end.
        seen: Whether an earlier answer had the same signature.
        accept_models: Renames that the user accepts, asked to forwarded.
        known: Further fields of the verdict: hashes of the bytes, the age of the record.
    """
    beside = (*answer.unsigned, *(("attachments",) if has_attachments(payload) else ()))
    tee_id, signed = tee_id_of(public_key), answer.signature
    facts: dict[str, Any] = {
        **(known or {}), "kind": kind, "expected_signer": tee_id, "unsigned": ", ".join(beside)
    }  # fmt: skip
    if not answer.signed:
        incomplete = not (complete and answer.ended)
        return Verdict(Status.UNAVAILABLE, Reason.INCOMPLETE if incomplete else Reason.NO_SIGNATURE, **facts)
    if signed is None:
        return Verdict(Status.FAILED, Reason.MALFORMED, **facts)
    answer.surplus = answer.surplus or _unasked(payload, answer)
    output = keccak256(answer.output)
    facts["signature"] = signed.encoded
    if signed.tee_id and signed.tee_id != tee_id:
        return Verdict(Status.FAILED, Reason.SIGNER_MISMATCH, recovered_signer=signed.tee_id, **facts)
    try:
        key = _key(public_key)
    except UnfitKey:
        return Verdict(Status.UNAVAILABLE, Reason.RECORD_UNREADABLE, **facts)
    for form in _named(payload, answer, accept_models or {}):
        for text in request_texts(form.payload):
            request = keccak256(text)
            if _signs(key, signed.signature, request, output, signed.timestamp):
                renamed = bool(form.signed)
                status, reason = _passing(answer, signed, window, seen=seen, refused=renamed and not form.accepted)
                return Verdict(
                    status,
                    reason,
                    binding=Binding.RENAMED if renamed else Binding.REWRITTEN,
                    recovered_signer=tee_id,
                    signed_text=text_of(request, output, signed.timestamp),
                    asked_model=form.asked,
                    signed_model=form.signed,
                    **facts,
                )
    if not _signs(key, signed.signature, signed.request_hash, signed.output_hash, signed.timestamp):
        return Verdict(Status.FAILED, Reason.SIGNER_MISMATCH, **facts)
    facts |= {"recovered_signer": tee_id, "signed_text": signed.text}
    if signed.output_hash != output or answer.surplus:
        return Verdict(Status.FAILED, Reason.CONTENT_MISMATCH, **facts)
    if seen:
        return Verdict(Status.FAILED, Reason.REPLAYED, binding=Binding.UNKNOWN, **facts)
    return Verdict(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN, binding=Binding.UNKNOWN, **facts)


def _unasked(payload: Mapping[str, Any], answer: Answer) -> bool:
    """Whether an answer is of a form that its request cannot have.

    A text that reads as tool calls do has the same hash as those calls, and ``finish_reason`` is not signed: where no
    tool was offered, there is no call. Nor does a client that asked for a chat show the text of a completion.
    """
    chat = "messages" in payload
    return (bool(answer.calls) and not payload.get("tools")) or (chat and "text" in answer.places)


def _passing(
    answer: Answer, signed: Signed, window: tuple[float, float], *, seen: bool, refused: bool
) -> tuple[Status, Reason]:
    """What is proven where key, request and output fit: is it this answer, all of it, and made now?

    `refused` where the request was signed under a name of the model that the user does not accept.
    """
    if answer.surplus:
        return Status.FAILED, Reason.CONTENT_MISMATCH
    if seen:
        return Status.FAILED, Reason.REPLAYED
    if not window[0] - FRESH_SECONDS <= signed.timestamp <= window[1] + FRESH_SECONDS:
        # An old answer, or a clock that is off: nobody here can tell, so it is not proven and accuses nobody.
        return Status.UNAVAILABLE, Reason.STALE
    if refused:
        return Status.RESPONSE_BOUND, Reason.MODEL_RENAMED
    return Status.VERIFIED, Reason.NONE


@dataclass(frozen=True, slots=True)
class _Form:
    payload: Mapping[str, Any]
    asked: str = ""
    signed: str = ""
    accepted: bool = False


def _named(payload: Mapping[str, Any], answer: Answer, accepted: Mapping[str, str]) -> list[_Form]:
    """The request under its own name of the model, then under those that a gateway may have put into it."""
    forms, asked = [_Form(payload)], payload.get("model")
    if not isinstance(asked, str):
        return forms
    names = [name for name in dict.fromkeys((accepted.get(asked, ""), answer.model)) if name not in ("", asked)]
    return forms + [_Form({**payload, "model": name}, asked, name, accepted.get(asked) == name) for name in names]


def evidence_of(answer: Answer, public_key: bytes, window: tuple[float, float]) -> Evidence:
    """What a receipt keeps, so that `remade` can judge again; empty where the answer carries no signature."""
    signed = answer.signature
    if signed is None:
        return Evidence("rsa_pss")
    return Evidence(
        "rsa_pss",
        signed_text=signed.text,
        signature=signed.encoded,
        signer=tee_id_of(public_key),
        time=signed.timestamp,
        facts={"public_key": base64.b64encode(public_key).decode(), "window": [int(window[0]), int(window[1])]},
    )


def record_key(record: Any) -> bytes:
    """The key in what a receipt keeps of the registry's record; ``b""`` where there is none."""
    said = record.get("public_key") if isinstance(record, dict) else None
    try:
        return base64.b64decode(said, validate=True) if isinstance(said, str) else b""
    except (binascii.Error, ValueError):
        return b""


def remade(kept: Kept) -> Verdict:
    """The verdict that the evidence of a receipt gives.

    Of bytes that were not kept only this is left: the key in the record signed two hashes and a time.
    """
    evidence, exchange, public_key = kept.evidence, kept.exchange, record_key(kept.record)
    hashes: dict[str, Any] = {
        "request_sha256": exchange.request_sha256,
        "response_sha256": exchange.response_sha256,
    }
    signed = Signed.of_text(evidence.signed_text, evidence.signature)
    window = _window(evidence)
    if signed is None or window is None or signed.timestamp != evidence.time:
        return Verdict(Status.FAILED, Reason.MALFORMED, Kind.TEE_TLS, expected_signer=tee_id_of(public_key), **hashes)
    if kept.response is None or not exchange.request:
        return _of_hashes(signed, public_key, window, seen=exchange.replayed, hashes=hashes)
    try:
        payload = parse_json(exchange.request)
    except (ValueError, RecursionError):
        payload = None
    answer = Answer.read(kept.response)
    own = answer.signature
    if (
        not isinstance(payload, dict)
        or own is None
        or (own.signature, own.timestamp)
        != (
            signed.signature,
            signed.timestamp,
        )
    ):
        return Verdict(
            Status.FAILED, Reason.CONTENT_MISMATCH, Kind.TEE_TLS, expected_signer=tee_id_of(public_key), **hashes
        )
    return examine(
        payload,
        answer,
        public_key,
        kind=Kind.TEE_TLS,
        window=window,
        complete=exchange.complete,
        seen=exchange.replayed,
        accept_models=kept.accept_models,
        known=hashes,
    )


def _of_hashes(
    signed: Signed, public_key: bytes, window: tuple[int, int], *, seen: bool, hashes: Mapping[str, Any]
) -> Verdict:
    verdict = Verdict(
        Status.FAILED,
        Reason.SIGNER_MISMATCH,
        Kind.TEE_TLS,
        expected_signer=tee_id_of(public_key),
        signed_text=signed.text,
        signature=signed.encoded,
        **hashes,
    )
    try:
        key = _key(public_key)
    except UnfitKey:
        return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
    if not _signs(key, signed.signature, signed.request_hash, signed.output_hash, signed.timestamp):
        return verdict
    verdict = replace(verdict, recovered_signer=verdict.expected_signer)
    if seen:
        return replace(verdict, reason=Reason.REPLAYED)
    if not window[0] - FRESH_SECONDS <= signed.timestamp <= window[1] + FRESH_SECONDS:
        return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.STALE)
    return replace(verdict, status=Status.SIGNER_ONLY, reason=Reason.NONE)


def _window(evidence: Evidence) -> tuple[int, int] | None:
    said = evidence.facts.get("window")
    if not isinstance(said, list) or len(said) != 2 or any(type(each) is not int for each in said):
        return None
    return said[0], said[1]


def _vouched(_: Kept, __: Verdict) -> Iterable[str]:
    return ("evidence.time",)


SCHEME = Scheme(remade, vouches=_vouched, needs_bytes=True)
