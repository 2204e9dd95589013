"""What nodes say to a transaction: a table of their sentences, each with the program and the file it comes from.

A sentence tells what one node thinks, and a gateway may show the last of several nodes; so no row proves that a
transaction is not in: `zg_core.chain.transactions` looks for it before it believes one. What no row knows is `UNCLEAR`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zg_core.chain.failures import RpcFailure

__all__ = ["TABLE", "Meaning", "Minimum", "Row", "is_rate_limit", "meaning", "minimum"]


class Meaning(StrEnum):
    """What the answer to ``eth_sendRawTransaction`` means, as far as one node can tell."""

    SENT = "sent"  # the node has it
    NONCE_USED = "nonce_used"  # a transaction with this nonce is mined: ours, or another
    NONCE_OCCUPIED = "nonce_occupied"  # one with this nonce waits, and this one does not outbid it
    NONCE_TOO_HIGH = "nonce_too_high"  # an earlier one is missing here: the node lags, or there is a gap
    TOO_CHEAP = "too_cheap"  # the node wants a higher price
    TOO_POOR = "too_poor"  # the wallet cannot pay for it
    REFUSED = "refused"  # this transaction can never be taken
    BUSY = "busy"  # not now
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence.

    Attributes:
        meaning: What it means.
        pattern: A regular expression for the part of it that does not change, searched in lower case.
        node: Who says it.
        source: Where: repository and file, or an issue that shows it.
    """

    meaning: Meaning
    pattern: str
    node: str
    source: str


_GETH_POOL = "ethereum/go-ethereum core/txpool/errors.go"
_GETH_CORE = "ethereum/go-ethereum core/error.go"
_GETH_CHECK = "ethereum/go-ethereum core/txpool/validation.go"
_NETHERMIND = "NethermindEth/nethermind Nethermind.TxPool/AcceptTxResult.cs"
_BESU = "hyperledger/besu jsonrpc/internal/response/RpcErrorType.java"
_RETH = "paradigmxyz/reth crates/rpc/rpc-eth-types/src/error/mod.rs"
_ANVIL = "foundry-rs/foundry crates/anvil/src/eth/error.rs"
_ERIGON = "erigontech/erigon txpool/txpoolcfg/txpoolcfg.go"
_HARDHAT = "NomicFoundation/edr crates/edr_evm/src/mempool.rs"
_ETHERMINT = "evmos/ethermint app/ante/eth.go"
_COSMOS = "cosmos/evm mempool/errors.go"
_COMET = "cometbft/cometbft mempool/errors.go"
# OpenEthereum, zkSync, Hedera, Klaytn, Metis, Mantle, Moonbeam, Arbitrum: sentences that its tests collect.
_OTHERS = "smartcontractkit/chainlink core/chains/evm/client/errors_test.go"

_M = Meaning

