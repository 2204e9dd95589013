"""What a provider signs, and the shelf where clients fetch it (0g-direct §5.1-5.3)."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.localnet.base.keys import Key


def chat_text(request: bytes, response_hash: str) -> str:
    """The two fields an enclave signs for its own model: both hashes as lower-case hex."""
    return f"{sha256_hex(request)}:{response_hash}"


def routing_text(request: bytes, response_hash: str, identity: str, fingerprint: str) -> str:
    """The five fields a TeeTLS provider signs: hashes, and which vendor answered over which certificate."""
    return f"{sha256_hex(request)}:{response_hash}:centralized:{identity}:{fingerprint}"


def certificate_fingerprint(identity: str) -> str:
    """The SHA-256 that stands for the vendor's TLS certificate; made up, the same for one identity everywhere."""
    return hashlib.sha256(f"certificate of {identity} on the local network".encode()).hexdigest()


@dataclass(frozen=True)
class ChatSignature:
    """A signed text, as ``/v1/proxy/signature/{key}`` serves it."""

    text: str
    signature: str
    signing_address: str
    provider_identity: str | None = None
    tls_cert_fingerprint: str | None = None
    proof: ChatSignature | None = None
    """Of a sealed answer that a relay passed on: what it signs of the vendor behind it."""

    def to_json(self) -> dict[str, Any]:
        """The body of a 200 answer."""
        body: dict[str, Any] = {
            "text": self.text,
            "signature": self.signature,
            "signing_address": self.signing_address,
            "signing_algo": "ecdsa",
        }
        if self.provider_identity is not None and self.tls_cert_fingerprint is not None:
            body["provider_type"] = "centralized"
            body["provider_identity"] = self.provider_identity
            body["tls_cert_fingerprint"] = self.tls_cert_fingerprint
        if self.proof is not None:
            body["routing_proof"] = self.proof.to_json()
        return body


def sign_text(key: Key, text: str, *, identity: str | None = None, fingerprint: str | None = None) -> ChatSignature:
    """Sign a text with EIP-191 personal_sign."""
    signature = "0x" + key.sign_message(text.encode()).hex()
    return ChatSignature(text, signature, key.address, identity, fingerprint)


@dataclass(frozen=True)
class _Shelved:
    signature: ChatSignature
    available: float
    expires: float
    misses: int


class SignatureShelf:
    """Signatures by lower-case key, kept for a limited time. All methods may be called from any thread."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._shelf: dict[str, _Shelved] = {}

    def put(self, key: str, signature: ChatSignature, *, ttl: float, delay: float = 0.0, misses: int = 0) -> None:
        """Offer a signature.

        Args:
            key: the chat key.
            signature: what to serve.
            ttl: seconds until it is forgotten.
            delay: seconds until it is served at all.
            misses: how many lookups shall fail before one succeeds.
        """
        now = self._now()
        with self._lock:
            if len(self._shelf) > 20_000:
                self._shelf = {k: s for k, s in self._shelf.items() if s.expires > now}
            self._shelf[key.lower()] = _Shelved(signature, now + delay, now + delay + ttl, misses)

    def get(self, key: str) -> ChatSignature | None:
        """The signature under `key` (any letter case), or None: never there, not yet, or expired."""
        now = self._now()
        with self._lock:
            shelved = self._shelf.get(key.lower())
            if shelved is None or not shelved.available <= now < shelved.expires:
                return None
            if shelved.misses > 0:
                self._shelf[key.lower()] = replace(shelved, misses=shelved.misses - 1)
                return None
            return shelved.signature

    def save(self) -> dict[str, Any]:
        """A copy of the state, for `restore`."""
        with self._lock:
            return dict(self._shelf)

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a saved state."""
        with self._lock:
            self._shelf = dict(state)
