"""What the chain keeps about mined transactions: logs, receipts and blocks with real header hashes."""

from __future__ import annotations

import functools
import itertools
import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import rlp
from eth_hash.auto import keccak

from zg_core.localnet.base.encoding import checksum
from zg_core.localnet.chain.evm import BASE_FEE, BLOCK_GAS_LIMIT, COINBASE
from zg_core.localnet.chain.pyevm import BloomFilter, HexaryTrie

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zg_core.localnet.chain.evm import BlockContext, Outcome, RawLog
    from zg_core.localnet.chain.pool import Waiting

EMPTY_UNCLES_HASH: Final = keccak(rlp.encode([]))
EMPTY_TRIE_ROOT: Final = keccak(rlp.encode(b""))
NO_NONCE: Final = bytes(8)


@dataclass(frozen=True)
class Log:
    """One event of a mined transaction; `log_index` counts within the block."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    tx_hash: bytes
    log_index: int
    transaction_index: int
    block_hash: bytes
    block_timestamp: int


@dataclass(frozen=True)
class TxReceipt:
    """What became of a mined transaction.

    `status` is 1 or 0; `contract_address` is where it created a contract (as in geth also where a failed one would
    have); `revert_data` is what a contract that refused (status 0) returned, `error` the words for any failure.
    Prices are neuron per gas.
    """

    tx_hash: bytes
    status: int
    block_number: int
    gas_used: int
    logs: tuple[Log, ...]
    contract_address: str | None
    revert_data: bytes
    error: str | None
    block_hash: bytes
    transaction_index: int
    cumulative_gas_used: int
    effective_gas_price: int
    logs_bloom: bytes
    sender: str
    to: str | None
    type: int


@dataclass(frozen=True)
class Mined:
    """A transaction in a block, with its receipt."""

    tx: Waiting = field(repr=False)
    receipt: TxReceipt


@dataclass(frozen=True)
class Header:
    """The header fields that differ between blocks of this chain."""

    number: int
    timestamp: int
    parent_hash: bytes
    prevrandao: bytes
    state_root: bytes
    transactions_root: bytes = EMPTY_TRIE_ROOT
    receipts_root: bytes = EMPTY_TRIE_ROOT
    logs_bloom: bytes = bytes(256)
    gas_used: int = 0

    def encode(self) -> bytes:
        """Return the RLP of the header in its Cancun form."""
        return bytes(
            rlp.encode(
                [
                    self.parent_hash,
                    EMPTY_UNCLES_HASH,
                    COINBASE,
                    self.state_root,
                    self.transactions_root,
                    self.receipts_root,
                    self.logs_bloom,
                    0,
                    self.number,
                    BLOCK_GAS_LIMIT,
                    self.gas_used,
                    self.timestamp,
                    b"",
                    self.prevrandao,
                    NO_NONCE,
                    BASE_FEE,
                    EMPTY_TRIE_ROOT,
                    0,
                    0,
                    bytes(32),
                ]
            )
        )


@dataclass(frozen=True)
class Block:
    """A mined block. `hash` is keccak256 of the encoded header, as on any other chain."""

    header: Header
    hash: bytes
    size: int
    transactions: tuple[Mined, ...] = ()

    @property
    def number(self) -> int:
        """Height, 0 for the genesis block."""
        return self.header.number

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return self.header.timestamp

    @property
    def logs(self) -> Iterable[Log]:
        """All events of the block in order."""
        return (log for mined in self.transactions for log in mined.receipt.logs)


def prevrandao_of(number: int) -> bytes:
    """Return the "random" word of a block: the same in every run, different in every block."""
    return keccak(b"zerog localnet prevrandao" + number.to_bytes(8, "big"))


def _bloom(logs: Iterable[RawLog]) -> int:
    """Return the bloom filter over the addresses and topics of logs."""
    bloom = BloomFilter()
    for address, topics, _ in logs:
        bloom.extend([address, *topics])
    return int(bloom)


def _encoded_receipt(waiting: Waiting, outcome: Outcome, cumulative_gas: int, bloom: int) -> bytes:
    """Return a receipt as the receipts trie holds it (EIP-2718 envelope, EIP-658 status)."""
    logs = [[address, list(topics), data] for address, topics, data in outcome.logs]
    body = rlp.encode([int(outcome.error is None), cumulative_gas, bloom.to_bytes(256, "big"), logs])
    return bytes(body) if waiting.type == 0 else bytes([waiting.type]) + body


def _trie_root(items: Sequence[bytes]) -> bytes:
    """Return the root of the trie that maps index to item."""
    if not items:
        return EMPTY_TRIE_ROOT
    trie = HexaryTrie({})
    for index, item in enumerate(items):
        trie[rlp.encode(index)] = item
    return bytes(trie.root_hash)


@dataclass(frozen=True)
class LogFilter:
    """Which logs somebody asks for: by addresses, and by alternatives for each topic (None: any will do)."""

    addresses: frozenset[str] | None = None
    topics: tuple[frozenset[bytes] | None, ...] = ()

    def matches(self, log: Log) -> bool:
        """Whether the log has one of the addresses and, position by position, one of the topics."""
        if self.addresses is not None and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(wanted is None or topic in wanted for wanted, topic in zip(self.topics, log.topics, strict=False))


def seal(
    context: BlockContext, parent_hash: bytes, state_root: bytes, done: Sequence[tuple[Waiting, Outcome]]
) -> Block:
    """Put executed transactions into a block.

    Args:
        context: the block they ran in.
        parent_hash: of the block before.
        state_root: after the last of them.
        done: each with its outcome, in order.
    """
    blooms = [_bloom(outcome.logs) for _, outcome in done]
    used = list(itertools.accumulate(outcome.gas_used for _, outcome in done))
    header = Header(
        number=context.number,
        timestamp=context.timestamp,
        parent_hash=parent_hash,
        prevrandao=context.prevrandao,
        state_root=state_root,
        transactions_root=_trie_root([waiting.raw for waiting, _ in done]),
        receipts_root=_trie_root(
            [
                _encoded_receipt(waiting, outcome, gas, bloom)
                for (waiting, outcome), gas, bloom in zip(done, used, blooms, strict=True)
            ]
        ),
        logs_bloom=functools.reduce(operator.or_, blooms, 0).to_bytes(256, "big"),
        gas_used=used[-1] if used else 0,
    )
    encoded = header.encode()
    block = Block(header, keccak(encoded), len(encoded) + sum(len(waiting.raw) for waiting, _ in done))
    mined: list[Mined] = []
    log_count = 0
    for index, (waiting, outcome) in enumerate(done):
        logs = tuple(
            Log(
                address=checksum(address),
                topics=topics,
                data=data,
                block_number=header.number,
                tx_hash=waiting.hash,
                log_index=log_count + position,
                transaction_index=index,
                block_hash=block.hash,
                block_timestamp=header.timestamp,
            )
            for position, (address, topics, data) in enumerate(outcome.logs)
        )
        log_count += len(logs)
        receipt = TxReceipt(
            tx_hash=waiting.hash,
            status=int(outcome.error is None),
            block_number=header.number,
            gas_used=outcome.gas_used,
            logs=logs,
            contract_address=None if outcome.contract_address is None else checksum(outcome.contract_address),
            revert_data=outcome.output if outcome.reverted else b"",
            error=outcome.error,
            block_hash=block.hash,
            transaction_index=index,
            cumulative_gas_used=used[index],
            effective_gas_price=waiting.effective_gas_price,
            logs_bloom=blooms[index].to_bytes(256, "big"),
            sender=checksum(waiting.sender),
            to=None if waiting.to is None else checksum(waiting.to),
            type=waiting.type,
        )
        mined.append(Mined(waiting, receipt))
    return replace(block, transactions=tuple(mined))