# The first row that fits decides, so the special stands before the general.
TABLE: tuple[Row, ...] = (
    # it is there
    Row(_M.SENT, r"already known", "geth, bor, op-geth, Nethermind ≥ 1.32", _GETH_POOL),
    Row(_M.SENT, r"alreadyknown", "Nethermind", _NETHERMIND + " (before 1.32)"),
    Row(_M.SENT, r"\bknown transaction", "old geth, Besu, Hardhat, Klaytn, zkSync", _BESU),
    Row(_M.SENT, r"already imported|alreadyimported", "OpenEthereum, anvil, Moonbeam", _ANVIL),
    Row(_M.SENT, r"tx already (in mempool|exists in cache)", "CometBFT, Ethermint, Sei", _COMET),
    Row(_M.SENT, r"existing tx with same hash", "Erigon", _ERIGON),
    Row(_M.SENT, r"transaction already in (the )?pool", "Erigon 3", "erigontech/erigon txnprovider/txpool"),
    Row(_M.SENT, r"transaction already finalized", "Harmony", _OTHERS),
    # the nonce: too high first, since both name it
    Row(_M.NONCE_TOO_HIGH, r"nonce (is )?too high|nonce is too distant", "geth, reth, anvil, Besu", _GETH_CORE),
    Row(_M.NONCE_TOO_HIGH, r"\bnoncegap\b|noncetoofarinfuture", "Nethermind", _NETHERMIND),
    Row(_M.NONCE_TOO_HIGH, r"tx nonce is higher than account nonce", "cosmos/evm", _COSMOS),
    Row(_M.NONCE_TOO_HIGH, r"future transaction tries to replace pending", "geth", _GETH_POOL),
    Row(_M.NONCE_USED, r"(?<!authority )nonce (is )?too low", "geth, reth, erigon, Besu, Hardhat, nitro", _GETH_CORE),
    Row(_M.NONCE_USED, r"\boldnonce\b|ownnoncealreadyused", "Nethermind", _NETHERMIND + " (before 1.32)"),
    Row(_M.NONCE_USED, r"tx nonce is lower than account nonce", "cosmos/evm", _COSMOS),
    Row(_M.NONCE_USED, r"invalid transaction nonce|pool\(stale\)", "Arbitrum, Moonbeam", _OTHERS),
    # somebody waits there
    Row(_M.NONCE_OCCUPIED, r"replacement (transaction|tx) underpriced", "geth, Besu, Erigon, Hardhat", _GETH_POOL),
    Row(_M.NONCE_OCCUPIED, r"replacementnotallowed", "Nethermind, nitro", _NETHERMIND + " (before 1.32)"),
    Row(_M.NONCE_OCCUPIED, r"could not replace existing tx", "Erigon", _ERIGON),
    Row(_M.NONCE_OCCUPIED, r"insufficient gas price to replace", "anvil, reth", _ANVIL),
    Row(_M.NONCE_OCCUPIED, r"another (transaction|tx).{0,24} same nonce", "OpenEthereum, Klaytn", _OTHERS),
    # what it costs
    Row(_M.TOO_POOR, r"insufficient (funds|balance)", "geth and its kin, reth, Erigon", _GETH_CORE),
    Row(_M.TOO_POOR, r"insufficientfunds", "Nethermind", _NETHERMIND + " (before 1.32)"),
    Row(_M.TOO_POOR, r"upfront cost exceeds account balance", "Besu", _BESU),
    Row(_M.TOO_POOR, r"(doesn't|does not) have enough funds|not enough funds", "Hardhat, Arbitrum", _HARDHAT),
    Row(_M.TOO_POOR, r"would cause overdraft", "old geth", _OTHERS),
    Row(_M.TOO_CHEAP, r"max ?fee per ?gas less than block base fee", "geth, reth, anvil, zkSync", _GETH_CORE),
    Row(_M.TOO_CHEAP, r"gas ?price (is )?(too low|below|less than)", "geth ≥ 1.14, Besu, Metis, Astar", _BESU),
    Row(_M.TOO_CHEAP, r"gas price '?[0-9]+'? is (too low|below)", "Hedera, OpenEthereum", _OTHERS),
    Row(_M.TOO_CHEAP, r"\bunderpriced", "geth, Erigon, Klaytn", _GETH_POOL),
    Row(_M.TOO_CHEAP, r"gas tip cap [0-9]+, minimum needed", "geth", _GETH_CHECK),
    Row(_M.TOO_CHEAP, r"priority fee below minimum", "reth", _RETH),
    Row(_M.TOO_CHEAP, r"feetoolow", "Nethermind", _NETHERMIND + " (before 1.32)"),
    Row(_M.TOO_CHEAP, r"fee too low", "Erigon", _ERIGON),
    Row(_M.TOO_CHEAP, r"insufficient fee|provided fee < minimum", "Ethermint, Sei", _ETHERMINT),
    Row(_M.TOO_CHEAP, r"try increasing the fee", "OpenEthereum", _OTHERS),
    # never
    Row(_M.REFUSED, r"\binvalid sender|invalid signature|sender( is)? not an eoa", "geth, Besu, reth", _GETH_POOL),
    Row(_M.REFUSED, r"invalid chain ?id|wrong chainid|chainid (is )?(not supported|required)", "geth, Besu", _BESU),
    Row(_M.REFUSED, r"signed for another chain", "anvil", _ANVIL),
    Row(_M.REFUSED, r"exceeds (the )?(block|current) gas limit|gas limit too high", "geth, Besu, reth", _GETH_POOL),
    Row(_M.REFUSED, r"exceeds block gas limit of|greater than the block gas limit", "Hardhat, anvil", _HARDHAT),
    Row(_M.REFUSED, r"intrinsic ?gas (too (low|high)|exceeds)|insufficient gas for floor", "geth, Besu", _GETH_CORE),
    Row(_M.REFUSED, r"oversized data|tx too large|transaction is too big", "geth, CometBFT", _GETH_POOL),
    Row(_M.REFUSED, r"max initcode size exceeded|initcode too large", "geth, reth, Erigon", _GETH_CORE),
    Row(_M.REFUSED, r"(transaction|tx) type .{0,12}not supported", "geth, Besu", _GETH_CORE),
    Row(_M.REFUSED, r"negative value|gas uint64 overflow|gasuintoverflow|int256overflow", "geth, Erigon", _GETH_POOL),
    Row(_M.REFUSED, r"priority fee per gas (higher than|exceeds) max fee", "geth, Besu", _GETH_CORE),
    Row(_M.REFUSED, r"tx fee \(.*\) exceeds the configured cap|transaction fee cap exceeded", "geth, Besu", _OTHERS),
    Row(_M.REFUSED, r"senderiscontract|failedtoresolvesender|gaslimitexceeded", "Nethermind", _NETHERMIND),
    Row(_M.REFUSED, r"banned in local queue|transaction is not permitted", "OpenEthereum", _OTHERS),
    Row(_M.REFUSED, r"method .{0,64}(not found|does not exist|not supported)", "all", "EIP-1474"),
    # later
    Row(_M.BUSY, r"(tx|transaction) ?pool is full|pool overflow|sub-pool is full", "geth, Erigon", _ERIGON),
    Row(_M.BUSY, r"mempool is full|queue full|pool full", "CometBFT, Arbitrum", _COMET),
    Row(_M.BUSY, r"account limit exceeded|too many transactions in the queue", "geth, OpenEthereum", _GETH_POOL),
)

