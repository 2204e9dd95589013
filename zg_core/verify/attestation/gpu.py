"""Level 4: the GPU's evidence. NVIDIA's service judges it; here its answer is checked (0g-direct §6.3)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.crypto import keccak256
from zg_core.jsontext import parse_json
from zg_core.verify.attestation.quote import MalformedEvidence, read_report_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from zg_core.verify.attestation.evidence import Evidence

__all__ = ["Answer", "bound", "judge"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What NVIDIA said.

    Attributes:
        problem: Why it does not vouch for the GPU, "" if it does.
        claims: What it signed, the few claims that matter.
        counts: Whether it is NVIDIA's word, still valid, on this evidence. What is not says nothing about the GPU:
            anybody between here and there may have sent it.
    """

    problem: str
    claims: dict[str, Any] = field(default_factory=dict)
    counts: bool = True


def bound(evidence: Evidence) -> bool:
    """Whether the GPU's evidence was made for this quote: its nonce follows from the report data."""
    nonce = (evidence.nvidia or {}).get("nonce")
    if not isinstance(nonce, str):
        return False
    try:
        said = read_report_data(evidence.quote.report_data)
    except MalformedEvidence:
        return False
    nonce = nonce.lower().removeprefix("0x")
    if said.layout == "model":
        return bool(said.nonce) and nonce == said.nonce
    data = evidence.quote.report_data
    return nonce == keccak256(data[:42] if said.layout == "legacy" else data).hex()


def judge(body: bytes, keys: bytes, nonce: str, now: datetime) -> Answer:
    """Check the answer of NVIDIA's service: signature, time, nonce, and its overall result.

    Args:
        body: The answer to ``POST /v3/attest/gpu``.
        keys: The service's public keys (JWKS).
        nonce: The nonce that the evidence was made with.
        now: The time (UTC).
    """
    try:
        token = next(_tokens(parse_json(body)))
        head, claims, signed, signature = _open(token)
        _verify(parse_json(keys), head, signed, signature)
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        reason = str(error)[:200] or "there is no token in it, or no key for it"
        return Answer(f"NVIDIA's answer is not signed by its keys: {reason}", counts=False)
    shown = {name: claims.get(name) for name in ("iss", "exp", "eat_nonce", "x-nvidia-overall-att-result")}
    end = claims.get("exp")
    if not isinstance(end, int | float) or not now.timestamp() < end:  # not a number is past every time
        return Answer("NVIDIA's answer has expired", shown, counts=False)
    if str(claims.get("eat_nonce", "")).lower().removeprefix("0x") != nonce.lower().removeprefix("0x"):
        return Answer("NVIDIA's answer is about evidence with another nonce", shown, counts=False)
    result = claims.get("x-nvidia-overall-att-result")
    if result is False:
        return Answer("NVIDIA does not vouch for the GPU", shown)
    if result is not True:  # only a plain no accuses
        return Answer("NVIDIA's answer says neither yes nor no", shown, counts=False)
    return Answer("", shown)


def _tokens(value: Any) -> Iterator[str]:
    """The overall token of an answer ``[["JWT", "…"], {"GPU-0": "…"}]``."""
    if isinstance(value, list) and value and isinstance(value[0], list) and len(value[0]) == 2:
        yield value[0][1]


def _open(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    head, claims, signature = token.split(".")
    said = parse_json(_b64(claims))
    if not isinstance(said, dict):
        raise TypeError("it holds no claims")
    return parse_json(_b64(head)), said, f"{head}.{claims}".encode(), _b64(signature)


def _b64(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _verify(keys: Any, head: dict[str, Any], signed: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    if head.get("alg") != "ES384" or len(signature) != 96:
        raise ValueError(f"the algorithm is {head.get('alg')!r}, not ES384")
    key = next(key for key in keys["keys"] if key.get("kid") == head.get("kid") and key.get("crv") == "P-384")
    point = ec.EllipticCurvePublicNumbers(
        int.from_bytes(_b64(key["x"])), int.from_bytes(_b64(key["y"])), ec.SECP384R1()
    ).public_key()
    pair = encode_dss_signature(int.from_bytes(signature[:48]), int.from_bytes(signature[48:]))
    try:
        point.verify(pair, signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise ValueError("the signature is wrong") from None
