"""The RPC endpoint of a local network misbehaves as it is told to, and only then."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from eth_account import Account

from tests.patience import PATIENCE
from zg_core.localnet import LocalNet, NodeFault, node_fault_meanings
from zg_core.localnet.gateway.dialects import DIALECTS, reworded

STRANGER = "0x" + "12" * 20
SEND, COUNT, RECEIPT = "eth_sendRawTransaction", "eth_getTransactionCount", "eth_getTransactionReceipt"


class Client:
    """A plain JSON-RPC client, and a wallet that signs."""

    def __init__(self, net: LocalNet) -> None:
        self.net, self.wallet = net, net.new_wallet()
        self.nonce = 0

    def post(self, payload: Any) -> tuple[int, dict[str, str], Any]:
        host, port = self.net.rpc_url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        connection.request("POST", "/", json.dumps(payload), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        try:
            return response.status, dict(response.getheaders()), json.loads(body)
        except ValueError:
            return response.status, dict(response.getheaders()), body

    def ask(self, method: str, *params: Any) -> Any:
        """The answer's result, or its error."""
        answer = self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})[2]
        return answer.get("result", answer.get("error")) if "result" in answer else answer["error"]

    def batch(self, *methods: str) -> Any:
        return self.post([{"jsonrpc": "2.0", "id": n, "method": m, "params": []} for n, m in enumerate(methods)])

    def signed(self, **changes: Any) -> tuple[str, str]:
        fields = {"chainId": 31337, "nonce": self.nonce, "to": STRANGER, "value": 1, "data": b"", "gas": 21_000}
        fields |= {"maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9, **changes}
        made = Account.from_key(self.wallet.private_key).sign_transaction(fields)
        return "0x" + bytes(made.raw_transaction).hex(), "0x" + bytes(made.hash).hex()

    def count(self) -> int:
        """What the chain itself counts."""
        return self.net.chain.nonce(self.wallet.address)


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=0) as network:
        yield network


@pytest.fixture
def client(net: LocalNet) -> Iterator[Client]:
    yield Client(net)
    net.clear_node_faults()


def test_every_fault_has_its_line_with_its_options() -> None:
    meanings = node_fault_meanings()
    assert set(meanings) == set(NodeFault)
    assert all(len(line) > 20 for line in meanings.values())
    assert "dialect='nethermind'" in meanings["reworded"]


