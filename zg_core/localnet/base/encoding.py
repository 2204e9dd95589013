"""Reading what callers pass for addresses, amounts and bytes, and the hexadecimal words JSON-RPC uses."""

from __future__ import annotations

import functools
import re
from typing import Any

from eth_hash.auto import keccak

_HEX_BYTES = re.compile(r"0[xX](?:[0-9a-fA-F]{2})*\Z")
_HEX_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+\Z")
MAX_WORD = 2**256 - 1


def to_bytes(value: Any, what: str) -> bytes:
    """Read bytes, or a 0x-prefixed hex string of whole bytes.

    Raises:
        ValueError: with a sentence that names `what`.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str) and _HEX_BYTES.match(value):
        return bytes.fromhex(value[2:])
    raise ValueError(f"{what} must be a hex string with 0x prefix and an even number of digits, not {_shown(value)}")


def to_address(value: Any, what: str = "address") -> bytes:
    """Read a 20-byte address from 0x hex (any letter case) or bytes.

    Raises:
        ValueError: if it is anything else.
    """
    try:
        address = to_bytes(value, what)
    except ValueError:
        address = b""
    if len(address) != 20:
        raise ValueError(f"{what} must be 20 bytes as hex with 0x prefix, not {_shown(value)}")
    return address


def to_number(value: Any, what: str, *, maximum: int = MAX_WORD) -> int:
    """Read a number of at least 0 from an int or a 0x hex string.

    Raises:
        ValueError: if it is anything else, or above `maximum`.
    """
    if isinstance(value, str) and _HEX_NUMBER.match(value):
        number = int(value, 16)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError(f"{what} must be a number or hex string with 0x prefix, not {_shown(value)}")
    if not 0 <= number <= maximum:
        raise ValueError(f"{what} must be between 0 and {maximum:#x}, not {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


@functools.lru_cache(maxsize=4096)
def checksum(address: bytes) -> str:
    """Return a 20-byte address with the EIP-55 letter case."""
    digits = address.hex()
    case = keccak(digits.encode()).hex()
    return "0x" + "".join(d.upper() if c >= "8" else d for d, c in zip(digits, case, strict=False))


def hex_bytes(value: bytes) -> str:
    """Return bytes as JSON-RPC "data": 0x and two digits a byte."""
    return "0x" + value.hex()


def hex_word(value: int) -> str:
    """Return a number as 32 bytes of "data"."""
    return f"0x{value:064x}"
