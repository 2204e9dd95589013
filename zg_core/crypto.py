"""Hashes and signatures: the only user of coincurve and of a keccak implementation.

Recovery is strict: 65 bytes r‖s‖v, v 27 or 28, low s (0g-direct §2.5, §5.1). Everything else is refused, so that one
message has one signature and a changed byte is never accepted.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from typing import Any, TypeGuard

__all__ = [
    "SignatureError",
    "checksum_address",
    "is_address",
    "keccak256",
    "personal_hash",
    "recover",
    "recover_personal",
    "recover_personal_bytes",
    "same_address",
    "sha256_hex",
    "sign_digest",
    "typed_address",
]

# Order of the secp256k1 group (SEC 2, §2.4.1).
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_LONGEST_SHOWN = 48  # an address and a few characters around it; a private key has 64
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")


class SignatureError(ValueError):
    """The bytes are not one valid, canonical signature."""


def sha256_hex(data: bytes) -> str:
    """Lower-case hex SHA-256, the hash inside signed texts (0g-direct §5.3)."""
    return hashlib.sha256(data).hexdigest()


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as the EVM computes it (not SHA3-256)."""
    digest: bytes = _keccak()(digest_bits=256, data=data).digest()
    return digest


@cache
def _keccak() -> Any:
    """Loaded when it is first needed; asking for it again costs a tenth of what it does."""
    from Crypto.Hash import keccak

    return keccak.new


@cache
def _public_key() -> Any:
    from coincurve import PublicKey

    return PublicKey


def personal_hash(message: bytes) -> bytes:
    """The digest that EIP-191 ``personal_sign`` signs for `message`."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def is_address(text: object) -> TypeGuard[str]:
    """Whether `text` is ``0x`` and 40 hex digits, in any case."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def checksum_address(text: str) -> str:
    """`text` in EIP-55 capitals.

    Raises:
        ValueError: `text` is not an address.

    Example:
        >>> checksum_address("0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a")
        '0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A'
    """
    if not is_address(text):
        raise ValueError(f"not an address: {text!r}")
    lower = text[2:].lower()
    digest = keccak256(lower.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) >= 8 else c for c, d in zip(lower, digest, strict=False))


def typed_address(text: object) -> str:
    """An address that a person gave, in EIP-55 capitals; all in lower or upper case it has no check in it.

    Raises:
        ValueError: it is none, or its capitals are not those of EIP-55: a digit of it is mistyped.

    Example:
        >>> typed_address("0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a")
        '0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A'
        >>> typed_address("0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2B")
        Traceback (most recent call last):
        ...
        ValueError: 0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2B is mistyped: its capitals do not fit its digits (EIP-55)
    """
    if not is_address(text):
        raise ValueError(f"{_shown(text)} is not an address: 0x and 40 hex digits")
    right, digits = checksum_address(text), text[2:]
    if text != right and digits not in (digits.lower(), digits.upper()):
        raise ValueError(f"{text} is mistyped: its capitals do not fit its digits (EIP-55)")
    return right


def _shown(value: object) -> str:
    """What was given, as far as it may be shown: it can be a private key in the wrong place."""
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    return repr(value) if len(value) <= _LONGEST_SHOWN else f"a text of {len(value)} characters"


def same_address(left: str, right: str) -> bool:
    """Whether two addresses are the same account, whatever their case."""
    return left.lower() == right.lower()


@lru_cache(maxsize=1024)  # the same few enclaves sign every reply
def address_of_public_key(uncompressed: bytes) -> str:
    """EIP-55 address of a 65-byte uncompressed public key."""
    return checksum_address("0x" + keccak256(uncompressed[1:])[-20:].hex())


def sign_digest(private_key: bytes, digest: bytes) -> bytes:
    """Sign a 32-byte digest: 65 bytes r‖s‖v with v 27 or 28, deterministic (RFC 6979)."""
    from coincurve import PrivateKey

    signature = PrivateKey(private_key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([signature[64] + 27])


def recover(digest: bytes, signature: bytes) -> str:
    """Address whose key signed `digest`.

    Raises:
        SignatureError: not 65 bytes, v not 27 or 28, r or s out of range, s in the upper half, or no such point.
    """
    if len(signature) != 65:
        raise SignatureError(f"a signature has 65 bytes, not {len(signature)}")
    r, s, v = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]), signature[64]
    if v not in (27, 28):
        raise SignatureError(f"v is {v}, not 27 or 28")
    if not 0 < r < CURVE_ORDER or not 0 < s <= CURVE_ORDER // 2:
        raise SignatureError("r or s is out of range, or s is not in its lower half")
    try:
        key = _public_key().from_signature_and_message(signature[:64] + bytes([v - 27]), digest, hasher=None)
    except Exception as error:
        raise SignatureError("no public key belongs to this signature") from error
    return address_of_public_key(key.format(compressed=False))


def recover_personal(text: str, signature: str) -> str:
    """Address that signed `text` with ``personal_sign``; `signature` is ``0x`` and 130 hex digits.

    Raises:
        SignatureError: as `recover`, or `signature` is not hex of that length, or `text` is not valid Unicode.
    """
    try:
        message = text.encode()
    except UnicodeEncodeError as error:
        raise SignatureError("the text holds half a character") from error
    return recover_personal_bytes(message, signature)


def recover_personal_bytes(message: bytes, signature: str) -> str:
    """As `recover_personal`, for a message of bytes."""
    if _SIGNATURE.fullmatch(signature) is None:
        raise SignatureError("a signature is 0x and 130 hex digits")
    return recover(personal_hash(message), bytes.fromhex(signature[2:]))
