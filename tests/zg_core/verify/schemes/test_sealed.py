"""The verdict on a sealed exchange: the published signatures pass, everything else is what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.zg_core.sealing.known import vectors
from tests.zg_core.verify.scene import service
from zg_core.crypto import personal_hash, sign_digest
from zg_core.exchange import Exchange
from zg_core.types import Kind, Prompt
from zg_core.verify.schemes.evidence import Kept
from zg_core.verify.schemes.registry import scheme_named
from zg_core.verify.schemes.sealed import Sealed, evidence_of, examine, remade
from zg_core.verify.schemes.signed_hashes import SignatureDocument
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

CHAT, PROFILES = vectors("chat"), vectors("profiles")["profiles"]
SIGNER, KEY = CHAT["signer"], bytes.fromhex(CHAT["signer_key"][2:])
RECORD = service(Kind.TEE_ML, tee_signer=SIGNER)


def sign(text: str, key: bytes = KEY) -> str:
    return "0x" + sign_digest(key, personal_hash(text.encode())).hex()


def exchanged(*, streamed: bool) -> Sealed:
    if not streamed:
        return Sealed.of(
            bytes.fromhex(CHAT["request"]["binding"]), [bytes.fromhex(CHAT["response"]["binding"])], streamed=False
        )
    frames = [bytes.fromhex(each["binding"]) for each in CHAT["stream"]["frames"]]
    return Sealed.of(bytes.fromhex(CHAT["request"]["binding"]), frames, streamed=True)


def body(text: str, signature: str | None = None, **more: Any) -> bytes:
    return json.dumps({"text": text, "signature": signature or sign(text), **more}).encode()


def kept(
    sealed: Sealed, document: bytes, *, request: bytes = b"", response: bytes | None = None, record: Any = RECORD
) -> Kept:
    exchange = Exchange(request)
    exchange.complete = True
    return Kept(exchange, evidence_of(sealed, document, ("id",)), record, Verdict(Status.VERIFIED), response=response)


def published(*, streamed: bool) -> tuple[bytes, bytes, bytes]:
    """Request, answer and signature document as they were on the wire, the Router's changes in them."""
    name = "stream" if streamed else "nonstream"
    said = CHAT["signatures"][name]
    request = json.dumps({**CHAT["request"]["envelope"], "model": "alias"}).encode()
    if streamed:
        frames = [{**each["envelope"], "model": "alias"} for each in CHAT["stream"]["frames"]]
        frames[-1]["x_0g_trace"] = {"request_id": "r"}
        response = b": hello\n\n" + b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in frames)
        return request, response + b"data: [DONE]\n\n", body(said["text"], said["signature"])
    response = json.dumps(CHAT["response"]["after_router"]["envelope"]).encode()
    return request, response, body(said["text"], said["signature"])


@pytest.mark.parametrize("streamed", [False, True])
def test_the_published_exchange_is_verified_from_its_bytes(streamed: bool) -> None:
    request, response, document = published(streamed=streamed)
    verdict = remade(kept(exchanged(streamed=streamed), document, request=request, response=response))
    assert (verdict.status, verdict.binding, verdict.prompt) == (Status.VERIFIED, Binding.EXACT, Prompt.SEALED)
    assert verdict.recovered_signer == SIGNER


@pytest.mark.parametrize("name", PROFILES)
def test_the_published_exchange_of_another_task_is_verified(name: str) -> None:
    case = PROFILES[name]
    request, response = (json.dumps(case[side]["envelope"]).encode() for side in ("request", "response"))
    sealed = Sealed(case["request"]["binding"], case["response"]["binding"], streamed=False)
    verdict = remade(kept(sealed, body(case["text"], case["signature"]), request=request, response=response))
    assert verdict.status is Status.VERIFIED


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("streamed", [False, True])
def test_kept_bytes_that_are_others_fail(side: str, streamed: bool) -> None:
    request, response, document = published(streamed=streamed)
    touched = {"request": request, "response": response}
    touched[side] = touched[side].replace(b'"v": 1,', b'"v": 1, "also": 1,')
    assert touched[side] != {"request": request, "response": response}[side]
    verdict = remade(kept(exchanged(streamed=streamed), document, **touched))
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.CONTENT_MISMATCH)


