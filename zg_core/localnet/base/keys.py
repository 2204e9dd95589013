"""Keys, addresses and the two hash functions the protocol uses.

Written for the local network alone: the client side of the package has its own code for all of this, so that one
side's mistake cannot hide the other's.
"""

from __future__ import annotations

import hashlib
import secrets

import coincurve
from Crypto.Hash import keccak

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class BadSignatureError(ValueError):
    """A signature that is not 65 bytes, has a wrong recovery id, or recovers to no key."""


def keccak256(data: bytes) -> bytes:
    """Keccak-256, the hash of Ethereum (not NIST SHA3-256)."""
    return bytes(keccak.new(digest_bits=256, data=data).digest())


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits: the form that appears in signed texts (0g-direct §5.3)."""
    return hashlib.sha256(data).hexdigest()


def checksum_address(address: str | bytes) -> str:
    """The EIP-55 form of an address.

    Args:
        address: 20 bytes, or 40 hex digits with or without ``0x``.

    Raises:
        ValueError: it is not an address.
    """
    digits = address.hex() if isinstance(address, bytes) else address.removeprefix("0x").removeprefix("0X").lower()
    if len(digits) != 40 or any(c not in "0123456789abcdef" for c in digits):
        raise ValueError("not a 20-byte address")
    mask = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if int(m, 16) >= 8 else c for c, m in zip(digits, mask, strict=False))


def _address_of(public_key: coincurve.PublicKey) -> str:
    return checksum_address(keccak256(public_key.format(compressed=False)[1:])[12:])


class Key:
    """A secp256k1 private key. Its repr shows the address, never the key."""

    __slots__ = ("_private", "address")

    def __init__(self, private_key: bytes | str) -> None:
        raw = bytes.fromhex(private_key.removeprefix("0x")) if isinstance(private_key, str) else private_key
        self._private = coincurve.PrivateKey(raw)
        self.address = _address_of(self._private.public_key)

    @classmethod
    def random(cls) -> Key:
        """A new key from the operating system's randomness."""
        return cls((secrets.randbelow(SECP256K1_ORDER - 1) + 1).to_bytes(32, "big"))

    @property
    def hex(self) -> str:
        """The private key as ``0x`` + 64 hex digits. A secret."""
        return "0x" + self._private.secret.hex()

    @property
    def secret(self) -> bytes:
        """The private key as 32 bytes. A secret."""
        return self._private.secret

    def sign_digest(self, digest: bytes) -> bytes:
        """A recoverable signature over a 32-byte digest: r, s, v with v 27 or 28, low s, deterministic (RFC 6979)."""
        signature = self._private.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])

    def sign_message(self, message: bytes) -> bytes:
        """EIP-191 personal_sign over ``message``."""
        return self.sign_digest(eip191_digest(message))

    def __repr__(self) -> str:
        return f"Key({self.address})"


def eip191_digest(message: bytes) -> bytes:
    """The digest that personal_sign signs (EIP-191 version 0x45)."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def recover_address(digest: bytes, signature: bytes) -> str:
    """The EIP-55 address whose key made ``signature`` over ``digest``.

    Raises:
        BadSignatureError: wrong length, a recovery id other than 27 or 28, or no key to recover.
    """
    if len(signature) != 65:
        raise BadSignatureError("invalid signature length")
    if signature[64] not in (27, 28):
        raise BadSignatureError("invalid signature recovery id")
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except Exception as error:  # coincurve raises bare Exception and ValueError for unusable values
        raise BadSignatureError("recovery failed") from error
    return _address_of(key)
