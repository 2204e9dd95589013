"""Words of other nodes about the nonce (ethermint#317, cronos#1839, evmos#562, cosmos/evm#590, nethermind#12153).

A nonce that is too high for this node, which has not seen our earlier transaction yet, must not be counted as used.
"""

from __future__ import annotations

from typing import Any

import pytest
import rlp

from tests.cases.chain.field import Expectations, Relay, RpcError, attempt
from tests.cases.chain.money import User
from zg_core import og
from zg_core.chain.failures import RpcFailure
from zg_core.chain.words import meaning

CLEAR = ("sent", "nonce_used", "nonce_occupied", "too_cheap")
OPEN_ETHEREUM = (
    "Transaction gas price is too low. There is another transaction with same nonce in the queue. "
    "Try increasing the gas price or incrementing the nonce."
)
TABLE = [
    ("already known", "sent", "geth"),
    ("AlreadyKnown", "sent", "Nethermind"),
    ("Known transaction", "sent", "Besu"),
    ("known transaction: 0xab", "sent", "old geth"),
    ("Transaction with the same hash was already imported.", "sent", "OpenEthereum"),
    ("tx already in mempool", "sent", "CometBFT/Ethermint"),
    ("transaction already imported", "sent", "anvil"),
    ("tx already exists in cache", "sent", "CometBFT cache"),
    ("ALREADY_EXISTS: already known", "sent", "Erigon 2"),
    ("existing tx with same hash", "sent", "Erigon"),
    ("transaction already in pool", "sent", "Erigon 3"),
    ("nonce too low", "nonce_used", "geth"),
    ("nonce too low: next nonce 5, tx nonce 4", "nonce_used", "geth 1.14"),
    ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", "nonce_used", "Nethermind"),
    ("Transaction nonce is too low. Try incrementing the nonce.", "nonce_used", "OpenEthereum"),
    ("Nonce too low", "nonce_used", "Besu"),
    ("invalid nonce; got 18, expected 32: invalid sequence: invalid sequence", "nonce_used", "Ethermint, used"),
    ("invalid nonce; got 9, expected 8: invalid sequence: invalid sequence", "not nonce_used", "Ethermint, too high"),
    ("tx nonce: 9, account accountNonce: 8: tx nonce is higher than account nonce", "wait", "cosmos/evm"),
    ("nonce too high", "wait", "hardhat/anvil"),
    ("NonceGap, Future nonce. Expected nonce: 8", "wait", "Nethermind"),
    ("replacement transaction underpriced", "nonce_occupied", "geth"),
    ("ReplacementNotAllowed, existing tx price too high", "nonce_occupied", "Nethermind"),
    ("FeeTooLowToCompete", "too_cheap", "Nethermind"),
    ("could not replace existing tx", "nonce_occupied", "Erigon"),
    (OPEN_ETHEREUM, "nonce_occupied", "OpenEthereum"),
    ("transaction underpriced", "too_cheap", "geth"),
    ("FeeTooLow, MaxFeePerGas too low", "too_cheap", "Nethermind"),
    ("max fee per gas less than block base fee: address 0x…, maxFeePerGas: 1, baseFee: 2", "too_cheap", "geth"),
    (
        "transaction gas price below minimum: gas tip cap 1, minimum needed 2000000000",
        "too_cheap",
        "geth 1.14+ (0G mainnet words)",
    ),
    (
        "provided fee < minimum global fee (1000 < 2000). Please increase the gas price.: insufficient fee",
        "too_cheap",
        "Ethermint",
    ),
    ("gas price below configured minimum gas price", "too_cheap", "Besu"),
    ("insufficient fee: insufficient fee", "too_cheap", "Ethermint"),
    ("gas tip cap 0, minimum needed 1000000000", "too_cheap", "geth"),
    ("txpool is full", "not refused for good", "geth"),
    ("mempool is full: number of txs 5000", "not refused for good", "CometBFT"),
    ("request timed out", "unknown", "gateways"),
    ("Internal error", "unknown", "gateways"),
    ("header not found", "unknown", "lagging node"),
    ("rate limit exceeded", "retry", "gateways"),
    ("too many requests", "retry", "gateways"),
]


@pytest.mark.parametrize(("message", "right", "node"), TABLE)
def test_words_of_known_nodes_are_read_rightly(message: str, right: str, node: str, expect: Expectations) -> None:
    got = meaning(RpcFailure(-32000, message))
    if right in CLEAR:
        expect(f"{node} is understood", got == right, got)
    elif right == "not nonce_used":
        expect(f"{node} is no used nonce", got != "nonce_used", got)
    else:
        expect(f"{node} refuses nothing for good", got not in ("refused", "nonce_used"), got)


def test_too_high_is_answered_by_waiting_with_the_same_nonce(user: User, expect: Expectations) -> None:
    raws: list[str] = []

    def hook(method: str, params: Any, relay: Relay) -> Any:
        if method == "eth_sendRawTransaction":
            raws.append(params[0])
            if len(raws) <= 3:
                raise RpcError(-32000, "invalid nonce; got 1, expected 0: invalid sequence: invalid sequence")
        return relay.up(method, params)

    with Relay(hook, user.net.rpc_url) as relay, user.broker(relay) as broker:
        _, error = attempt(lambda: broker.deposit(og("5")))
    nonces = {int.from_bytes(rlp.decode(bytes.fromhex(raw[4:]))[1]) for raw in raws}
    expect("the deposit is made", error is None and user.ledger() == "5 0G", error)
    expect("no higher nonce is tried", nonces == {0}, nonces)
