"""Transactions that wait for a block: decoding, geth's admission checks, and the order they are mined in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import rlp
from eth_hash.auto import keccak
from eth_utils.exceptions import ValidationError

from zg_core.localnet.base.encoding import hex_bytes
from zg_core.localnet.chain.evm import BASE_FEE, BLOCK_GAS_LIMIT, MAX_INITCODE
from zg_core.localnet.chain.pyevm import CREATE_CONTRACT_ADDRESS, BadSignature, CancunTransactionBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zg_core.localnet.chain.pyevm import SignedTransactionAPI

MAX_WAITING: Final = 4096
MAX_TRANSACTION_BYTES: Final = 131_072  # geth's txMaxSize
_HALF_CURVE_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # EIP-2


class InvalidTransaction(ValueError):
    """The transaction can not be taken; the message is in geth's words."""


@dataclass(frozen=True)
class Waiting:
    """A transaction with what is costly to work out about it."""

    tx: SignedTransactionAPI
    hash: bytes
    sender: bytes
    type: int
    raw: bytes
    order: int = 0

    @property
    def nonce(self) -> int:
        """The sender's count this transaction is for."""
        return int(self.tx.nonce)

    @property
    def to(self) -> bytes | None:
        """The receiver, None for a contract creation."""
        return None if self.tx.to == CREATE_CONTRACT_ADDRESS else bytes(self.tx.to)

    @property
    def max_cost(self) -> int:
        """What the sender must hold, in neuron."""
        return int(self.tx.gas * self.tx.max_fee_per_gas + self.tx.value)

    @property
    def effective_gas_price(self) -> int:
        """What each unit of gas costs in a block of this chain, in neuron."""
        return min(int(self.tx.max_fee_per_gas), int(self.tx.max_priority_fee_per_gas) + BASE_FEE)


def decode(raw: bytes, chain_id: int) -> Waiting:
    """Read a signed transaction and check everything that does not depend on the state.

    Args:
        raw: legacy RLP, or an EIP-2930 or EIP-1559 envelope.
        chain_id: the chain it must be signed for.

    Raises:
        InvalidTransaction: if it is malformed, badly signed, for another chain, or could never be mined here.
    """
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise InvalidTransaction(f"oversized data: transaction size {len(raw)}, limit {MAX_TRANSACTION_BYTES}")
    tx_type = 0 if not raw or raw[0] > 0x7F else raw[0]
    if tx_type > 2 or raw[:1] == b"\0":
        raise InvalidTransaction(f"transaction type not supported: type {tx_type}")
    try:
        tx = CancunTransactionBuilder().decode(raw)
    except (rlp.exceptions.RLPException, ValidationError, ValueError, TypeError) as error:
        raise InvalidTransaction(f"invalid transaction encoding: {error}") from error
    return accept(tx, raw, chain_id)


def accept(tx: SignedTransactionAPI, raw: bytes, chain_id: int, sender: bytes | None = None) -> Waiting:
    """Check everything about a transaction that does not depend on the state.

    Args:
        tx: the transaction.
        raw: its encoding.
        chain_id: the chain it must be signed for.
        sender: who signed it, if that is certain; else it is found from the signature.

    Raises:
        InvalidTransaction: if it is for another chain, or could never be mined here.
    """
    signed_for = tx.chain_id
    if signed_for is not None and signed_for != chain_id:
        raise InvalidTransaction(f"invalid chain id for signer: have {signed_for} want {chain_id}")
    if tx.max_priority_fee_per_gas > tx.max_fee_per_gas:
        raise InvalidTransaction(
            "max priority fee per gas higher than max fee per gas: "
            f"maxPriorityFeePerGas: {tx.max_priority_fee_per_gas}, maxFeePerGas: {tx.max_fee_per_gas}"
        )
    if tx.gas > BLOCK_GAS_LIMIT:
        raise InvalidTransaction(f"exceeds block gas limit: gas {tx.gas}, limit {BLOCK_GAS_LIMIT}")
    if tx.to == CREATE_CONTRACT_ADDRESS and len(tx.data) > MAX_INITCODE:
        raise InvalidTransaction(f"max initcode size exceeded: code size {len(tx.data)} limit {MAX_INITCODE}")
    if tx.gas < tx.intrinsic_gas:
        raise InvalidTransaction(f"intrinsic gas too low: gas {tx.gas}, minimum needed {tx.intrinsic_gas}")
    if sender is None:
        sender = _signer(tx)
    if tx.max_fee_per_gas < BASE_FEE:
        raise InvalidTransaction(
            f"max fee per gas less than block base fee: address {hex_bytes(sender)}, "
            f"maxFeePerGas: {tx.max_fee_per_gas}, baseFee: {BASE_FEE}"
        )
    return Waiting(tx, keccak(raw), sender, tx.type_id or 0, raw)


