"""Blocks, transactions, receipts and logs as JSON-RPC shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.encoding import hex_bytes, hex_word
from zg_core.localnet.chain.blocks import EMPTY_TRIE_ROOT, EMPTY_UNCLES_HASH, NO_NONCE
from zg_core.localnet.chain.evm import BASE_FEE, BLOCK_GAS_LIMIT, COINBASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.localnet.chain.blocks import Block, Log, Mined, TxReceipt
    from zg_core.localnet.chain.pool import Waiting


def log(entry: Log) -> dict[str, Any]:
    """Return a log object."""
    return {
        "address": entry.address.lower(),
        "topics": [hex_bytes(topic) for topic in entry.topics],
        "data": hex_bytes(entry.data),
        "blockNumber": hex(entry.block_number),
        "blockHash": hex_bytes(entry.block_hash),
        "blockTimestamp": hex(entry.block_timestamp),
        "transactionHash": hex_bytes(entry.tx_hash),
        "transactionIndex": hex(entry.transaction_index),
        "logIndex": hex(entry.log_index),
        "removed": False,
    }


def receipt(entry: TxReceipt) -> dict[str, Any]:
    """Return a receipt object."""
    return {
        "transactionHash": hex_bytes(entry.tx_hash),
        "transactionIndex": hex(entry.transaction_index),
        "blockHash": hex_bytes(entry.block_hash),
        "blockNumber": hex(entry.block_number),
        "from": entry.sender.lower(),
        "to": None if entry.to is None else entry.to.lower(),
        "contractAddress": None if entry.contract_address is None else entry.contract_address.lower(),
        "status": hex(entry.status),
        "type": hex(entry.type),
        "gasUsed": hex(entry.gas_used),
        "cumulativeGasUsed": hex(entry.cumulative_gas_used),
        "effectiveGasPrice": hex(entry.effective_gas_price),
        "logs": [log(each) for each in entry.logs],
        "logsBloom": hex_bytes(entry.logs_bloom),
    }


def transaction(waiting: Waiting, chain_id: int, mined: TxReceipt | None = None) -> dict[str, Any]:
    """Return a transaction object; without a receipt it is one that waits."""
    tx: Any = waiting.tx  # the fields differ by type
    shown: dict[str, Any] = {
        "hash": hex_bytes(waiting.hash),
        "type": hex(waiting.type),
        "blockHash": None if mined is None else hex_bytes(mined.block_hash),
        "blockNumber": None if mined is None else hex(mined.block_number),
        "transactionIndex": None if mined is None else hex(mined.transaction_index),
        "from": hex_bytes(waiting.sender),
        "to": None if waiting.to is None else hex_bytes(waiting.to),
        "nonce": hex(tx.nonce),
        "value": hex(tx.value),
        "gas": hex(tx.gas),
        "input": hex_bytes(tx.data),
        "gasPrice": hex(waiting.effective_gas_price if mined or waiting.type < 2 else tx.max_fee_per_gas),
        "r": hex(tx.r),
        "s": hex(tx.s),
    }
    if waiting.type == 0:
        shown["v"] = hex(tx.v)
        if tx.chain_id is not None:
            shown["chainId"] = hex(tx.chain_id)
        return shown
    shown["v"] = shown["yParity"] = hex(tx.y_parity)
    shown["chainId"] = hex(chain_id)
    shown["accessList"] = [
        {"address": hex_bytes(address), "storageKeys": [hex_word(slot) for slot in slots]}
        for address, slots in tx.access_list
    ]
    if waiting.type == 2:
        shown["maxFeePerGas"] = hex(tx.max_fee_per_gas)
        shown["maxPriorityFeePerGas"] = hex(tx.max_priority_fee_per_gas)
    return shown


def mined_transaction(mined: Mined, chain_id: int) -> dict[str, Any]:
    """Return the object of a transaction in a block."""
    return transaction(mined.tx, chain_id, mined.receipt)


def block(entry: Block, chain_id: int, *, full: bool) -> dict[str, Any]:
    """Return a block object, with whole transactions or their hashes."""
    header = entry.header
    return {
        "number": hex(header.number),
        "hash": hex_bytes(entry.hash),
        "parentHash": hex_bytes(header.parent_hash),
        "timestamp": hex(header.timestamp),
        "stateRoot": hex_bytes(header.state_root),
        "transactionsRoot": hex_bytes(header.transactions_root),
        "receiptsRoot": hex_bytes(header.receipts_root),
        "logsBloom": hex_bytes(header.logs_bloom),
        "gasUsed": hex(header.gas_used),
        "mixHash": hex_bytes(header.prevrandao),
        "size": hex(entry.size),
        "transactions": [
            mined_transaction(each, chain_id) if full else hex_bytes(each.receipt.tx_hash)
            for each in entry.transactions
        ],
        **_CONSTANT_FIELDS,
    }


def pending_block(
    parent: Block, timestamp: int, waiting: Sequence[Waiting], chain_id: int, *, full: bool
) -> dict[str, Any]:
    """Return what is known of the next block: it has no hash yet."""
    return {
        "number": hex(parent.number + 1),
        "hash": None,
        "parentHash": hex_bytes(parent.hash),
        "timestamp": hex(timestamp),
        "stateRoot": hex_bytes(parent.header.state_root),
        "transactionsRoot": hex_bytes(EMPTY_TRIE_ROOT),
        "receiptsRoot": hex_bytes(EMPTY_TRIE_ROOT),
        "logsBloom": hex_bytes(bytes(256)),
        "gasUsed": "0x0",
        "mixHash": hex_bytes(bytes(32)),
        "size": "0x0",
        "transactions": [transaction(each, chain_id) if full else hex_bytes(each.hash) for each in waiting],
        **_CONSTANT_FIELDS,
        "nonce": None,
    }


_CONSTANT_FIELDS: dict[str, Any] = {
    "sha3Uncles": hex_bytes(EMPTY_UNCLES_HASH),
    "miner": hex_bytes(COINBASE),
    "difficulty": "0x0",
    "totalDifficulty": "0x0",
    "gasLimit": hex(BLOCK_GAS_LIMIT),
    "extraData": "0x",
    "nonce": hex_bytes(NO_NONCE),
    "baseFeePerGas": hex(BASE_FEE),
    "withdrawalsRoot": hex_bytes(EMPTY_TRIE_ROOT),
    "blobGasUsed": "0x0",
    "excessBlobGas": "0x0",
    "parentBeaconBlockRoot": hex_bytes(bytes(32)),
    "uncles": [],
    "withdrawals": [],
}
