"""Putting revert data into words, as geth does."""

from __future__ import annotations

from typing import Final

_ERROR_SELECTOR: Final = bytes.fromhex("08c379a0")  # Error(string)
_PANIC_SELECTOR: Final = bytes.fromhex("4e487b71")  # Panic(uint256)
_PANICS: Final = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}


def explain(error: str, data: bytes) -> str:
    """Add to "execution reverted" what Error(string) or Panic(uint256) says; custom errors stay unnamed."""
    reason = _reason(data)
    return error if reason is None else f"{error}: {reason}"


def _reason(data: bytes) -> str | None:
    selector, body = data[:4], data[4:]
    if selector == _PANIC_SELECTOR and len(body) == 32:
        code = int.from_bytes(body, "big")
        return _PANICS.get(code, f"unknown panic code: {code:#x}")
    if selector == _ERROR_SELECTOR and len(body) >= 64:
        start = int.from_bytes(body[:32], "big")
        length = int.from_bytes(body[start : start + 32], "big")
        text = body[start + 32 : start + 32 + length]
        if len(text) == length:
            return text.decode(errors="replace")
    return None
