"""Transactions as bytes: RLP, the digest to sign, and the raw form (EIP-155 and EIP-1559)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zg_core.crypto import keccak256

if TYPE_CHECKING:
    from zg_core.wallet import Wallet

__all__ = ["Fees", "Unsigned", "rlp"]

Item = int | bytes | list["Item"]


def rlp(item: Item) -> bytes:
    """Recursive length prefix; an integer is its shortest big-endian form.

    Example:
        >>> rlp([0, 1024, b"dog"]).hex()
        'c88082040083646f67'
    """
    if isinstance(item, list):
        body = b"".join(rlp(each) for each in item)
        return _prefix(len(body), 0xC0) + body
    data = item if isinstance(item, bytes) else item.to_bytes((item.bit_length() + 7) // 8)
    return data if len(data) == 1 and data[0] < 0x80 else _prefix(len(data), 0x80) + data


def _prefix(length: int, base: int) -> bytes:
    if length < 56:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([base + 55 + len(size)]) + size


@dataclass(frozen=True, slots=True)
class Fees:
    """What a unit of gas may cost, in neuron: at most `cap`, of which `tip` for the validator.

    `tip` is None on a chain without EIP-1559; `cap` is the price then.
    """

    cap: int
    tip: int | None = None

    def raised(self, percent: int) -> Fees:
        """Higher by at least `percent`, as a node asks of a replacement."""
        return Fees(_raised(self.cap, percent), None if self.tip is None else _raised(self.tip, percent))

    def at_least(self, other: Fees) -> Fees:
        """The higher of both, part by part."""
        if self.tip is None or other.tip is None:
            return self if self.cap >= other.cap else other
        return Fees(max(self.cap, other.cap), max(self.tip, other.tip))


def _raised(price: int, percent: int) -> int:
    return price + max(price * percent // 100, 1) + 1


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A transaction before it is signed; `value` and fees in neuron."""

    chain_id: int
    nonce: int
    to: str
    value: int
    data: bytes
    gas: int
    fees: Fees

    def sign(self, wallet: Wallet) -> tuple[str, str]:
        """Raw transaction and its hash, both 0x. Only the digest goes to the wallet, its key never leaves it."""
        to = bytes.fromhex(self.to[2:])
        if self.fees.tip is None:
            fields: list[Item] = [self.nonce, self.fees.cap, self.gas, to, self.value, self.data]
            signature = wallet.sign_digest(keccak256(rlp([*fields, self.chain_id, 0, 0])))
            v = self.chain_id * 2 + 35 + signature[64] - 27
            raw = rlp([*fields, v, *_halves(signature)])
        else:
            prices = [self.fees.tip, self.fees.cap]
            fields = [self.chain_id, self.nonce, *prices, self.gas, to, self.value, self.data, []]
            signature = wallet.sign_digest(keccak256(b"\x02" + rlp(fields)))
            raw = b"\x02" + rlp([*fields, signature[64] - 27, *_halves(signature)])
        return "0x" + raw.hex(), "0x" + keccak256(raw).hex()


def _halves(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
