"""What became of a transaction: who signed one that a node shows, and which one has a nonce."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account

from zg_core.chain.rpc import JsonRpc
from zg_core.chain.traces import Traces, block_of, signer_of
from zg_core.crypto import SignatureError
from zg_core.errors import ChainError
from zg_core.http.transport import SyncTransport, run
from zg_core.localnet import LocalNet

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7E7e46cc70A5dD086DAff2A"
OTHER = "0x" + "12" * 20
LISTED = [{"address": OTHER, "storageKeys": ["0x" + "01" * 32]}]
LEGACY = {"nonce": 7, "to": OTHER, "value": 5, "gas": 90_000, "gasPrice": 10**9, "data": b"\xab\xcd"}
KINDS = {
    "legacy": LEGACY | {"chainId": 16602},
    "before EIP-155": LEGACY,
    "EIP-2930": LEGACY | {"chainId": 16602, "type": 1, "accessList": LISTED},
    "EIP-1559": {name: value for name, value in LEGACY.items() if name != "gasPrice"}
    | {"chainId": 16602, "type": 2, "maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9, "accessList": LISTED},
}


def shown(fields: dict[str, Any], **changes: Any) -> tuple[dict[str, Any], str]:
    """A transaction as a node shows it, and its hash."""
    signed = Account.from_key(KEY).sign_transaction(fields)
    values = {name: hex(value) for name, value in fields.items() if isinstance(value, int)}
    values |= {"to": OTHER, "input": "0x" + fields["data"].hex(), "accessList": fields.get("accessList", [])}
    values |= {name: hex(getattr(signed, name)) for name in ("v", "r", "s")}
    return {**values, **changes}, "0x" + bytes(signed.hash).hex()


@pytest.mark.parametrize("kind", KINDS)
def test_hash_and_signer_are_computed_from_the_fields(kind: str) -> None:
    transaction, tx_hash = shown(KINDS[kind])
    found, signer = signer_of(transaction)
    assert (found, signer.lower()) == (tx_hash, ADDRESS.lower())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["nonce", "value", "gas", "to", "input"])
def test_another_field_is_another_transaction(kind: str, field: str) -> None:
    changed = {"to": "0x" + "13" * 20, "input": "0xabce"}.get(field, "0x99")
    transaction, tx_hash = shown(KINDS[kind], **{field: changed})
    try:
        found, signer = signer_of(transaction)
    except SignatureError:
        return
    assert found != tx_hash
    assert signer.lower() != ADDRESS.lower()


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "0x4"},
        {"r": None},
        {"s": "0x" + "f" * 65},
        {"v": "0x7"},
        {"nonce": 7},
        {"input": "ab"},
        {"accessList": [5]},
    ],
)
def test_what_is_no_transaction_is_refused(changes: dict[str, Any]) -> None:
    transaction, _ = shown(KINDS["EIP-1559"], **changes)
    with pytest.raises((ChainError, SignatureError)):
        signer_of(transaction)


@pytest.mark.parametrize(
    ("number", "block"), [("0x5", 5), (5, 5), (0, 0), (None, None), (True, None), (-1, None), ([], None)]
)
def test_a_receipt_without_a_block_is_none(number: Any, block: int | None) -> None:
    assert block_of({"blockNumber": number}) == block


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=0) as network:
        yield network


def traces(net: LocalNet, address: str) -> Traces:
    return Traces(JsonRpc(net.rpc_url, SyncTransport()), address)


class TestWhoHasANonce:
    @pytest.mark.parametrize("blocks", [0, 1, 7, 150, 1_200])
    def test_is_found_however_deep_it_lies(self, net: LocalNet, blocks: int) -> None:
        wallet = net.new_wallet()
        sent = [net.chain.send(wallet.private_key, to=OTHER, value=n + 1).tx_hash for n in range(5)]
        net.chain.mine(blocks)
        for nonce, tx_hash in enumerate(sent):
            assert run(traces(net, wallet.address).taker(nonce)) == "0x" + tx_hash.hex()

    def test_is_nobody_before_it_is_used(self, net: LocalNet) -> None:
        wallet = net.new_wallet()
        assert run(traces(net, wallet.address).taker(0)) is None
        net.chain.send(wallet.private_key, to=OTHER, value=1)
        assert run(traces(net, wallet.address).taker(1)) is None

    def test_is_not_shown_by_a_count_alone(self, net: LocalNet) -> None:
        wallet = net.new_wallet()
        net.chain.send(wallet.private_key, to=OTHER, value=1)
        with net.node_fault("count_raised", times=None):
            assert run(traces(net, wallet.address).taker(1)) is None

    def test_is_not_shown_by_a_transaction_that_the_account_has_not_signed(self, net: LocalNet, node: Any) -> None:
        transaction, _ = shown(KINDS["EIP-1559"], **{"from": ADDRESS, "nonce": "0x8"})
        answers = {
            "eth_blockNumber": lambda _: "0x5",
            "eth_getTransactionCount": lambda params: hex(9 if int(params[1], 16) >= 3 else 8),
            "eth_getBlockByNumber": lambda params: {"transactions": [transaction] if params[0] == "0x3" else []},
        }
        node._call = lambda message: (message["method"], answers[message["method"]](message["params"]))
        forged = Traces(JsonRpc(node.url, SyncTransport()), ADDRESS)
        # The scripted node takes an object for an error, so it is wrapped.
        node.body = as_results
        assert run(forged.taker(8)) is None
        transaction.update(shown(KINDS["EIP-1559"] | {"nonce": 8})[0])
        assert run(forged.taker(8)) == shown(KINDS["EIP-1559"] | {"nonce": 8})[1]


def as_results(honest: Any) -> bytes:
    import json

    listed = honest if isinstance(honest, list) else [honest]
    plain = [{"jsonrpc": "2.0", "id": one["id"], "result": one.get("result", one.get("error"))} for one in listed]
    return json.dumps(plain if isinstance(honest, list) else plain[0]).encode()
