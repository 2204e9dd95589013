"""HPKE in base mode (RFC 9180) for the one suite of the protocol (0g-router §10.2).

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. The one-shot HPKE of ``cryptography`` takes no associated
data and no second message, so the schedule is written here over its primitives (extra ``sealed``).
"""

from __future__ import annotations

import hashlib
import os
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

__all__ = ["KEM_ID", "Context", "NotSealed", "PrivateKey", "receive", "send"]

KEM_ID = "0x0020"
_KEM = b"KEM\x00\x20"
_SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
_KEY, _NONCE, _TAG, _BLOCK = 32, 12, 16, 64  # bytes
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


class NotSealed(ValueError):
    """The bytes are not what the holder of the key sealed, for this place and with this clear part."""


class PrivateKey:
    """An X25519 key pair of ours; it never leaves the process and shows itself nowhere.

    Args:
        raw: Its 32 bytes; None makes a new one.

    Raises:
        ConfigError: ``cryptography`` is not installed (code ``missing_extra``).
    """

    __slots__ = ("_key", "public")

    def __init__(self, raw: bytes | None = None) -> None:
        # Any 32 bytes are a key (RFC 7748 §5); the library's own way to make one takes twice as long.
        made = _primitives().private.from_private_bytes(os.urandom(_KEY) if raw is None else raw)
        self._key: X25519PrivateKey = made
        self.public = self._key.public_key().public_bytes_raw()

    def shared(self, public: bytes) -> bytes:
        """The Diffie-Hellman secret with `public`.

        Raises:
            NotSealed: `public` is no key, or one with which everybody has the same secret.
        """
        try:
            return self._key.exchange(_primitives().public.from_public_bytes(public))
        except ValueError as error:
            raise NotSealed("not a public key of X25519") from error

    def __repr__(self) -> str:
        return "PrivateKey(***)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a private key is not pickled")


class Context:
    """One direction between two parties: messages in order, each with the clear data that it is bound to."""

    __slots__ = ("_cipher", "_nonce", "_sequence")

    def __init__(self, secret: bytes, info: bytes) -> None:
        schedule = _schedule(info)
        root = _extract(_SUITE, secret, b"secret", b"")
        self._cipher = _primitives().cipher(_expand(_SUITE, root, b"key", schedule, _KEY))
        self._nonce = int.from_bytes(_expand(_SUITE, root, b"base_nonce", schedule, _NONCE))
        self._sequence = 0

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """The next message, sealed."""
        sealed: bytes = self._cipher.encrypt(self._next(), plain, aad)
        self._sequence += 1
        return sealed

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """The next message, opened.

        Raises:
            NotSealed: it is not the next one, or it or `aad` was changed. The place in the order stays where it was.
        """
        if len(sealed) < _TAG:
            raise NotSealed("too short to be sealed")
        try:
            plain: bytes = self._cipher.decrypt(self._next(), sealed, aad)
        except _primitives().invalid:
            raise NotSealed("it does not open: changed, out of its place, or sealed to another key") from None
        self._sequence += 1
        return plain

    def _next(self) -> bytes:
        return (self._nonce ^ self._sequence).to_bytes(_NONCE)


def send(recipient: bytes, info: bytes, ephemeral: PrivateKey | None = None) -> tuple[bytes, Context]:
    """A context to seal messages to the holder of `recipient`, and what he needs to open them (``enc``).

    Args:
        recipient: His public key, 32 bytes.
        info: What the messages are for.
        ephemeral: The key pair of this context, for known answers; by default a new one.

    Raises:
        NotSealed: `recipient` is no key.

    Example:
        >>> key = PrivateKey()
        >>> enc, context = send(key.public, b"example")
        >>> receive(key, enc, b"example").open(context.seal(b"hello", b"clear"), b"clear")
        b'hello'
    """
    pair = ephemeral or PrivateKey()
    return pair.public, Context(_kem_secret(pair.shared(recipient), pair.public + recipient), info)


def receive(key: PrivateKey, enc: bytes, info: bytes) -> Context:
    """The context to open what was sealed to `key`.

    Raises:
        NotSealed: `enc` is no key.
    """
    return Context(_kem_secret(key.shared(enc), enc + key.public), info)


def _kem_secret(shared: bytes, context: bytes) -> bytes:
    return _expand(_KEM, _extract(_KEM, b"", b"eae_prk", shared), b"shared_secret", context, 32)


@lru_cache(maxsize=16)
def _schedule(info: bytes) -> bytes:
    """What keys of messages for `info` are derived with; nothing of it is secret."""
    ids = _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    return b"\0" + ids  # mode base


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return _hmac(salt, b"HPKE-v1" + suite + label + secret)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """One block of HKDF-SHA256 is enough for all that is derived here."""
    labelled = length.to_bytes(2) + b"HPKE-v1" + suite + label + info
    return _hmac(key, labelled + b"\x01")[:length]


def _hmac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 for a key of one block at the most (RFC 2104).

    `hmac.digest` looks its hash up by name each time, which takes longer than all that is hashed here.
    """
    block = key.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(block.translate(_INNER) + message).digest()
    return hashlib.sha256(block.translate(_OUTER) + inner).digest()


class _Primitives(NamedTuple):
    private: Any
    public: Any
    cipher: Any
    invalid: type[Exception]


@cache
def _primitives() -> _Primitives:
    """What ``cryptography`` has of it, loaded when it is first needed."""
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    except ImportError:
        message = "sealed requests need the package cryptography"
        hint = "pip install 'zerog-integrations[sealed]'"
        raise ConfigError(message, code="missing_extra", hint=hint) from None
    return _Primitives(X25519PrivateKey, X25519PublicKey, ChaCha20Poly1305, InvalidTag)
