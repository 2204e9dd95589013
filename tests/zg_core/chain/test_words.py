"""Words of nodes: what each sentence of the field means, and that what nobody knows is unclear."""

from __future__ import annotations

import re

import pytest

from zg_core.chain.failures import RpcFailure
from zg_core.chain.words import TABLE, Meaning, Minimum, is_rate_limit, meaning, minimum
from zg_core.localnet.gateway.dialects import DIALECTS

M = Meaning

# Whole sentences as nodes say them, apart from the patterns: geth, bor, op-geth, erigon, Nethermind, reth, Besu, nitro,
# Ethermint and cosmos/evm, CometBFT, Hardhat, anvil, OpenEthereum, zkSync, Hedera, gateways.
SENTENCES = [
    ("already known", M.SENT),
    ("AlreadyKnown", M.SENT),
    ("ALREADY_EXISTS: already known", M.SENT),
    ("INTERNAL_ERROR: existing tx with same hash", M.SENT),
    ("known transaction: 7f657507aee0511e36d2d1972a6b22e917cc89f92b6c12c4dbd57eaabb236960", M.SENT),
    ("known transaction. transaction with hash 0x6013…3053 is already in the system", M.SENT),
    ("Tx: [0xab] already Imported", M.SENT),
    ("submit transaction to pool failed: Pool(AlreadyImported)", M.SENT),
    ("Internal error: tx already exists in cache", M.SENT),
    ("failed to forward tx to sequencer, please try again. Error message: 'already known'", M.SENT),
    ("nonce too low: address 0x0499BEA33347cb62D79A9C0b1EDA01d8d329894c, tx: 5511 state: 5833", M.NONCE_USED),
    ("Transaction nonce too low. Expected nonce to be at least 8 but got 7.", M.NONCE_USED),
    ("[Request ID: 2e95] Nonce too low. Provided nonce: 15, current nonce: 15", M.NONCE_USED),
    ("OldNonce, Current nonce: 22, nonce of rejected tx: 17", M.NONCE_USED),
    ("invalid nonce; got 18, expected 32: invalid sequence: invalid sequence", M.NONCE_USED),
    ("tx nonce is lower than account nonce: tx 2, account 4", M.NONCE_USED),
    ("submit transaction to pool failed: Pool(Stale)", M.NONCE_USED),
    ("invalid nonce; got 9, expected 8: invalid sequence: invalid sequence", M.NONCE_TOO_HIGH),
    ("nonce too high: address 0x33, tx: 8089 state: 8080", M.NONCE_TOO_HIGH),
    ("NonceGap, Future nonce. Expected nonce: 10", M.NONCE_TOO_HIGH),
    ("Transaction nonce is too distant from current sender nonce", M.NONCE_TOO_HIGH),
    ("replacement transaction underpriced: new tx gas fee cap 100 <= 110 queued", M.NONCE_OCCUPIED),
    ("ReplacementNotAllowed, existing tx price too high", M.NONCE_OCCUPIED),
    ("could not replace existing tx", M.NONCE_OCCUPIED),
    ("Tx: [0xab] insufficient gas price to replace existing transaction", M.NONCE_OCCUPIED),
    ("there is another tx which has the same nonce in the tx pool", M.NONCE_OCCUPIED),
    (
        "Transaction gas price 100wei is too low. There is another transaction with same nonce in the queue",
        M.NONCE_OCCUPIED,
    ),
    ("transaction underpriced: tip needed 2, tip permitted 1", M.TOO_CHEAP),
    ("transaction gas price below minimum: gas tip cap 1, minimum needed 2000000000", M.TOO_CHEAP),
    ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 2", M.TOO_CHEAP),
    ("FeeTooLow, EffectivePriorityFeePerGas too low 10 < 20, BaseFee: 30", M.TOO_CHEAP),
    ("FeeTooLowToCompete", M.TOO_CHEAP),
    ("transaction priority fee below minimum required priority fee 5", M.TOO_CHEAP),
    ("Gas price below current base fee", M.TOO_CHEAP),
    ("Gas price '830000000000' is below configured minimum gas price '950000000000'", M.TOO_CHEAP),
    ("gas price too low: 18000000000 wei, use at least tx.gasPrice = 19500000000 wei", M.TOO_CHEAP),
    ("provided fee < minimum global fee (1000 < 2000). Please increase the gas price.: insufficient fee", M.TOO_CHEAP),
    ("insufficient funds for gas * price + value: balance 1, tx cost 2, overshot 1", M.TOO_POOR),
    ("InsufficientFunds, Account balance: 1, cumulative cost: 2", M.TOO_POOR),
    ("Upfront cost exceeds account balance", M.TOO_POOR),
    ("Sender doesn't have enough funds to send tx. The max upfront cost is: 2", M.TOO_POOR),
    ("invalid sender: invalid transaction v, r, s values", M.REFUSED),
    ("invalid chain id for signer: have 1 want 2", M.REFUSED),
    ("intrinsic gas too low: gas 1, minimum needed 21000", M.REFUSED),
    ("exceeds block gas limit", M.REFUSED),
    ("oversized data: transaction size 131073, limit 131072", M.REFUSED),
    ("tx fee (1.10 ether) exceeds the configured cap (1.00 ether)", M.REFUSED),
    ("the method eth_sendRawTransaction does not exist/is not available", M.REFUSED),
    ("SenderIsContract", M.REFUSED),
    ("txpool is full", M.BUSY),
    ("mempool is full: number of txs 5000 (max: 5000), total txs bytes 1 (max: 2)", M.BUSY),
    ("Your app has exceeded its compute units per second capacity.", M.BUSY),
    ("daily request count exceeded, request rate limited", M.BUSY),
    ("too many requests", M.BUSY),
]
UNKNOWN = [
    "",
    "request timed out",
    "request timed out: Some(Elapsed(()))",
    "Internal error",
    "header not found",
    "upstream request timeout",
    "timed out waiting for tx to be included in a block",
    "transaction queued for insertion, will be processed asynchronously",
    "unknown transaction type",
    "authority nonce too low",
    "the sequencer is tired today",
    "OK",
]