HASH = "ab" * 32
STREAM = exchanged(streamed=True)
TEXT = CHAT["signatures"]["stream"]["text"]
CASES: dict[str, tuple[Sealed, str, Any, Reason]] = {
    "another answer": (replace(STREAM, response=HASH), TEXT, RECORD, Reason.CONTENT_MISMATCH),
    "another question": (replace(STREAM, request=HASH), TEXT, RECORD, Reason.REPLAYED),
    "a whole answer signed": (STREAM, CHAT["signatures"]["nonstream"]["text"], RECORD, Reason.MALFORMED),
    "hashes as in the clear": (STREAM, f"{STREAM.request}:{STREAM.response}", RECORD, Reason.MALFORMED),
    "a later version": (STREAM, TEXT.replace("v1", "v2"), RECORD, Reason.MALFORMED),
    "more behind it": (STREAM, TEXT + ":more", RECORD, Reason.MALFORMED),
    "another key": (STREAM, TEXT, replace(RECORD, tee_signer="0x" + "12" * 20), Reason.SIGNER_MISMATCH),
    "a key taken back": (STREAM, TEXT, replace(RECORD, acknowledged=False), Reason.SIGNER_NOT_ACKNOWLEDGED),
    "no key on chain": (STREAM, TEXT, replace(RECORD, tee_signer="0x" + "00" * 20), Reason.SIGNER_MISMATCH),
}  # fmt: skip


@pytest.mark.parametrize(("sealed", "text", "record", "reason"), CASES.values(), ids=CASES)
def test_what_contradicts_fails(sealed: Sealed, text: str, record: Any, reason: Reason) -> None:
    verdict = examine(sealed, record, SignatureDocument(text, sign(text)))
    assert (verdict.status, verdict.reason) == (Status.FAILED, reason)


def test_no_signature_at_all_is_malformed() -> None:
    verdict = examine(STREAM, RECORD, SignatureDocument(TEXT, "0x" + "00" * 65))
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.MALFORMED)


def test_a_stream_without_its_final_frame_is_not_verified() -> None:
    verdict = examine(replace(STREAM, complete=False), RECORD, SignatureDocument(TEXT, sign(TEXT)))
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.INCOMPLETE)


RELAY = service(Kind.TEE_TLS, tee_signer=SIGNER)


def proof(request: str, response: str, key: bytes = KEY) -> dict[str, str]:
    text = f"{request}:{response}:centralized:openrouter:{HASH}"
    facts = {"provider_type": "centralized", "provider_identity": "openrouter", "tls_cert_fingerprint": HASH}
    return {"text": text, "signature": sign(text, key), **facts}


class TestRelays:
    def verdict(self, found: Any) -> Verdict:
        document = body(TEXT, **({} if found is None else {"routing_proof": found}))
        return remade(kept(STREAM, document, record=RELAY))

    def test_a_relay_is_verified_with_its_proof_and_the_vendor_saw_the_prompt(self) -> None:
        verdict = self.verdict(proof(STREAM.request, STREAM.response))
        assert (verdict.status, verdict.prompt) == (Status.VERIFIED, Prompt.VENDOR)
        assert (verdict.provider_identity, verdict.tls_fingerprint) == ("openrouter", HASH)

    @pytest.mark.parametrize(
        ("found", "reason"),
        [
            (None, Reason.MALFORMED),
            ({}, Reason.MALFORMED),
            ({"text": 1}, Reason.MALFORMED),
            (proof(HASH, STREAM.response), Reason.CONTENT_MISMATCH),
            (proof(STREAM.request, HASH), Reason.CONTENT_MISMATCH),
            (proof(STREAM.request, STREAM.response, bytes([7] * 32)), Reason.SIGNER_MISMATCH),
            ({**proof(STREAM.request, STREAM.response), "provider_identity": "another"}, Reason.MALFORMED),
        ],
    )
    def test_without_one_that_fits_it_fails(self, found: Any, reason: Reason) -> None:
        verdict = self.verdict(found)
        assert (verdict.status, verdict.reason) == (Status.FAILED, reason)


def test_the_registry_knows_it() -> None:
    scheme = scheme_named("sealed")
    assert scheme is not None
    assert scheme.remade is remade
