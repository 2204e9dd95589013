"""HPKE base mode, DHKEM(X25519) with HKDF-SHA256 and ChaCha20-Poly1305 (RFC 9180), as plain functions."""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_KEM_SUITE = b"KEM" + struct.pack(">H", 0x20)
_HPKE_SUITE = b"HPKE" + struct.pack(">HHH", 0x20, 1, 3)


class CannotOpenError(Exception):
    """A ciphertext that is not the next one for this key."""


@dataclass
class Channel:
    """Key, first nonce and number of the next message."""

    key: bytes
    nonce: bytes
    count: int = 0

    def _nonce(self) -> bytes:
        number = self.count.to_bytes(12, "big")
        return bytes(left ^ right for left, right in zip(self.nonce, number, strict=True))

    def lock(self, text: bytes, clear: bytes) -> bytes:
        """Seal the next message."""
        locked = bytes(ChaCha20Poly1305(self.key).encrypt(self._nonce(), text, clear))
        self.count += 1
        return locked

    def unlock(self, locked: bytes, clear: bytes) -> bytes:
        """Open the next message.

        Raises:
            CannotOpenError: it is not that.
        """
        try:
            text = bytes(ChaCha20Poly1305(self.key).decrypt(self._nonce(), locked, clear))
        except (InvalidTag, ValueError) as error:
            raise CannotOpenError("message authentication failed") from error
        self.count += 1
        return text


def public_of(private: bytes) -> bytes:
    """The public half of a key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def outward(peer: bytes, info: bytes, ephemeral: bytes | None = None) -> tuple[bytes, Channel]:
    """A channel to the holder of `peer`, and what he needs to open it.

    Raises:
        CannotOpenError: `peer` is no usable key.
    """
    own = X25519PrivateKey.generate() if ephemeral is None else X25519PrivateKey.from_private_bytes(ephemeral)
    enc = own.public_key().public_bytes_raw()
    return enc, _channel(_exchange(own, peer), enc + peer, info)


def inward(private: bytes, enc: bytes, info: bytes) -> Channel:
    """The channel that somebody has opened to us.

    Raises:
        CannotOpenError: `enc` is no usable key.
    """
    return _channel(_exchange(X25519PrivateKey.from_private_bytes(private), enc), enc + public_of(private), info)


def _exchange(own: X25519PrivateKey, peer: bytes) -> bytes:
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError as error:
        raise CannotOpenError("invalid public key") from error


def _channel(agreed: bytes, context: bytes, info: bytes) -> Channel:
    pseudo = _extract(_KEM_SUITE, b"", b"eae_prk", agreed)
    shared = _expand(_KEM_SUITE, pseudo, b"shared_secret", context, 32)
    schedule = bytes(1)
    for label, text in ((b"psk_id_hash", b""), (b"info_hash", info)):
        schedule += _extract(_HPKE_SUITE, b"", label, text)
    secret = _extract(_HPKE_SUITE, shared, b"secret", b"")
    key = _expand(_HPKE_SUITE, secret, b"key", schedule, 32)
    return Channel(key, _expand(_HPKE_SUITE, secret, b"base_nonce", schedule, 12))


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.new(salt or b"\0" * 32, b"".join((b"HPKE-v1", suite, label, material)), "sha256").digest()


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    message = b"".join((struct.pack(">H", size), b"HPKE-v1", suite, label, info, b"\x01"))
    return hmac.new(key, message, "sha256").digest()[:size]
