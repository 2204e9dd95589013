"""Single flipped bits of evidence, and an oracle of its own for what must come of each.

The oracle knows what was flipped and decodes it with the tools of the local network and of eth_abi, never with the
code under test: a flip that changes nothing that was signed leaves the verdict as it is; any other is never verified.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from eth_abi.abi import decode, encode
from eth_account import Account

from tests.effort import EXHAUSTIVE, SEED
from tests.zg_core.scripted_node import SERVICE
from tests.zg_core.verify.scene import BROKER, CHAT_ID, INFO, PROVIDER, Scene, sha
from zg_core.config import NETWORKS
from zg_core.contracts import abi
from zg_core.contracts.reader import ChainReader
from zg_core.exchange import Exchange
from zg_core.http.transport import SyncTransport, run
from zg_core.localnet.provider import gojson
from zg_core.types import Kind, ServiceRecord
from zg_core.verify import Status, Verdict
from zg_core.verify.replay import ReplayGuard
from zg_core.verify.schemes.signed_hashes import verify

INFERENCE = "0x" + "1f" * 20

PAYLOAD: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be exact. <b>Never</b> guess & say so."},
        {"role": "user", "content": "Wie heißt die Hauptstadt? \u2028 \U0001f600 ½"},
    ],
    "temperature": 1.0,
    "top_p": 1e-07,
    "seed": 12345678901234567,
    "max_tokens": 64,
    "tools": [{"type": "function", "function": {"name": "zeta", "parameters": {"type": "object", "properties": {}}}}],
    "stream": True,
}
ANSWER = json.dumps(
    {
        "id": f"chatcmpl-{CHAT_ID}",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris. " * 20}}],
        "usage": {"prompt_tokens": 31, "completion_tokens": 41, "total_tokens": 72},
    }
).encode()


@dataclass(frozen=True)
class Evidence:
    """Every artifact behind one verdict, as the bytes that come over a wire."""

    kind: Kind
    request: bytes
    response: bytes
    document: bytes  # the signature document, JSON
    record: bytes  # the provider's record on chain, ABI-encoded
    rewritten: bool  # the provider signed the request as Go re-marshals it

    @classmethod
    def honest(cls, kind: Kind, *, rewritten: bool) -> Evidence:
        """What an honest provider of this kind gives; `rewritten` re-marshals the request as Go does."""
        request = json.dumps(PAYLOAD, ensure_ascii=False, separators=(",", ":")).encode()
        signed = gojson.dumps(gojson.loads(request)) if rewritten else request
        scene = Scene(kind, sent=request, received=ANSWER, signed_request=sha(signed), signed_answer=sha(ANSWER))
        record = {
            "provider": PROVIDER,
            "type": b"chatbot",
            "url": b"https://p.example",
            "input": 10**11,
            "output": 2 * 10**11,
            "updated": 1_700_000_000,
            "model": b"m",
            "verifiability": b"TeeML",
            "info": json.dumps(INFO[kind]).encode(),
            "signer": Account.from_key(BROKER).address,
            "acknowledged": True,
        }
        types = SERVICE.replace("string", "bytes")
        return cls(kind, request, ANSWER, scene.signature_body(), encode([types], [tuple(record.values())]), rewritten)

    def verdict(self) -> Verdict:
        """What the code under test says of it.

        Raises:
            ChainError: the record cannot be read.
        """
        service = read_record(self.record)
        exchange = Exchange(self.request)
        exchange.feed(self.response)
        exchange.headers = {"zg-res-key": CHAT_ID}
        exchange.complete = True
        guard = ReplayGuard()
        guard.sent(PROVIDER, exchange.request_sha256)

        async def fetch(_: tuple[str, ...]) -> bytes:
            return self.document

        async def reread() -> ServiceRecord:
            return service

        return run(verify(exchange, service, fetch=fetch, reread=reread, guard=guard))


class RecordedChain(ChainReader):
    """The chain's reader, with the answer of the RPC endpoint given as bytes."""

    def __init__(self, record: bytes) -> None:
        super().__init__(replace(NETWORKS["local"], inference=INFERENCE), SyncTransport())
        self._answer = "0x" + record.hex()

    async def _read(self, *calls: abi.Call, numbered: bool = False, at: str = "latest") -> list[Any]:
        assert at == "latest"
        return [*([1] if numbered else []), *(self._decode(call, self._answer) for call in calls)]


