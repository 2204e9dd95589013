"""One exchange with real signatures, for the tests of verdicts: what is sent, received, signed and on chain."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct

from zg_core.errors import ChainError
from zg_core.exchange import Exchange
from zg_core.types import Kind, ServiceRecord
from zg_core.verify.replay import ReplayGuard
from zg_core.verify.schemes.signed_hashes import verify
from zg_core.verify.verdict import Verdict

BROKER, ENCLAVE, STRANGER = ("0x" + digit * 64 for digit in "123")
BROKER_ADDRESS = Account.from_key(BROKER).address
PROVIDER = "0x" + "ab" * 20
CHAT_ID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
FINGERPRINT = "ab" * 32
REQUEST = b'{"model":"m","messages":[{"role":"user","content":"a<b"}],"max_tokens":5,"stream":true,"temperature":1.0}'
ANSWER = b'{"id":"chatcmpl-1b4e28ba-2fa1-11d2-883f-0016d3cca427","choices":[{"message":{"content":"yes"}}]}'
SIGNING = (Kind.TEE_ML, Kind.TEE_ML_SEPARATED, Kind.TEE_TLS)
INFO: dict[Kind, dict[str, Any]] = {
    Kind.TEE_ML: {},
    Kind.TEE_ML_SEPARATED: {"TargetSeparated": True, "TargetTeeAddress": Account.from_key(ENCLAVE).address},
    Kind.TEE_TLS: {"ProviderType": "centralized", "ProviderIdentity": "openrouter", "TargetSeparated": True},
    Kind.STANDARD: {"ProviderType": "standard"},
}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def service(kind: Kind, **changes: Any) -> ServiceRecord:
    values: dict[str, Any] = {
        "provider": PROVIDER,
        "service_type": "chatbot",
        "url": "https://p",
        "input_price": 1,
        "output_price": 1,
        "updated_at": 0,
        "model": "m",
        "verifiability": "TeeML",
        "additional_info": json.dumps(INFO[kind]),
        "tee_signer": BROKER_ADDRESS,
        "acknowledged": True,
    }
    return ServiceRecord(**values | changes)


@dataclass
class Scene:
    """One exchange and all that is true about it. A row of the table changes something, then `verdict` judges."""

    kind: Kind
    sent: bytes = REQUEST
    received: bytes = ANSWER
    signed_request: str = sha(REQUEST)
    signed_answer: str = sha(ANSWER)
    key: str = ""
    tail: str | None = None  # what follows the two hashes in the signed text
    document: dict[str, Any] = field(default_factory=dict)  # changes to the signature document
    body: bytes | None = None  # the document as the provider sends it, if not the honest one
    header: str = CHAT_ID
    body_id: str = ""
    complete: bool = True
    replayed: bool = False  # an earlier response was the same bytes
    known_id: bool = False  # an earlier response had its id
    record: ServiceRecord = field(init=False)
    record_after: ServiceRecord | None = field(init=False)  # None: the chain cannot be read
    guard: ReplayGuard = field(default_factory=ReplayGuard)
    accept_models: dict[str, str] | None = None
    found: bool = True
    fetched: list[str] = field(default_factory=list)
    reread: int = 0

    def __post_init__(self) -> None:
        self.record = self.record_after = service(self.kind)
        self.key = self.key or (ENCLAVE if self.kind is Kind.TEE_ML_SEPARATED else BROKER)
        if self.tail is None:
            self.tail = f":centralized:openrouter:{FINGERPRINT}" if self.kind is Kind.TEE_TLS else ""
        self.guard.sent(PROVIDER, sha(self.sent))

    def signature_body(self) -> bytes:
        text = f"{self.signed_request}:{self.signed_answer}{self.tail}"
        signature = Account.sign_message(encode_defunct(text=text), self.key).signature
        document = {"text": text, "signature": "0x" + bytes(signature).hex(), "signing_algo": "ecdsa"}
        document["signing_address"] = Account.from_key(self.key).address
        if self.kind is Kind.TEE_TLS:
            names = ("provider_type", "provider_identity", "tls_cert_fingerprint")
            document |= dict(zip(names, ("centralized", "openrouter", FINGERPRINT), strict=True))
        return json.dumps(document | self.document).encode()

    def exchange(self) -> Exchange:
        made = Exchange(self.sent)
        made.feed(self.received)
        made.headers = {"zg-res-key": self.header} if self.header else {}
        made.body_id = self.body_id
        made.complete = self.complete
        made.replayed, made.known_id = self.replayed or self.known_id, self.known_id
        return made

    def verdict(self) -> Verdict:
        async def fetch(chat_ids: tuple[str, ...]) -> bytes | None:
            self.fetched += chat_ids
            return (self.signature_body() if self.body is None else self.body) if self.found else None

        async def reread() -> ServiceRecord:
            self.reread += 1
            if self.record_after is None:
                raise ChainError("the RPC endpoint is down")
            return self.record_after

        judging = verify(
            self.exchange(),
            self.record,
            fetch=fetch,
            reread=reread,
            guard=self.guard,
            accept_models=self.accept_models,
        )
        return asyncio.run(judging)