@pytest.mark.parametrize(("sentence", "means"), SENTENCES, ids=lambda value: str(value)[:40])
def test_a_sentence_of_a_known_node_is_read_rightly(sentence: str, means: Meaning) -> None:
    for said in (sentence, sentence.upper(), f"rpc error: {sentence}"):
        assert meaning(RpcFailure(-32000, said)) is means


@pytest.mark.parametrize("sentence", UNKNOWN)
def test_what_no_row_knows_is_unclear(sentence: str) -> None:
    assert meaning(RpcFailure(-32000, sentence)) is Meaning.UNCLEAR


def test_a_hash_is_a_transaction_that_was_taken() -> None:
    assert meaning(None) is Meaning.SENT


def test_every_row_has_a_node_and_a_source() -> None:
    for row in TABLE:
        assert len(row.node) > 2
        assert "/" in row.source or row.source.startswith("EIP-"), row
        re.compile(row.pattern)
        assert row.pattern == row.pattern.lower()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_local_networks_dialects_are_understood(dialect: str) -> None:
    means = {"known": M.SENT, "used": M.NONCE_USED, "poor": M.TOO_POOR}
    for kind, expected in means.items():
        said = DIALECTS[dialect][kind].format(next=5, nonce=4)
        assert meaning(RpcFailure(-32000, said)) is expected, said


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("transaction gas price below minimum: gas tip cap 1, minimum needed 2000000000", Minimum(tip=2_000_000_000)),
        ("transaction priority fee below minimum required priority fee 5", Minimum(tip=5)),
        ("FeeTooLow, EffectivePriorityFeePerGas too low 10 < 20, BaseFee: 30", Minimum(tip=20, cap=30)),
        ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 2", Minimum(cap=2)),
        ("gas price too low: 18 wei, use at least tx.gasPrice = 19 wei", Minimum(cap=19)),
        ("It does not satisfy your node's minimal gas price (minimal: 100 got: 50).", Minimum(cap=100)),
        ("Gas price '83' is below configured minimum gas price '95'", Minimum(cap=95)),
        ("intrinsic gas too low: gas 1, minimum needed 21000", Minimum()),
        ("transaction underpriced", Minimum()),
        ("gas tip cap 1, minimum needed " + "9" * 5000, Minimum(tip=int("9" * 30))),
    ],
)
def test_the_price_that_a_node_names_is_read(sentence: str, named: Minimum) -> None:
    assert minimum(RpcFailure(-32000, sentence)) == named


def test_no_failure_names_nothing() -> None:
    assert minimum(None) == Minimum()


@pytest.mark.parametrize(
    ("code", "message", "is_one"),
    [
        (429, "x", True),
        (-32005, "rate limit exceeded", True),
        (-32000, "Rate-Limit reached", True),
        (-32605, "Call Limit", True),
        (-32005, "query returned more than 10000 results", False),
        (-32005, "Transaction gas limit exceeds block gas limit", False),
        (3, "execution reverted: too many requests", False),
    ],
)
def test_rate_limits_are_told_from_other_limits(code: int, message: str, is_one: bool) -> None:
    assert is_rate_limit(RpcFailure(code, message)) is is_one
    assert not is_rate_limit(RpcFailure(code, message, "0x08c379a0")), "a contract says what it likes"