def read_record(record: bytes) -> ServiceRecord:
    """The record as the client reads it from an RPC answer.

    Raises:
        ChainError: it cannot be read.
    """
    return run(RecordedChain(record).service(PROVIDER))


def flips(data: bytes, label: str, every: int = 1) -> Iterator[tuple[str, bytes]]:
    """`data` with one random bit of every byte flipped, or with every bit in turn; where, and the result.

    With `every`, of so many bytes only one, unless every bit is asked for.
    """
    generator = random.Random(f"{SEED} {label}")
    for place in range(len(data)) if EXHAUSTIVE else range(generator.randrange(every), len(data), every):
        for bit in range(8) if EXHAUSTIVE else (generator.randrange(8),):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            yield f"{label}[{place}] bit {bit}", bytes(changed)


def expected(honest: Evidence, name: str, flipped: bytes) -> set[Status] | None:
    """The statuses that may come of the artifact `name` being `flipped`; None: the same verdict as before."""
    if name == "request":
        same = honest.rewritten and _go_form(flipped) == _go_form(honest.request)
        return None if same else {Status.RESPONSE_BOUND}
    if name == "response":
        return {Status.FAILED}
    if name == "document":
        if _document(flipped) == _document(honest.document):
            return None
        return {Status.FAILED} if _is_document(flipped) else {Status.UNAVAILABLE}
    before, after = _record(honest.record), _record(flipped)
    if after == before:
        return None
    if after is None:
        return {Status.UNAVAILABLE}
    if after["kind"] == "standard":
        return {Status.NOT_VERIFIABLE}
    return {Status.FAILED}


def _go_form(request: bytes) -> object:
    """What Go would forward, whatever the spelling; None: it would refuse."""
    try:
        return gojson.dumps(gojson.loads(request.decode().encode()))  # a client sends UTF-8
    except (ValueError, TypeError):
        return None


def _is_document(body: bytes) -> bool:
    """Whether this is a signature document at all: what is none accuses nobody."""
    try:
        value = json.loads(body)
    except ValueError:
        return False
    said = [value.get(name) for name in ("text", "signature")] if isinstance(value, dict) else [None]
    return all(isinstance(text, str) for text in said) and said[0] != ""


def _document(body: bytes) -> object:
    """What the signature document says: all that is signed, and the signature as a number."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    names = ("text", "signature", "provider_type", "provider_identity", "tls_cert_fingerprint")
    said = [value.get(name) or "" for name in names]
    signature = said[1]
    if not isinstance(signature, str) or signature[:2] != "0x" or not set(signature[2:]) <= set(string.hexdigits):
        return None
    said[1] = signature.lower()
    return said


def _record(record: bytes) -> dict[str, Any] | None:
    """What the record says that a verdict rests on; None where it is no record of this provider."""
    try:
        (value,) = decode([SERVICE.replace("string", "bytes")], record)
    except Exception:
        return None
    provider, *_, verifiability, info, signer, acknowledged = value
    if provider != PROVIDER:
        return None
    text = info.decode("utf-8", "replace")
    facts = {"kind": _kind(verifiability, text), "signer": signer, "acknowledged": acknowledged}
    if facts["kind"] == "separated":
        facts["signer"] = str(json.loads(text).get("TargetTeeAddress")).lower()
    return facts


def _kind(verifiability: bytes, text: str) -> str:
    try:
        info = json.loads(text or "{}")  # what is absent is decentralised (0g-direct §4.8)
    except ValueError:
        return "standard"
    if verifiability != b"TeeML" or not isinstance(info, dict):
        return "standard"
    provider_type = info.get("ProviderType", "decentralized")
    if provider_type == "centralized":
        return "tls"
    if provider_type not in ("decentralized", ""):
        return "standard"
    return "separated" if info.get("TargetSeparated") is True else "ml"
