"""What an intermediary's word comes to, with and without a signature behind it: never more than signer_only."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.zg_core.verify.scene import service
from zg_core.crypto import personal_hash, sign_digest
from zg_core.exchange import Exchange
from zg_core.types import Kind, Prompt
from zg_core.verify.schemes.claims import claim_evidence, remade
from zg_core.verify.schemes.evidence import Kept
from zg_core.verify.schemes.registry import scheme_named
from zg_core.verify.verdict import Reason, Status, Verdict

KEY, SIGNER = bytes([0x11] * 32), "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
RECORD = service(Kind.TEE_ML, tee_signer=SIGNER)
RELAY = service(Kind.TEE_TLS, tee_signer=SIGNER)
TEXT = f"{'ab' * 32}:{'cd' * 32}"
ROUTED = f"{TEXT}:centralized:openrouter:{'ef' * 32}"
ROUTING = {"provider_type": "centralized", "provider_identity": "openrouter", "tls_cert_fingerprint": "ef" * 32}


def document(text: str = TEXT, key: bytes = KEY, **more: str) -> bytes:
    signature = "0x" + sign_digest(key, personal_hash(text.encode())).hex()
    return json.dumps({"text": text, "signature": signature, **more}).encode()


def judged(body: bytes | None, said: bool | None = None, record: Any = RECORD, *, complete: bool = True) -> Verdict:
    exchange = Exchange(b"")
    exchange.complete = complete
    evidence = claim_evidence(body, ("id",), {"tee_verified": said})
    return remade(Kept(exchange, evidence, record, Verdict(Status.VERIFIED)))


CASES: list[tuple[Any, Status, Reason]] = [
    ((None,), Status.UNAVAILABLE, Reason.NO_SIGNATURE),
    ((None, True), Status.CLAIMED, Reason.NONE),
    ((None, False), Status.FAILED, Reason.CLAIM_FAILED),
    ((document(),), Status.SIGNER_ONLY, Reason.NONE),
    ((document(), True), Status.SIGNER_ONLY, Reason.NONE),
    ((document(), False), Status.FAILED, Reason.CLAIM_FAILED),
    ((document(), True, None), Status.CLAIMED, Reason.NONE),
    ((document(key=bytes([7] * 32)), True), Status.FAILED, Reason.SIGNER_MISMATCH),
    ((document(), True, replace(RECORD, acknowledged=False)), Status.FAILED, Reason.SIGNER_NOT_ACKNOWLEDGED),
    ((document("nothing of this form"),), Status.FAILED, Reason.MALFORMED),
    ((document(ROUTED, **ROUTING), None, RELAY), Status.SIGNER_ONLY, Reason.NONE),
    ((document(ROUTED), None, RELAY), Status.FAILED, Reason.MALFORMED),
    ((b"<html>",), Status.UNAVAILABLE, Reason.NO_SIGNATURE),
]


@pytest.mark.parametrize(("given", "status", "reason"), CASES)
def test_what_it_comes_to(given: tuple[Any, ...], status: Status, reason: Reason) -> None:
    verdict = judged(*given)
    assert (verdict.status, verdict.reason) == (status, reason)
    assert not verdict.satisfies("response_bound")
    assert verdict.prompt is Prompt.OPEN


def test_of_a_reply_that_broke_off_nothing_is_said() -> None:
    assert judged(document(), True, complete=False).reason is Reason.INCOMPLETE


def test_it_proves_nothing_to_anybody_else() -> None:
    scheme = scheme_named("claims")
    assert scheme is not None
    assert not scheme.proves
