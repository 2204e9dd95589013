"""Sealed requests for the backends of 0G: which bytes, what comes back, and the verdict on it (0g-router §10).

Both reach the same enclaves, directly or through the Router, and neither way may see a prompt. Never in the clear.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zg_core.backends.service import Body
from zg_core.errors import ChainError, SessionRejected, VerificationFailed, VerificationUnavailable
from zg_core.http.refusals import error_text
from zg_core.sealing.envelopes import Broken, SealedRequest
from zg_core.sealing.profiles import profile_of
from zg_core.tasks.chat import for_model
from zg_core.tasks.forms import FilePart
from zg_core.types import Kind
from zg_core.verify.schemes.evidence import Evidence, Kept
from zg_core.verify.schemes.sealed import Sealed, evidence_of, remade
from zg_core.verify.schemes.signed_hashes import MalformedSignature, NoDocument
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from zg_core.calls.call import Call
    from zg_core.errors import ZeroGError
    from zg_core.sealing.envelopes import EnclaveKey
    from zg_core.tasks.base import Task
    from zg_core.types import ServiceRecord as Record

__all__ = ["KEY_MISMATCH", "SealedKey", "body_of", "hear", "key_changed", "objection_to", "verdict_on"]

KEY_MISMATCH = "e2ee_key_mismatch"
"""The enclave has another key than the one that a request was sealed to: nothing was opened, nothing billed."""
_BROKEN = "seal_broken"
_UNCLAIMED = Verdict(Status.VERIFIED)  # `remade` believes nothing in it


@dataclass(frozen=True, slots=True)
class SealedKey:
    """What opens one answer; see `zg_core.backends.service.Body`."""

    request: SealedRequest

    @property
    def complete(self) -> bool:
        """Whether the final frame was there: without it no answer is one."""
        return self.request.opener.final

    def __repr__(self) -> str:
        return "SealedKey(***)"


def key_changed(status: int, body: bytes) -> ZeroGError | None:
    """The error for a refusal that says so; None for every other refusal."""
    if status != 409 or not (said := error_text(body)).startswith(KEY_MISMATCH):
        return None
    hint = "the enclave has a new key: retry"
    return SessionRejected(
        f"the enclave answered 409: {said}", code=KEY_MISMATCH, hint=hint, retryable=True, status=409
    )


def objection_to(record: Record) -> ZeroGError | None:
    """Why nothing may be sealed to the enclave of a provider, by its record on chain; None where nothing is against it.

    Asked before the first prompt, and again where the enclave says that it has a new key.
    """
    if not record.acknowledged:
        said = f"the key of provider {record.provider} is not acknowledged on chain, so nothing is sealed to it"
        return VerificationUnavailable(said, code="service_not_acknowledged", hint="choose another provider")
    if record.kind is Kind.STANDARD:
        said = f"provider {record.provider} has no enclave to seal to"
        return VerificationUnavailable(said, code="cannot_seal", hint="choose another provider or model")
    return None


def body_of(task: Task, model: str, payload: Mapping[str, Any], key: EnclaveKey | None) -> Body:
    """The bytes of a request that is sealed to `key`, each time anew.

    Raises:
        ConfigError: the rules forbid to send it, or there is no sealed form of its task; nothing was sent.
        VerificationUnavailable: there is no key: it was forgotten since the route was made.
    """
    if key is None:
        raise VerificationUnavailable(
            "there is no key to seal to; nothing was sent", code="no_sealing_key", hint="retry"
        )
    profile = profile_of(task.name)
    named = {**for_model(_without_file(payload), model), "model": model}
    if named.get("stream") is True:
        options = named.get("stream_options")
        named["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    request = SealedRequest.seal(named, profile, key)
    return Body(request.data, key=SealedKey(request))


def _without_file(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """A form with a file as the JSON that is sealed in its place (services §7).

    An answer has to say in the clear how many seconds are billed, which only ``verbose_json`` does for sure.
    """
    part = payload.get("file")
    if not isinstance(part, FilePart):
        return payload
    data = part.source if isinstance(part.source, bytes) else part.source.read_bytes()
    plain = {name.removesuffix("[]"): value for name, value in payload.items() if name != "file"}
    if plain.get("response_format", "json") == "json":
        plain["response_format"] = "verbose_json"
    return {**plain, "file_base64": base64.b64encode(data).decode(), "filename": part.name}


def hear(call: Call, said: dict[str, Any]) -> dict[str, Any]:
    """One event or the whole body of a sealed answer, opened.

    Raises:
        VerificationFailed: it is not what the enclave made of it; nothing of it is shown.
    """
    key = call.body.key if call.body is not None else None
    assert isinstance(key, SealedKey)  # noqa: S101 - its body was made here
    try:
        return key.request.opener.open(said)
    except Broken as error:
        reason = Reason.CONTENT_MISMATCH if error.altered else Reason.MALFORMED
        call.heard[_BROKEN] = reason
        hint = "somebody between you and the enclave changed it: use another provider, and keep the receipt"
        message = f"the sealed answer of {call.receipt.provider} is not as it was sealed: {error}"
        raise VerificationFailed(message, code=str(reason), hint=f"{hint} (error.receipt)") from None


async def verdict_on(
    call: Call,
    record: Record,
    *,
    fetch: Callable[[tuple[str, ...]], Awaitable[bytes | None]],
    reread: Callable[[], Awaitable[Record]],
) -> Verdict:
    """The verdict on a sealed exchange; what it rests on is kept with the receipt.

    Args:
        call: The call, whose answer has ended.
        record: The provider's record on chain.
        fetch: Gets the signature document from the provider.
        reread: Reads the record again, before anybody is accused.
    """
    key = call.body.key if call.body is not None else None
    assert isinstance(key, SealedKey)  # noqa: S101 - its body was made here
    exchange, opener = call.exchange, key.request.opener

    def without(status: Status, reason: Reason) -> Verdict:
        return Verdict(status, reason, record.kind, expected_signer=record.tee_signer, sealed=True)

    if record.kind is Kind.STANDARD:
        return without(Status.NOT_VERIFIABLE, Reason.UNSIGNED_SERVICE)
    if (broken := call.heard.get(_BROKEN)) is not None:
        return without(Status.FAILED, broken)
    if not exchange.complete or not opener.final:
        return without(Status.UNAVAILABLE, Reason.INCOMPLETE)
    if exchange.known_id or exchange.replayed:
        return without(Status.FAILED, Reason.REPLAYED)
    if not exchange.chat_ids:
        return without(Status.UNAVAILABLE, Reason.NO_CHAT_ID)
    document = await fetch(exchange.chat_ids)
    if document is None:
        return without(Status.UNAVAILABLE, Reason.NO_SIGNATURE)
    events = exchange.headers.get("content-type", "").startswith("text/event-stream")
    streamed = call.streamed and (events or len(opener.bindings) != 1)
    sealed = Sealed.of(key.request.binding, opener.bindings, streamed=streamed)
    try:
        evidence = evidence_of(sealed, document, exchange.chat_ids)
    except NoDocument:
        return without(Status.UNAVAILABLE, Reason.NO_SIGNATURE)
    except MalformedSignature:
        return without(Status.FAILED, Reason.MALFORMED)
    verdict = _remade(call, evidence, record, key.request)
    if verdict.reason in (Reason.SIGNER_MISMATCH, Reason.SIGNER_NOT_ACKNOWLEDGED) or (
        verdict.reason is Reason.MALFORMED and verdict.recovered_signer
    ):
        try:
            record = await reread()
        except ChainError:
            return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
        verdict = _remade(call, evidence, record, key.request)
    return verdict


def _remade(call: Call, evidence: Evidence, record: Record, sent: SealedRequest) -> Verdict:
    kept = Kept(call.exchange, evidence, record, _UNCLAIMED, provider=record.provider, model=record.model)
    verdict = remade(kept, sent)
    call.receipt.evidence = replace(evidence, signer=verdict.recovered_signer)
    return verdict
