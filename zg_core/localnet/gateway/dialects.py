"""What other nodes say where the local chain, like geth, refuses a transaction.

From their sources: Nethermind before 1.32 (``AcceptTxResult.cs``), Besu (``RpcErrorType.java``), Erigon
(``txpoolcfg.go``), Hardhat (``edr_evm/src/mempool.rs``), Ethermint (``ante/eth.go``) and CometBFT
(``mempool/errors.go``), OpenEthereum (``rpc/helpers/errors.rs``).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "reworded"]

# What the local chain says, by the beginning of its sentence, and the name under which each dialect has it.
_KINDS: tuple[tuple[str, str], ...] = (
    ("already known", "known"),
    ("nonce too low", "used"),
    ("replacement transaction underpriced", "occupied"),
    ("insufficient funds", "poor"),
    ("max fee per gas less than block base fee", "cheap"),
    ("txpool is full", "full"),
)
_NONCES = re.compile(r"next nonce ([0-9]+), tx nonce ([0-9]+)")

DIALECTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "nethermind": {
            "known": "AlreadyKnown",
            "used": "OldNonce, Current nonce: {next}, nonce of rejected tx: {nonce}",
            "occupied": "ReplacementNotAllowed",
            "poor": "InsufficientFunds",
            "cheap": "FeeTooLow, MaxFeePerGas too low",
            "full": "FeeTooLowToCompete",
        },
        "besu": {
            "known": "Known transaction",
            "used": "Nonce too low",
            "occupied": "Replacement transaction underpriced",
            "poor": "Upfront cost exceeds account balance",
            "cheap": "Gas price below current base fee",
            "full": "Transaction pool not enabled",
        },
        "erigon": {
            "known": "INTERNAL_ERROR: existing tx with same hash",
            "used": "INTERNAL_ERROR: nonce too low",
            "occupied": "could not replace existing tx",
            "poor": "insufficient funds",
            "cheap": "fee too low",
            "full": "pending sub-pool is full",
        },
        "hardhat": {
            "known": "Known transaction",
            "used": "Nonce too low. Expected nonce to be at least {next} but got {nonce}.",
            "occupied": "Replacement transaction underpriced. A gasPrice/maxFeePerGas of at least 2 is necessary",
            "poor": "Sender doesn't have enough funds to send tx",
            "cheap": "Transaction maxFeePerGas is too low for the next block",
            "full": "Internal error",
        },
        "ethermint": {
            "known": "tx already in mempool",
            "used": "invalid nonce; got {nonce}, expected {next}: invalid sequence: invalid sequence",
            "occupied": "invalid nonce; got {nonce}, expected {next}: invalid sequence: invalid sequence",
            "poor": "insufficient funds: insufficient funds",
            "cheap": "provided fee < minimum global fee (1 < 2): insufficient fee",
            "full": "mempool is full: number of txs 5000 (max: 5000)",
        },
        "openethereum": {
            "known": "Transaction with the same hash was already imported.",
            "used": "Transaction nonce is too low. Try incrementing the nonce.",
            "occupied": "Transaction gas price 1wei is too low. There is another transaction with same nonce",
            "poor": "Insufficient funds. The account you tried to send transaction from does not have enough funds.",
            "cheap": "Transaction gas price is too low. It does not satisfy your node's minimal gas price",
            "full": "There are too many transactions in the queue. Your transaction was dropped due to limit.",
        },
    }
)
"""Sentences of other nodes, by node and by what they mean."""


def reworded(words: str, dialect: str) -> str:
    """What the node called `dialect` says where the local chain says `words`; what it has no words for stays."""
    kind = next((name for begin, name in _KINDS if words.startswith(begin)), None)
    if kind is None:
        return words
    numbers = _NONCES.search(words)
    after, own = (numbers[1], numbers[2]) if numbers else ("1", "0")
    return DIALECTS[dialect][kind].format(next=after, nonce=own)
