"""The JSON-RPC methods: the same cases in process (`Chain.rpc`) and over HTTP."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi import encode
from eth_account import Account
from eth_utils import keccak

from tests.patience import PATIENCE
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS
from zg_core.localnet.chain.rpc import RpcError, RpcServer

PROBE = json.loads((Path(__file__).parent / "probe.json").read_text())
ALICE, BOB, CAROL = (address.lower() for address in list(DEV_KEYS)[:3])
ALICE_KEY, BOB_KEY = list(DEV_KEYS.values())[:2]
STRANGER = "0x" + "5e" * 20
NOTED = "0x" + keccak(text="Noted(address,uint256,uint256)").hex()
PLAIN = "0x" + keccak(text="Plain(string)").hex()
NO_HASH = "0x" + "77" * 32
Rpc = Callable[..., Any]


def data(signature: str, *arguments: Any) -> str:
    types = [each for each in signature[signature.index("(") + 1 : -1].split(",") if each]
    return "0x" + (keccak(text=signature)[:4] + encode(types, arguments)).hex()


def word(number: int) -> str:
    return f"0x{number:064x}"


def padded(address: str) -> str:
    return "0x" + "00" * 12 + address[2:]


@pytest.fixture
def chain() -> Chain:
    return Chain(genesis={})


@pytest.fixture(params=["in process", "http"])
def rpc(request: pytest.FixtureRequest, chain: Chain) -> Iterator[Rpc]:
    """Call a method; errors come out as RpcError both ways."""
    if request.param == "in process":
        # What comes out must be JSON, as over the wire.
        yield lambda method, *params: json.loads(json.dumps(chain.rpc(method, list(params))))
        return
    with RpcServer(chain) as server:
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=PATIENCE)
        ids = itertools.count(1)

        def call(method: str, *params: Any) -> Any:
            sent = {"jsonrpc": "2.0", "id": next(ids), "method": method, "params": params}
            connection.request("POST", "/", json.dumps(sent), {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert response.status == 200
            answer = json.loads(response.read())
            assert (answer["jsonrpc"], answer["id"]) == ("2.0", sent["id"])
            if "error" in answer:
                assert "result" not in answer
                error = answer["error"]
                raise RpcError(error["code"], error["message"], error.get("data"))
            return answer["result"]

        yield call
        connection.close()


@pytest.fixture
def probe(rpc: Rpc) -> str:
    sent = rpc("eth_sendTransaction", {"from": ALICE, "data": PROBE["bytecode"]})
    return str(rpc("eth_getTransactionReceipt", sent)["contractAddress"])


def transact(rpc: Rpc, to: str, call: str = "0x", **fields: Any) -> dict[str, Any]:
    sent = rpc("eth_sendTransaction", {"from": ALICE, "to": to, "data": call, **fields})
    receipt: dict[str, Any] = rpc("eth_getTransactionReceipt", sent)
    return receipt


def signed(key: str, **fields: Any) -> str:
    transaction = {"nonce": 0, "gas": 100_000, "to": Account.from_key(BOB_KEY).address, "value": 1, "chainId": 31337}
    return "0x" + bytes(Account.from_key(key).sign_transaction(transaction | fields).raw_transaction).hex()


FEES_1559 = {"maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 5 * 10**8}


# ---- the node ----


def test_the_node_tells_who_it_is(rpc: Rpc) -> None:
    assert rpc("eth_chainId") == "0x7a69"
    assert rpc("net_version") == "31337"
    assert rpc("web3_clientVersion").startswith("zerog-localnet/")
    assert rpc("eth_syncing") is False
    assert rpc("net_listening") is True
    assert rpc("eth_blockNumber") == "0x0"
    assert rpc("eth_accounts")[:3] == [ALICE, BOB, CAROL]
    assert len(rpc("eth_accounts")) == 10
    assert rpc("web3_sha3", "0x") == "0x" + keccak(b"").hex()


def test_fees_are_those_of_a_1559_chain(rpc: Rpc) -> None:
    base = int(rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    tip = int(rpc("eth_maxPriorityFeePerGas"), 16)
    assert base > 0, "clients take a zero base fee for a chain without EIP-1559"
    assert int(rpc("eth_gasPrice"), 16) == base + tip
    transact(rpc, BOB, value="0x1")
    history = rpc("eth_feeHistory", "0x5", "latest", [10, 50.5, 100])
    assert history["oldestBlock"] == "0x0"
    assert history["baseFeePerGas"] == [hex(base)] * 3
    assert history["gasUsedRatio"] == [0.0, 21_000 / 30_000_000]
    assert history["reward"] == [["0x0"] * 3, [hex(tip)] * 3]
    assert "reward" not in rpc("eth_feeHistory", 1, "latest")


# ---- accounts ----


def test_balances_code_storage_and_nonces_at_any_block(rpc: Rpc, probe: str) -> None:
    transact(rpc, probe, data("keep(uint256,uint256)", 1, 7), value="0x5")
    transact(rpc, probe, data("keep(uint256,uint256)", 1, 8))
    slot = "0x" + keccak(bytes(31) + b"\1" + bytes(32)).hex()
    for block, balance, stored, count in [
        ("latest", "0x5", word(8), "0x3"),
        ("safe", "0x5", word(8), "0x3"),
        ("0x2", "0x5", word(7), "0x2"),
        ({"blockNumber": "0x1"}, "0x0", word(0), "0x1"),
        ({"blockHash": rpc("eth_getBlockByNumber", "0x2", False)["hash"]}, "0x5", word(7), "0x2"),
        ("earliest", "0x0", word(0), "0x0"),
    ]:
        assert rpc("eth_getBalance", probe, block) == balance, block
        assert rpc("eth_getStorageAt", probe, slot, block) == stored, block
        assert rpc("eth_getTransactionCount", ALICE, block) == count, block
    assert len(rpc("eth_getCode", probe, "latest")) > 2000
    assert rpc("eth_getCode", probe, "earliest") == "0x"
    assert rpc("eth_getBalance", STRANGER) == "0x0", "the block may be left out"


# ---- calls and their errors ----


def test_eth_call_runs_code_with_sender_value_and_block(rpc: Rpc, probe: str) -> None:
    request = {"from": BOB, "to": probe, "value": "0x7", "data": data("callers()"), "gasPrice": "0x9"}
    assert rpc("eth_call", request, "latest") == padded(BOB) + padded(BOB)[2:] + word(7)[2:] + word(9)[2:]
    transact(rpc, probe, data("keep(uint256,uint256)", 1, 7))
    transact(rpc, probe, data("keep(uint256,uint256)", 1, 8))
    kept = {"to": probe, "input": data("kept(uint256)", 1)}
    assert [rpc("eth_call", kept, block) for block in ("0x1", "0x2", "latest")] == [word(0), word(7), word(8)]
    number_of = {"to": probe, "data": data("blockNow()")}
    assert rpc("eth_call", number_of, "latest")[:66] == word(3)
    assert rpc("eth_call", number_of, "pending")[:66] == word(4)
    assert rpc("eth_call", {"to": STRANGER}) == "0x"
    assert rpc("eth_call", {"data": PROBE["bytecode"]}) == rpc("eth_getCode", probe), (
        "no receiver: run as a constructor"
    )


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (data("refuseInWords()"), "execution reverted: not today"),
        (data("refuse(uint256)", 5), "execution reverted"),
        (data("refuseSilently()"), "execution reverted"),
        (data("overflow(uint256)", 1), "execution reverted: arithmetic underflow or overflow"),
    ],
)
def test_a_revert_is_code_3_with_the_data(rpc: Rpc, probe: str, method: str, call: str, message: str) -> None:
    expected = {
        data("refuseInWords()"): data("Error(string)", "not today"),
        data("refuse(uint256)", 5): data("Refused(address,uint256)", BOB, 5),
        data("refuseSilently()"): "0x",
        data("overflow(uint256)", 1): data("Panic(uint256)", 0x11),
    }[call]
    with pytest.raises(RpcError) as caught:
        rpc(method, {"from": BOB, "to": probe, "data": call})
    assert (caught.value.code, caught.value.message, caught.value.data) == (3, message, expected)


@pytest.mark.parametrize(
    ("method", "params", "code", "says"),
    [
        ("eth_nonsense", [], -32601, "the method eth_nonsense does not exist/is not available"),
        ("eth_subscribe", ["newHeads"], -32601, "does not exist"),
        ("eth_getBalance", [], -32602, "missing value for required argument 0"),
        ("eth_getBalance", ["0x12"], -32602, "invalid argument 0: address must be 20 bytes"),
        ("eth_getBalance", [ALICE, "newest"], -32602, "invalid argument 1: block number or tag"),
        ("eth_getBalance", [ALICE, {}], -32602, "blockHash or blockNumber"),
        ("eth_getBalance", [ALICE, "latest", 1], -32602, "too many arguments, want at most 2"),
        ("eth_getBalance", [ALICE, "0x63"], -32000, "header not found"),
        ("eth_getStorageAt", [ALICE, "first"], -32602, "invalid argument 1"),
        ("eth_getBlockByNumber", ["latest", "yes"], -32602, "invalid argument 1: full transactions must be true"),
        ("eth_getBlockByHash", ["0x12"], -32602, "block hash must be 32 bytes"),
        ("eth_getTransactionReceipt", [7], -32602, "invalid argument 0: transaction hash"),
        ("eth_call", ["0x"], -32602, "a transaction object is needed"),
        ("eth_call", [{"to": ALICE, "data": "0x1"}], -32602, "data must be a hex string"),
        ("eth_call", [{"to": ALICE, "data": "0x01", "input": "0x02"}], -32602, 'both "data" and "input"'),
        ("eth_call", [{"to": ALICE, "gasPrice": "0x1", "maxFeePerGas": "0x1"}], -32602, "both gasPrice and"),
        ("eth_call", [{"to": ALICE}, "latest", {ALICE: {"balance": "0x0"}}], -32602, "overrides are not supported"),
        ("eth_call", [{"from": STRANGER, "to": ALICE, "value": "0x1"}], -32000, "insufficient funds for gas"),
        ("eth_call", [{"to": ALICE, "gas": "0x5207"}], -32000, "intrinsic gas too low: have 20999, want 21000"),
        ("eth_sendRawTransaction", ["0xgg"], -32602, "transaction must be a hex string"),
        ("eth_sendRawTransaction", ["0x"], -32000, "invalid transaction encoding"),
        ("eth_sendRawTransaction", ["0x02c0"], -32000, "invalid transaction encoding"),
        ("eth_sendRawTransaction", ["0xf8"], -32000, "invalid transaction encoding"),
        ("eth_sendRawTransaction", ["0x03c0"], -32000, "transaction type not supported"),
        ("eth_sendTransaction", [{"from": STRANGER, "to": ALICE}], -32000, "unknown account"),
        ("eth_sendTransaction", [{"from": ALICE, "to": BOB, "chainId": "0x1"}], -32000, "chainId does not match"),
        ("eth_getLogs", [{"address": "0x1"}], -32602, "address must be 20 bytes"),
        ("eth_getLogs", [{"topics": ["0x1"]}], -32602, "topic"),
        ("eth_getLogs", [{"topics": [None] * 5}], -32602, "at most 4"),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "0x0"}], -32602, "invalid block range params"),
        ("eth_getLogs", [{"blockHash": NO_HASH}], -32000, "unknown block"),
        ("eth_getLogs", [{"blockHash": NO_HASH, "toBlock": "latest"}], -32602, "cannot specify both"),
        ("eth_getFilterChanges", ["0x99"], -32000, "filter not found"),
        ("eth_feeHistory", ["0x1", "latest", [50, 10]], -32602, "percentiles"),
        ("evm_increaseTime", [-1], -32602, "seconds must be between"),
        ("evm_setNextBlockTimestamp", [1], -32000, "before the latest block"),
        ("evm_setAutomine", ["on"], -32602, "automine must be true or false"),
        ("evm_mine", [{"blocks": 10**9}], -32602, "blocks must be between"),
        ("anvil_setBalance", [ALICE, "lots"], -32602, "invalid argument 1: balance"),
    ],
)
def test_what_goes_wrong_has_geths_code_and_words(
    rpc: Rpc, method: str, params: list[Any], code: int, says: str
) -> None:
    with pytest.raises(RpcError) as caught:
        rpc(method, *params)
    assert caught.value.code == code, caught.value
    assert says in caught.value.message


def test_running_out_of_gas_is_not_a_revert(rpc: Rpc, probe: str) -> None:
    with pytest.raises(RpcError, match="out of gas") as caught:
        rpc("eth_call", {"to": probe, "data": data("burn()"), "gas": "0x10000"})
    assert (caught.value.code, caught.value.data) == (-32000, None)


# ---- transactions ----


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (0, {"gasPrice": 2 * 10**9}),
        (1, {"gasPrice": 2 * 10**9, "accessList": [{"address": STRANGER, "storageKeys": [word(1), word(2)]}]}),
        (2, FEES_1559),
    ],
)
def test_raw_transactions_of_every_type_are_mined_and_shown(rpc: Rpc, kind: int, fields: dict[str, Any]) -> None:
    raw = signed(ALICE_KEY, **fields)
    sent = rpc("eth_sendRawTransaction", raw)
    assert sent == "0x" + keccak(bytes.fromhex(raw[2:])).hex()
    receipt, shown = rpc("eth_getTransactionReceipt", sent), rpc("eth_getTransactionByHash", sent)
    price = 15 * 10**8 if kind == 2 else 2 * 10**9
    assert receipt["status"] == "0x1"
    assert (receipt["type"], shown["type"]) == (hex(kind), hex(kind))
    assert (receipt["effectiveGasPrice"], shown["gasPrice"]) == (hex(price), hex(price))
    assert (shown["from"], shown["to"], shown["value"], shown["nonce"]) == (ALICE, BOB, "0x1", "0x0")
    assert (shown["chainId"], shown["gas"], shown["input"]) == ("0x7a69", hex(100_000), "0x")
    assert (receipt["contractAddress"], receipt["logs"], receipt["transactionIndex"]) == (None, [], "0x0")
    assert receipt["gasUsed"] == receipt["cumulativeGasUsed"] == hex(21_000 if kind != 1 else 21_000 + 2_400 + 3_800)
    assert receipt["blockHash"] == shown["blockHash"] == rpc("eth_getBlockByNumber", "0x1", False)["hash"]
    assert rpc("eth_getRawTransactionByHash", sent) == raw
    if kind:
        assert shown["v"] == shown["yParity"]
        assert shown["accessList"] == [{**each} for each in fields.get("accessList", [])]
    spent = DEV_BALANCE - int(rpc("eth_getBalance", ALICE), 16)
    assert spent == 1 + int(receipt["gasUsed"], 16) * price


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"gasPrice": 2 * 10**9, "chainId": 1}, "invalid chain id for signer: have 1 want 31337"),
        ({"gasPrice": 10**8}, "max fee per gas less than block base fee"),
        ({"gasPrice": 2 * 10**9, "gas": 20_999}, "intrinsic gas too low: gas 20999, minimum needed 21000"),
        ({"gasPrice": 2 * 10**9, "gas": 40_000_000}, "exceeds block gas limit"),
        ({"gasPrice": 2 * 10**9, "value": DEV_BALANCE}, "insufficient funds for gas * price + value: balance 1"),
        ({"maxFeePerGas": 10**9, "maxPriorityFeePerGas": 2 * 10**9}, "max priority fee per gas higher"),
        ({"gasPrice": 2 * 10**9, "data": "0x" + "11" * 140_000}, "oversized data"),
    ],
)
def test_transactions_that_could_never_be_mined_are_refused(rpc: Rpc, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(RpcError) as caught:
        rpc("eth_sendRawTransaction", signed(ALICE_KEY, **fields))
    assert caught.value.code == -32000
    assert says in caught.value.message
    assert rpc("eth_blockNumber") == "0x0"


def test_a_used_nonce_is_too_low_also_for_the_transaction_that_has_used_it(rpc: Rpc) -> None:
    # As in geth: only what waits in the pool is "already known".
    raw = signed(ALICE_KEY, **FEES_1559)
    rpc("eth_sendRawTransaction", raw)
    with pytest.raises(RpcError, match="nonce too low: next nonce 1, tx nonce 0") as caught:
        rpc("eth_sendRawTransaction", raw)
    with pytest.raises(RpcError, match="nonce too low: next nonce 1, tx nonce 0") as caught:
        rpc("eth_sendRawTransaction", signed(ALICE_KEY, **FEES_1559, value=2))
    assert caught.value.code == -32000


def test_a_changed_signature_is_another_sender_and_a_broken_one_is_refused(rpc: Rpc) -> None:
    raw = bytearray.fromhex(signed(ALICE_KEY, gasPrice=2 * 10**9)[2:])
    raw[-32:] = b"\xff" * 32
    with pytest.raises(RpcError, match="invalid sender") as caught:
        rpc("eth_sendRawTransaction", "0x" + raw.hex())
    assert caught.value.code == -32000


def test_a_dev_account_can_fix_fees_nonce_and_gas(rpc: Rpc) -> None:
    legacy = transact(rpc, BOB, gasPrice=hex(4 * 10**9), gas=hex(50_000), nonce="0x0")
    assert legacy["effectiveGasPrice"] == hex(4 * 10**9)
    capped = transact(rpc, BOB, maxFeePerGas=hex(10**9), value="0x1")
    assert capped["effectiveGasPrice"] == hex(10**9)
    with pytest.raises(RpcError, match="execution reverted"):
        transact(rpc, transact(rpc, None, PROBE["bytecode"])["contractAddress"], data("refuse(uint256)", 1))  # type: ignore[arg-type]


def test_a_failed_transaction_has_status_0_and_no_logs(rpc: Rpc, probe: str) -> None:
    receipt = transact(rpc, probe, data("refuse(uint256)", 1), gas=hex(100_000))
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])
    assert int(receipt["gasUsed"], 16) < 100_000


def test_unknown_hashes_and_heights_are_null(rpc: Rpc) -> None:
    for method in ("eth_getTransactionByHash", "eth_getTransactionReceipt", "eth_getRawTransactionByHash"):
        assert rpc(method, NO_HASH) is None
    assert rpc("eth_getBlockByHash", NO_HASH, True) is None
    assert rpc("eth_getBlockByNumber", "0x9", True) is None
    assert rpc("eth_getBlockReceipts", "0x9") is None
    assert rpc("eth_getTransactionByBlockNumberAndIndex", "0x0", "0x0") is None
    assert rpc("eth_getBlockTransactionCountByHash", NO_HASH) is None


def test_an_estimate_carries_a_nested_call(rpc: Rpc, probe: str) -> None:
    call = data("nested(uint256,uint256)", 10, 5)
    gas = rpc("eth_estimateGas", {"from": ALICE, "to": probe, "data": call})
    assert transact(rpc, probe, call, gas=gas)["status"] == "0x1"


# ---- blocks ----


def test_a_block_lists_hashes_or_whole_transactions(rpc: Rpc, probe: str) -> None:
    receipt = transact(rpc, probe, data("say(string)", "hi"))
    short, full = (rpc("eth_getBlockByNumber", "latest", whole) for whole in (False, True))
    assert short["transactions"] == [receipt["transactionHash"]]
    assert full["transactions"] == [rpc("eth_getTransactionByHash", receipt["transactionHash"])]
    assert full == rpc("eth_getBlockByHash", short["hash"], True)
    assert short["parentHash"] == rpc("eth_getBlockByNumber", "0x1", False)["hash"]
    assert (short["gasUsed"], short["logsBloom"]) == (receipt["gasUsed"], receipt["logsBloom"])
    assert rpc("eth_getBlockReceipts", short["number"]) == [receipt]
    assert rpc("eth_getBlockTransactionCountByNumber", "latest") == "0x1"
    assert rpc("eth_getBlockTransactionCountByHash", short["hash"]) == "0x1"
    assert rpc("eth_getTransactionByBlockNumberAndIndex", "latest", "0x0") == full["transactions"][0]
    assert rpc("eth_getTransactionByBlockHashAndIndex", short["hash"], "0x0") == full["transactions"][0]
    assert int(receipt["logsBloom"], 16).bit_count() > 0


# ---- logs and filters ----


def test_logs_are_found_by_range_address_topics_and_block_hash(rpc: Rpc, probe: str) -> None:
    transact(rpc, probe, data("keep(uint256,uint256)", 1, 10))
    transact(rpc, probe, data("keep(uint256,uint256)", 2, 20), **{"from": BOB})
    said = transact(rpc, probe, data("say(string)", "hello"))
    everything = {"fromBlock": "earliest", "toBlock": "latest"}

    def found(**wanted: Any) -> list[tuple[str, str]]:
        return [(log["blockNumber"], log["logIndex"]) for log in rpc("eth_getLogs", everything | wanted)]

    assert found() == [("0x2", "0x0"), ("0x3", "0x0"), ("0x4", "0x0"), ("0x4", "0x1")]
    assert (
        found(address=[STRANGER, probe])
        == found(address=probe.upper().replace("0X", "0x"))
        == found(address=[])
        == found()
    )
    assert found(address=STRANGER) == []
    assert found(topics=[PLAIN]) == [("0x4", "0x0")]
    assert found(topics=[[PLAIN, NOTED], padded(BOB)]) == [("0x3", "0x0")]
    assert found(topics=[None, [padded(ALICE)]]) == [("0x2", "0x0"), ("0x4", "0x1")]
    assert found(topics=[NOTED, None, [word(1), word(2)]]) == [("0x2", "0x0"), ("0x3", "0x0")]
    assert found(topics=[[], None]) == [("0x2", "0x0"), ("0x3", "0x0"), ("0x4", "0x1")], "at least two topics"
    assert found(fromBlock="0x3", toBlock="0x3") == [("0x3", "0x0")]
    assert rpc("eth_getLogs", {"blockHash": said["blockHash"]}) == said["logs"]
    assert rpc("eth_getLogs", {}) == said["logs"], "no range is the latest block"
    assert said["logs"][1] == {
        "address": probe,
        "topics": [NOTED, padded(ALICE), word(0)],
        "data": word(5),
        "blockNumber": "0x4",
        "blockHash": said["blockHash"],
        "blockTimestamp": rpc("eth_getBlockByNumber", "latest", False)["timestamp"],
        "transactionHash": said["transactionHash"],
        "transactionIndex": "0x0",
        "logIndex": "0x1",
        "removed": False,
    }


def test_filters_return_only_what_is_new(rpc: Rpc, probe: str) -> None:
    logs = rpc("eth_newFilter", {"address": probe, "topics": [NOTED]})
    all_logs = rpc("eth_newFilter", {"fromBlock": "earliest"})
    blocks, transactions = rpc("eth_newBlockFilter"), rpc("eth_newPendingTransactionFilter")
    assert rpc("eth_getFilterChanges", logs) == []
    said = transact(rpc, probe, data("say(string)", "hello"))
    rpc("evm_mine")
    assert rpc("eth_getFilterChanges", logs) == said["logs"][1:]
    assert rpc("eth_getFilterChanges", logs) == []
    assert rpc("eth_getFilterLogs", logs) == said["logs"][1:]
    assert rpc("eth_getFilterLogs", all_logs) == said["logs"]
    heads = [rpc("eth_getBlockByNumber", number, False)["hash"] for number in ("0x2", "0x3")]
    assert rpc("eth_getFilterChanges", blocks) == heads
    assert rpc("eth_getFilterChanges", blocks) == []
    assert rpc("eth_getFilterChanges", transactions) == [said["transactionHash"]]
    rpc("evm_setAutomine", False)
    waiting = rpc("eth_sendTransaction", {"from": ALICE, "to": BOB})
    assert rpc("eth_getFilterChanges", transactions) == [waiting]
    rpc("evm_mine")
    assert rpc("eth_getFilterChanges", transactions) == [], "reported while it waited"
    assert rpc("eth_uninstallFilter", logs) is True
    assert rpc("eth_uninstallFilter", logs) is False


def test_a_filter_survives_a_revert(rpc: Rpc, probe: str) -> None:
    logs, saved = rpc("eth_newFilter", {}), rpc("evm_snapshot")
    transact(rpc, probe, data("say(string)", "one"))
    assert len(rpc("eth_getFilterChanges", logs)) == 2
    rpc("evm_revert", saved)
    again = transact(rpc, probe, data("say(string)", "two"))
    assert rpc("eth_getFilterChanges", logs) == again["logs"]


# ---- test controls ----


def test_snapshot_and_revert(rpc: Rpc, probe: str) -> None:
    saved = rpc("evm_snapshot")
    sent = transact(rpc, probe, data("keep(uint256,uint256)", 1, 2))
    assert rpc("evm_revert", saved) is True
    assert rpc("eth_getTransactionReceipt", sent["transactionHash"]) is None
    assert rpc("eth_call", {"to": probe, "data": data("kept(uint256)", 1)}) == word(0)
    assert rpc("eth_blockNumber") == "0x1"
    assert rpc("evm_revert", saved) is False
    assert rpc("evm_revert", "0x99") is False


def test_time_travel(rpc: Rpc, chain: Chain) -> None:
    assert rpc("evm_increaseTime", 1_000) == 1_000
    assert rpc("evm_increaseTime", "0x64") == 1_100
    assert rpc("evm_increaseTime", "100") == 1_200
    before = time.time()
    rpc("evm_mine")
    latest = int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert before + 1_199 <= latest <= time.time() + 1_201
    assert latest <= chain.clock.now(), "providers see the same time"
    rpc("evm_setNextBlockTimestamp", latest + 50)
    assert int(rpc("eth_getBlockByNumber", "pending", False)["timestamp"], 16) == latest + 50
    rpc("evm_mine")
    assert int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16) == latest + 50
    rpc("evm_mine", latest + 60)
    assert int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16) == latest + 60
    rpc("evm_mine", {"blocks": 3})
    rpc("hardhat_mine", "0x2", "0xa")
    rpc("anvil_mine")
    assert rpc("eth_blockNumber") == hex(9)
    times = [int(rpc("eth_getBlockByNumber", hex(n), False)["timestamp"], 16) for n in range(10)]
    assert times == sorted(times)
    assert times[8] - times[7] == 10


def test_automine_off_queues_and_pending_nonces_count(rpc: Rpc) -> None:
    assert rpc("evm_setAutomine", False) is True
    sent = [rpc("eth_sendTransaction", {"from": ALICE, "to": BOB, "value": "0x1"}) for _ in range(3)]
    assert rpc("eth_getTransactionCount", ALICE, "latest") == "0x0"
    assert rpc("eth_getTransactionCount", ALICE, "pending") == "0x3"
    assert rpc("eth_getTransactionReceipt", sent[0]) is None
    shown = rpc("eth_getTransactionByHash", sent[2])
    assert (shown["blockHash"], shown["blockNumber"], shown["transactionIndex"]) == (None, None, None)
    pending = rpc("eth_getBlockByNumber", "pending", False)
    assert (pending["number"], pending["hash"], pending["transactions"]) == ("0x1", None, sent)
    rpc("evm_mine")
    assert rpc("eth_getBlockByNumber", "latest", False)["transactions"] == sent
    assert rpc("eth_getTransactionCount", ALICE, "latest") == "0x3"
    rpc("evm_setAutomine", True)
    assert transact(rpc, BOB)["blockNumber"] == "0x2"


@pytest.mark.parametrize("method", ["anvil_setBalance", "hardhat_setBalance"])
def test_a_balance_can_be_set(rpc: Rpc, method: str) -> None:
    rpc(method, STRANGER, hex(10**21))
    assert rpc("eth_getBalance", STRANGER, "latest") == hex(10**21)
