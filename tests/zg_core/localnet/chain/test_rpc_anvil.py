"""The same requests to anvil, another EVM: gas, logs, addresses, reverts and error codes must agree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi import encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address

from tests.patience import PATIENCE, until
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.chain.rpc import RpcError

PROBE = json.loads((Path(__file__).parent / "probe.json").read_text())
ALICE, BOB = list(DEV_KEYS)[:2]
ALICE_KEY = DEV_KEYS[ALICE]
STRANGER = "0x" + "5e" * 20
Rpc = Callable[..., Any]

pytestmark = pytest.mark.requires("anvil")


def data(signature: str, *arguments: Any) -> str:
    types = [each for each in signature[signature.index("(") + 1 : -1].split(",") if each]
    return "0x" + (keccak(text=signature)[:4] + encode(types, arguments)).hex()


def anvil_program() -> str:
    places = [os.environ.get("ZEROG_ANVIL"), shutil.which("anvil")]
    places += map(str, Path(__file__).parents[3].glob("interop/node_modules/@foundry-rs/anvil-*/bin/anvil"))
    return next(place for place in places if place and Path(place).is_file())


@pytest.fixture(scope="module")
def anvil_url() -> Iterator[str]:
    command = [anvil_program(), "--port", "0", "--hardfork", "cancun", "--block-base-fee-per-gas", "1000000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Listening on" in line:
            break
    else:
        pytest.fail("anvil did not start:\n" + "".join(lines))
    yield f"http://{line.split()[-1]}"
    process.terminate()
    process.communicate(timeout=PATIENCE)


@pytest.fixture
def anvil(anvil_url: str) -> Iterator[Rpc]:
    def call(method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(anvil_url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            answer = json.loads(response.read())
        if "error" in answer:
            raise RpcError(answer["error"]["code"], answer["error"]["message"], answer["error"].get("data"))
        return answer["result"]

    saved = call("evm_snapshot")
    yield call
    call("evm_revert", saved)


@pytest.fixture
def ours() -> Rpc:
    chain = Chain(genesis={})
    return lambda method, *params: chain.rpc(method, list(params))


def outcome(rpc: Rpc, method: str, *params: Any) -> tuple[str, Any]:
    try:
        return "result", rpc(method, *params)
    except RpcError as error:
        return "error", error.data if error.code == 3 else error.code


def receipt_of(rpc: Rpc, raw: str) -> dict[str, Any]:
    sent = rpc("eth_sendRawTransaction", raw)
    receipt = until(lambda: rpc("eth_getTransactionReceipt", sent), f"{sent} is not mined")
    return {
        "hash": receipt["transactionHash"],
        "status": receipt["status"],
        "type": receipt["type"],
        "gasUsed": receipt["gasUsed"],
        "price": receipt["effectiveGasPrice"],
        "contract": receipt["contractAddress"],
        "bloom": receipt["logsBloom"],
        "to": receipt["to"],
        "block": receipt["blockNumber"],
        "logs": [(log["address"], log["topics"], log["data"], log["logIndex"]) for log in receipt["logs"]],
    }


def signed(nonce: int, to: str | None, call: str = "0x", **fields: Any) -> str:
    transaction: dict[str, Any] = {"chainId": 31337, "nonce": nonce, "gas": 3_000_000, "value": 0, "data": call}
    if to is not None:
        transaction["to"] = to_checksum_address(to)
    # Cap and tip are equal, so that the price does not depend on the base fee, which moves on anvil.
    fees = {} if "gasPrice" in fields else {"maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 2 * 10**9}
    return "0x" + bytes(Account.from_key(ALICE_KEY).sign_transaction(transaction | fees | fields).raw_transaction).hex()


def test_receipts_are_the_same_to_the_last_unit_of_gas(anvil: Rpc, ours: Rpc) -> None:
    deploy = signed(0, None, PROBE["bytecode"])
    probe = receipt_of(anvil, deploy)["contract"]
    ours("eth_sendRawTransaction", deploy)
    for nonce, raw in enumerate(
        [
            lambda n: signed(n, probe, data("keep(uint256,uint256)", 1, 2), value=5),
            lambda n: signed(n, probe, data("keep(uint256,uint256)", 1, 0)),  # refund
            lambda n: signed(n, probe, data("say(string)", "hello" * 20)),
            lambda n: signed(n, probe, data("nested(uint256,uint256)", 9, 5)),
            lambda n: signed(n, probe, data("clear(uint256)", 5)),
            lambda n: signed(n, probe, data("forward(address)", STRANGER), value=3),
            lambda n: signed(n, probe, data("refuse(uint256)", 1)),
            lambda n: signed(n, probe, data("invalid()"), gas=90_000),
            lambda n: signed(n, BOB, value=1, gasPrice=2 * 10**9),
            lambda n: signed(n, probe, data("kept(uint256)", 1), gasPrice=2 * 10**9, accessList=[]),
            lambda n: signed(n, None, "0x62006001" + "5ff3", gas=5_100_000),  # code over the size limit
        ],
        start=1,
    ):
        assert receipt_of(ours, raw(nonce)) == receipt_of(anvil, raw(nonce)), f"transaction {nonce}"
    for address in (ALICE, BOB, STRANGER, probe):
        assert ours("eth_getBalance", address, "latest") == anvil("eth_getBalance", address, "latest"), address


def test_calls_and_errors_are_the_same(anvil: Rpc, ours: Rpc) -> None:
    deploy = signed(0, None, PROBE["bytecode"])
    probe = receipt_of(anvil, deploy)["contract"]
    ours("eth_sendRawTransaction", deploy)
    for call in (
        data("refuse(uint256)", 5),
        data("refuseInWords()"),
        data("overflow(uint256)", 1),
        data("kept(uint256)", 1),
        data("callers()"),
        "0x12345678",
    ):
        request = {"from": BOB, "to": probe, "data": call}
        assert outcome(ours, "eth_call", request, "latest") == outcome(anvil, "eth_call", request, "latest"), call
    for method, params in [
        ("eth_nonsense", []),
        ("eth_getBalance", ["0x12", "latest"]),
        ("eth_getBlockByNumber", ["0x99", False]),
        ("eth_getTransactionReceipt", ["0x" + "11" * 32]),
        ("eth_getCode", [probe, "latest"]),
        ("eth_getStorageAt", [probe, "0x0", "latest"]),
        ("eth_getTransactionCount", [ALICE, "pending"]),
        ("eth_chainId", []),
        ("net_version", []),
        ("eth_accounts", []),
    ]:
        assert outcome(ours, method, *params) == outcome(anvil, method, *params), method


def test_blocks_transactions_and_receipts_have_the_fields_anvils_have(anvil: Rpc, ours: Rpc) -> None:
    raw = signed(0, None, PROBE["bytecode"])
    shown = []
    for rpc in (anvil, ours):
        sent = receipt_of(rpc, raw)["hash"]
        block = rpc("eth_getBlockByNumber", "latest", True)
        shown.append((block, block["transactions"][0], rpc("eth_getTransactionReceipt", sent)))
    for theirs, mine in zip(*shown, strict=True):
        # Those are anvil's own, or belong to blob transactions.
        missing = set(theirs) - set(mine) - {"blobGasPrice", "blobGasUsed", "blockTimestamp"}
        assert not missing, f"missing {sorted(missing)} in {mine}"