# Ethermint and cosmos/evm say one sentence for both sides.
_SEQUENCE = re.compile(r"invalid nonce; got ([0-9]{1,19}), (?:should be )?expected ([0-9]{1,19})")
_PATTERNS = [(re.compile(row.pattern), row.meaning) for row in TABLE]

# Rate limits (providers' documents: Infura -32005, Alchemy 429, Ankr and Chainstack texts). -32005 alone is no sign:
# Besu gives it to a block gas limit, Infura to a query with too many results.
_RATE = re.compile(
    r"rate.?limit|too many requests|request (rate|count)|requests? per (second|minute|day)|compute units per second"
    r"|capacity (limit )?exceeded|call rate|throughput|quota (exceeded|reached)|calls? per (second|minute|day)"
)
_RATE_CODES = frozenset({429, -32029, -32605})


def meaning(failure: RpcFailure | None) -> Meaning:
    """What a node's answer to ``eth_sendRawTransaction`` means; None is a hash.

    Example:
        >>> from zg_core.chain.failures import RpcFailure
        >>> meaning(RpcFailure(-32000, "INTERNAL_ERROR: nonce too low")).value
        'nonce_used'
        >>> meaning(RpcFailure(-32000, "request timed out")).value
        'unclear'
    """
    if failure is None:
        return Meaning.SENT
    if is_rate_limit(failure):
        return Meaning.BUSY
    low = failure.message.lower()
    if match := _SEQUENCE.search(low):
        got, expected = int(match[1]), int(match[2])
        return Meaning.NONCE_USED if got < expected else Meaning.NONCE_TOO_HIGH
    return next((found for pattern, found in _PATTERNS if pattern.search(low)), Meaning.UNCLEAR)


def is_rate_limit(failure: RpcFailure) -> bool:
    """Whether an error says to come back later; what a contract says never does."""
    low = failure.message.lower()
    if failure.data or "revert" in low:
        return False
    return failure.code in _RATE_CODES or _RATE.search(low) is not None


@dataclass(frozen=True, slots=True)
class Minimum:
    """The price that a node asks for, in neuron per unit of gas: of the tip, or of all."""

    tip: int = 0
    cap: int = 0


_NUMBER = "([0-9]{1,30})"
_MINIMA: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern.replace("#", _NUMBER)), part, source)
    for pattern, part, source in (
        (r"gas tip cap [0-9]+, minimum needed #", "tip", _GETH_CHECK),
        (r"priority fee below minimum required priority fee #", "tip", _RETH),
        (r"effectivepriorityfeepergas too low [0-9]+ < #", "tip", _OTHERS),
        (r"basefee: #", "cap", _GETH_CHECK),
        (r"feepergas needs to be higher than #", "cap", _OTHERS),
        (r"use at least tx\.gasprice = #", "cap", _OTHERS),
        (r"minimal: # got", "cap", _OTHERS),
        (r"minimum gas price '#'", "cap", _OTHERS),
    )
)


def minimum(failure: RpcFailure | None) -> Minimum:
    """What a node that finds a transaction too cheap asks for, as far as it names it.

    Example:
        >>> from zg_core.chain.failures import RpcFailure
        >>> said = "transaction gas price below minimum: gas tip cap 1, minimum needed 2000000000"
        >>> minimum(RpcFailure(-32000, said))
        Minimum(tip=2000000000, cap=0)
    """
    low = "" if failure is None else failure.message.lower()
    found = {"tip": 0, "cap": 0}
    for pattern, part, _ in _MINIMA:
        if match := pattern.search(low):
            found[part] = max(found[part], int(match[1]))
    return Minimum(**found)