class TestPlans:
    @pytest.mark.parametrize(
        ("name", "options", "error"),
        [
            ("nonsense", {}, ValueError),
            ("cut", {"times": 0}, ValueError),
            ("cut", {"words": "x"}, TypeError),
            ("reworded", {"dialect": "klingon"}, ValueError),
            ("rate_limited", {"form": "x"}, ValueError),
            ("receipt_hidden", {"method": "eth_call"}, ValueError),
        ],
    )
    def test_what_there_is_not_is_refused(
        self, net: LocalNet, name: str, options: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            net.node_fault(name, **options)

    def test_a_fault_ends_after_its_times_or_with_its_block(self, net: LocalNet, client: Client) -> None:
        with net.node_fault("receipt_hidden", times=None) as standing, net.node_fault("count_raised", times=2) as twice:
            raised = [client.ask(COUNT, client.wallet.address, "latest") for _ in range(3)]
            assert raised == ["0x1", "0x1", "0x0"]
            assert (twice.fired, twice.remaining) == (2, 0)
            raw, tx_hash = client.signed()
            client.ask(SEND, raw)
            assert client.ask(RECEIPT, tx_hash) is None
        assert standing.fired == 1
        assert client.ask(RECEIPT, tx_hash)["status"] == "0x1"

    def test_other_programs_set_them_by_rpc(self, client: Client) -> None:
        (told,) = client.ask("local_addFault", "count_raised", {"times": 1, "by": 4})
        assert told == {"fault": "count_raised", "times": 1, "method": None, "options": {"by": 4}}
        assert client.ask("local_addFault", "nonsense")["code"] == -32602
        client.ask("local_addFault", "cut", {"times": None})
        assert [each["fault"] for each in client.ask("local_faults")] == ["count_raised", "cut"]
        assert client.ask("local_clearFaults") is None
        assert client.ask("local_faults") == []

    def test_a_revert_clears_them(self, net: LocalNet, client: Client) -> None:
        snapshot = net.snapshot()
        net.node_fault("cut", times=None)
        net.revert(snapshot)
        assert client.ask("eth_chainId") == "0x7a69"

    def test_one_method_can_be_meant(self, net: LocalNet, client: Client) -> None:
        net.node_fault("junk", times=None, method="eth_gasPrice")
        assert client.ask("eth_chainId") == "0x7a69"
        assert client.post({"id": 1, "method": "eth_gasPrice"})[0] == 502
        assert client.batch("eth_chainId", "eth_gasPrice")[0] == 502


class TestSending:
    def test_repeated_shows_the_second_answer(self, net: LocalNet, client: Client) -> None:
        net.node_fault("repeated")
        assert client.ask(SEND, client.signed()[0])["message"] == "nonce too low: next nonce 1, tx nonce 0"
        assert client.count() == 1

    def test_repeated_and_reworded_is_another_nodes_second_answer(self, net: LocalNet, client: Client) -> None:
        net.node_fault("repeated")
        net.node_fault("reworded", dialect="nethermind")
        said = client.ask(SEND, client.signed()[0])["message"]
        assert said == "OldNonce, Current nonce: 1, nonce of rejected tx: 0"

    @pytest.mark.parametrize("name", ["answered_with_error", "repeated"])
    def test_taken_and_answered_with_an_error(self, net: LocalNet, client: Client, name: str) -> None:
        net.node_fault(name, words="request timed out", code=-32603)
        assert client.ask(SEND, client.signed()[0]) == {"code": -32603, "message": "request timed out"}
        assert client.count() == 1

    @pytest.mark.parametrize(("name", "mined"), [("answer_lost", 1), ("request_lost", 0), ("cut", 0)])
    def test_lost(self, net: LocalNet, client: Client, name: str, mined: int) -> None:
        counts: list[int] = []
        net.node_fault(name, then=lambda: counts.append(client.count()))
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            client.ask(SEND, client.signed()[0])
        assert (client.count(), counts) == (mined, [mined])

    def test_dropped_is_answered_and_forgotten(self, net: LocalNet, client: Client) -> None:
        net.node_fault("dropped")
        raw, tx_hash = client.signed()
        assert client.ask(SEND, raw) == tx_hash
        assert (client.count(), client.ask("eth_getTransactionByHash", tx_hash)) == (0, None)

    def test_refused_is_not_taken(self, net: LocalNet, client: Client) -> None:
        net.node_fault("refused")
        assert client.ask(SEND, client.signed()[0])["message"] == "txpool is full"
        assert client.count() == 0

    def test_delayed_arrives_after_so_many_requests(self, net: LocalNet, client: Client) -> None:
        net.node_fault("delayed", requests=3)
        raw, tx_hash = client.signed()
        assert client.ask(SEND, raw) == tx_hash
        assert [client.ask(COUNT, client.wallet.address, "latest") for _ in range(4)] == ["0x0", "0x0", "0x1", "0x1"]

    def test_delayed_arrives_when_all_is_cleared_and_too_late_is_no_error(self, net: LocalNet, client: Client) -> None:
        net.node_fault("delayed", requests=99, times=2)
        client.ask(SEND, client.signed()[0])
        client.ask(SEND, client.signed(value=2)[0])
        net.clear_node_faults()
        assert client.count() == 1

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_reworded_says_it_as_another_node_does(self, net: LocalNet, client: Client, dialect: str) -> None:
        net.node_fault("reworded", times=None, dialect=dialect)
        client.ask(SEND, client.signed()[0])
        said = client.ask(SEND, client.signed(value=2)[0])["message"]
        assert said == reworded("nonce too low: next nonce 1, tx nonce 0", dialect)
        assert "nonce too low: next" not in said
        other = "something that this node has no words for"
        assert reworded(other, dialect) == other


class TestReading:
    def test_lagging_has_not_seen_the_newest_blocks(self, net: LocalNet, client: Client) -> None:
        net.chain.mine()  # with the wallet's balance in it
        raw, tx_hash = client.signed()
        client.ask(SEND, raw)
        head, me = net.chain.block_number, client.wallet.address
        net.node_fault("lagging", times=None)
        assert client.ask("eth_blockNumber") == hex(head - 1)
        assert client.ask(COUNT, me, "latest") == client.ask(COUNT, me, "pending") == client.ask(COUNT, me) == "0x0"
        assert client.ask(RECEIPT, tx_hash) is None
        assert client.ask("eth_getTransactionByHash", tx_hash) is None
        assert client.ask("eth_getBlockByNumber", "latest", False)["number"] == hex(head - 1)
        assert client.ask("eth_getBalance", me, "latest") == hex(1_000 * 10**18)
        net.chain.mine()
        assert client.ask(RECEIPT, tx_hash)["status"] == "0x1"

    def test_stuck_sees_no_further_blocks(self, net: LocalNet, client: Client) -> None:
        net.chain.mine()
        head, me = net.chain.block_number, client.wallet.address
        with net.node_fault("stuck", times=None):
            assert client.ask("eth_blockNumber") == hex(head)
            raw, tx_hash = client.signed()
            client.ask(SEND, raw)
            net.chain.mine(3)
            assert client.ask("eth_blockNumber") == hex(head)
            assert (client.ask(COUNT, me), client.ask(RECEIPT, tx_hash)) == ("0x0", None)
        with net.node_fault("stuck", times=None, method=COUNT, block=head):
            assert (client.ask(COUNT, me), client.ask(RECEIPT, tx_hash)["status"]) == ("0x0", "0x1")
        assert client.ask(COUNT, me) == "0x1"

    def test_lies(self, net: LocalNet, client: Client) -> None:
        raw, tx_hash = client.signed()
        client.ask(SEND, raw)
        net.node_fault("receipt_reverted")
        assert client.ask(RECEIPT, tx_hash)["status"] == "0x0"
        net.node_fault("transaction_hidden")
        assert client.ask("eth_getTransactionByHash", tx_hash) is None
        net.node_fault("price_raised", times=2, tip=7)
        assert client.ask("eth_maxPriorityFeePerGas") == "0x7"
        assert int(client.ask("eth_gasPrice"), 16) == 10**9 + 7
        assert client.ask(RECEIPT, tx_hash)["status"] == "0x1"


class TestRequests:
    @pytest.mark.parametrize("form", ["error", "object", "http"])
    def test_rate_limits(self, net: LocalNet, client: Client, form: str) -> None:
        net.node_fault("rate_limited", form=form, seconds=2)
        status, headers, body = client.batch("eth_chainId", "eth_chainId")
        if form == "http":
            assert (status, headers["Retry-After"]) == (429, "2")
        else:
            told = body if isinstance(body, list) else [body]
            assert (status, len(told)) == (200, 2 if form == "error" else 1)
            assert {each["error"]["code"] for each in told} == {-32005}
        assert client.ask("eth_chainId") == "0x7a69"

    @pytest.mark.parametrize("form", ["object", "list", "cut"])
    def test_batches_are_refused_above_a_size(self, net: LocalNet, client: Client, form: str) -> None:
        net.node_fault("batch_refused", times=None, most=2, form=form)
        assert len(client.batch("eth_chainId", "eth_chainId")[2]) == 2
        if form == "cut":
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                client.batch(*["eth_chainId"] * 3)
            return
        told = client.batch(*["eth_chainId"] * 3)[2]
        error = (told[0] if form == "list" else told)["error"]
        assert error["code"] == -32600

    def test_slow_waits_on_the_networks_clock(self, net: LocalNet, client: Client) -> None:
        began = threading.Event()
        with ThreadPoolExecutor(1) as pool, net.node_fault("slow", seconds=3_000, then=began.set):
            waiting = pool.submit(client.ask, "eth_chainId")
            assert began.wait(PATIENCE)
            assert not waiting.done()
            while not wait([waiting], timeout=0.05).done:  # it may not have begun to wait yet
                net.clock.advance(3_000)
            assert waiting.result() == "0x7a69"


def test_a_node_of_another_program_has_no_such_faults() -> None:
    net = LocalNet(providers=0)
    with pytest.raises(RuntimeError, match="not served by this process"):
        net.node_fault("cut")
