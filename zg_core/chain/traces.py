"""What became of a transaction, as far as the chain shows it: by its receipt, by its hash, by who used its nonce.

A node can be silent about a transaction for many reasons, and a gateway asks another node each time. So nothing but
the other transaction proves that one can no longer be mined: one with the same nonce, in a block, signed by the wallet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.chain.encoding import rlp
from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import data_of, quantity
from zg_core.crypto import SignatureError, keccak256, recover, same_address
from zg_core.errors import ChainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.chain.encoding import Item
    from zg_core.chain.rpc import JsonRpc

__all__ = ["Seen", "Traces", "block_of", "signer_of"]

# How far back the block is looked for first in which a nonce was used: every full node keeps the state of 128 blocks.
_REACH = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node shows of some hashes.

    Attributes:
        mined: How many transactions of the account are mined, as this node counts.
        receipt: The receipt of the one that is in a block.
        hash: Which one that is.
        known: The node knows one of them.
        inconclusive: It did not answer about one.
    """

    mined: int
    receipt: dict[str, Any] | None = None
    hash: str = ""
    known: bool = False
    inconclusive: bool = False


class Traces:
    """Looks for the transactions of one account."""

    def __init__(self, rpc: JsonRpc, address: str) -> None:
        self._rpc = rpc
        self.address = address
        """The account."""

    async def look(self, hashes: Sequence[str], *, known: bool = False) -> Seen:
        """One look for `hashes`; with `known`, also whether the node has one that is not mined."""
        count, *answers = await self._rpc.batch(
            [
                ("eth_getTransactionCount", [self.address, "latest"]),
                *[("eth_getTransactionReceipt", [each]) for each in hashes],
                *[("eth_getTransactionByHash", [each]) for each in hashes if known],
            ]
        )
        mined = quantity(count, "eth_getTransactionCount")
        receipts, found = answers[: len(hashes)], answers[len(hashes) :]
        for tx_hash, receipt in zip(hashes, receipts, strict=True):
            if isinstance(receipt, dict) and block_of(receipt) is not None:
                return Seen(mined, receipt, tx_hash, known=True)
        return Seen(
            mined,
            known=any(isinstance(each, dict) for each in [*receipts, *found]),
            inconclusive=any(isinstance(each, RpcFailure) for each in answers),
        )

    async def taker(self, nonce: int) -> str | None:
        """The hash of the mined transaction of this account that has `nonce`; None if that cannot be shown.

        It is shown where the block is found in which the count passes the nonce, and in it a transaction with this
        nonce that the account's key has signed.

        Raises:
            ChainError: the node cannot be reached.
        """
        block = await self._block_that_used(nonce)
        if block is None:
            return None
        (found,) = await self._rpc.batch([("eth_getBlockByNumber", [hex(block), True])])
        listed = found.get("transactions") if isinstance(found, dict) else None
        for transaction in listed if isinstance(listed, list) else ():
            if not isinstance(transaction, dict) or not same_address(str(transaction.get("from")), self.address):
                continue
            try:
                if quantity(transaction.get("nonce"), "a transaction") != nonce:
                    continue
                tx_hash, signer = signer_of(transaction)
            except (ChainError, SignatureError):
                continue
            if same_address(signer, self.address):
                return tx_hash
        return None

    async def contradicts(self, call: dict[str, str], receipt: dict[str, Any], gas: int) -> bool:
        """Whether a receipt says that a call was reverted which the chain would carry out after the same block.

        A node that denies what was done would have it done once more. One that used up all its gas, or whose block the
        node has forgotten, contradicts nothing.

        Args:
            call: Sender, receiver, data and value.
            receipt: It says that this was reverted.
            gas: What the transaction had at most.

        Raises:
            ChainError: the node cannot be reached.
        """
        block = block_of(receipt)
        try:
            used = quantity(receipt.get("gasUsed"), "a receipt")
        except ChainError:
            used = 0
        if block is None or used >= gas:
            return False
        (answer,) = await self._rpc.batch([("eth_call", [call, hex(block)])])
        return not isinstance(answer, RpcFailure)

    async def _block_that_used(self, nonce: int) -> int | None:
        """The first block after which the account's count is beyond `nonce`."""
        (head,) = await self._rpc.batch([("eth_blockNumber", [])])
        high, reach = quantity(head, "eth_blockNumber"), _REACH
        while True:
            low = max(high - reach, 0)
            bounds = await self._counts(low, high)
            if bounds is None or bounds[1] <= nonce or (low == 0 and bounds[0] > nonce):
                return None
            if bounds[0] <= nonce:
                break
            reach *= 10
        while high - low > 1:
            # Four places at once: a batch costs little more than one call.
            step = max((high - low) // 5, 1)
            places = sorted({min(low + step * n, high - 1) for n in range(1, 5)})
            counts = await self._counts(*places)
            if counts is None:
                return None
            for place, count in zip(places, counts, strict=True):
                if count > nonce:
                    high = min(high, place)
                else:
                    low = max(low, place)
        return high

    async def _counts(self, *blocks: int) -> list[int] | None:
        """The account's transactions at the end of each block; None where the node has forgotten one."""
        answers = await self._rpc.batch([("eth_getTransactionCount", [self.address, hex(each)]) for each in blocks])
        if any(isinstance(each, RpcFailure) for each in answers):
            return None
        return [quantity(each, "eth_getTransactionCount") for each in answers]


def block_of(receipt: dict[str, Any]) -> int | None:
    """The block of a receipt; None if it names none, so that nothing is mined yet."""
    number = receipt.get("blockNumber")
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return number
    return quantity(number, "a receipt") if isinstance(number, str) else None


def signer_of(transaction: dict[str, Any]) -> tuple[str, str]:
    """Hash and signer of a transaction that a node shows, computed from its fields (EIP-155, EIP-2930, EIP-1559).

    Raises:
        ChainError: a field is missing or malformed, or the transaction is of another kind.
        SignatureError: its signature is none.
    """

    def number(name: str) -> int:
        return quantity(transaction.get(name), f"a transaction's {name}")

    kind = number("type") if transaction.get("type") is not None else 0
    to = transaction.get("to")
    receiver = b"" if to is None else data_of(to, "a transaction's to")
    data = data_of(transaction.get("input", transaction.get("data")), "a transaction's input")
    r, s, v = number("r"), number("s"), number("v")
    tail: list[Item] = [number("gas"), receiver, number("value"), data]
    if kind == 0:
        plain: list[Item] = [number("nonce"), number("gasPrice"), *tail]
        parity = (v - 35) % 2 if v >= 35 else v - 27
        unsigned = rlp([*plain, (v - 35) // 2, 0, 0] if v >= 35 else plain)
        signed = rlp([*plain, v, r, s])
    elif kind in (1, 2):
        names = ["gasPrice"] if kind == 1 else ["maxPriorityFeePerGas", "maxFeePerGas"]
        chain, prices, listed = number("chainId"), [number(name) for name in names], _access(transaction)
        fields: list[Item] = [chain, number("nonce"), *prices, *tail, listed]
        parity = v
        unsigned = bytes([kind]) + rlp(fields)
        signed = bytes([kind]) + rlp([*fields, v, r, s])
    else:
        raise ChainError(f"a transaction of type {kind}", code="rpc_junk")
    if parity not in (0, 1) or max(r, s).bit_length() > 256:
        raise SignatureError("no signature")
    signer = recover(keccak256(unsigned), r.to_bytes(32) + s.to_bytes(32) + bytes([27 + parity]))
    return "0x" + keccak256(signed).hex(), signer


def _access(transaction: dict[str, Any]) -> list[Item]:
    listed = transaction.get("accessList") or []
    try:
        return [
            [data_of(one["address"], "an access list"), [data_of(key, "an access list") for key in one["storageKeys"]]]
            for one in listed
        ]
    except (TypeError, KeyError):
        raise ChainError("a transaction with a malformed access list", code="rpc_junk") from None