def _signer(tx: SignedTransactionAPI) -> bytes:
    try:
        tx.validate()
        sender = bytes(tx.sender)
    except (ValidationError, BadSignature, ValueError, TypeError) as error:
        raise InvalidTransaction(f"invalid sender: {error}") from error
    if tx.s > _HALF_CURVE_ORDER:
        raise InvalidTransaction("invalid sender: invalid transaction v, r, s values")
    return sender


class Pool:
    """Transactions not mined yet, by sender and nonce. Not thread-safe; `Chain` holds the lock."""

    def __init__(self) -> None:
        self._by_sender: dict[bytes, dict[int, Waiting]] = {}
        self._by_hash: dict[bytes, Waiting] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._by_hash)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(sorted(self._by_hash.values(), key=lambda waiting: waiting.order))

    def get(self, tx_hash: bytes) -> Waiting | None:
        """Return the waiting transaction with this hash."""
        return self._by_hash.get(tx_hash)

    def snapshot(self) -> list[Waiting]:
        """Return the contents, for `restore`."""
        return list(self)

    def restore(self, contents: list[Waiting]) -> None:
        """Replace the contents with an earlier `snapshot`."""
        self._by_sender.clear()
        self._by_hash.clear()
        for waiting in contents:
            self._insert(waiting)

    def pending_nonce(self, sender: bytes, mined_nonce: int) -> int:
        """Return the nonce after the mined transactions and the waiting ones that follow without a gap."""
        waiting = self._by_sender.get(sender, {})
        nonce = mined_nonce
        while nonce in waiting:
            nonce += 1
        return nonce

    def add(self, new: Waiting, *, mined_nonce: int, balance: int) -> None:
        """Take a transaction, which may be one whose predecessors are still missing.

        Args:
            new: what `decode` returned.
            mined_nonce: the sender's nonce in the state.
            balance: the sender's balance in the state.

        Raises:
            InvalidTransaction: if it was used, cannot be paid for, or does not outbid what it replaces.
        """
        if new.hash in self._by_hash:
            raise InvalidTransaction("already known")
        if new.nonce < mined_nonce:
            raise InvalidTransaction(f"nonce too low: next nonce {mined_nonce}, tx nonce {new.nonce}")
        others = self._by_sender.get(new.sender, {})
        if balance < new.max_cost:
            raise InvalidTransaction(
                f"insufficient funds for gas * price + value: balance {balance}, "
                f"tx cost {new.max_cost}, overshot {new.max_cost - balance}"
            )
        queued = sum(other.max_cost for nonce, other in others.items() if nonce != new.nonce)
        if balance < queued + new.max_cost:
            raise InvalidTransaction(
                f"insufficient funds for gas * price + value: balance {balance}, queued cost {queued}, "
                f"tx cost {new.max_cost}, overshot {queued + new.max_cost - balance}"
            )
        old = others.get(new.nonce)
        if old is not None:
            fields = ("max_fee_per_gas", "max_priority_fee_per_gas")
            if any(getattr(new.tx, name) * 10 < getattr(old.tx, name) * 11 for name in fields):
                raise InvalidTransaction("replacement transaction underpriced")
            self.remove(old)
        elif len(self) >= MAX_WAITING:
            raise InvalidTransaction(f"txpool is full: {MAX_WAITING} transactions wait")
        self._insert(Waiting(new.tx, new.hash, new.sender, new.type, new.raw, next(self._order)))

    def _insert(self, waiting: Waiting) -> None:
        self._by_sender.setdefault(waiting.sender, {})[waiting.nonce] = waiting
        self._by_hash[waiting.hash] = waiting

    def remove(self, waiting: Waiting) -> None:
        """Forget a transaction: it was mined, replaced, or can never be."""
        self._by_hash.pop(waiting.hash, None)
        others = self._by_sender.get(waiting.sender, {})
        if others.get(waiting.nonce) is waiting:
            del others[waiting.nonce]
        if not others:
            self._by_sender.pop(waiting.sender, None)

    def ready(self, mined_nonce: Callable[[bytes], int], gas: int) -> Waiting | None:
        """Return the earliest transaction that is its sender's next and asks for at most `gas`."""
        firsts = (waiting.get(mined_nonce(sender)) for sender, waiting in self._by_sender.items())
        fitting = (waiting for waiting in firsts if waiting is not None and waiting.tx.gas <= gas)
        return min(fitting, key=lambda waiting: waiting.order, default=None)
