"""The local network on a node that is another program's: the whole job on anvil, and nodes that cannot carry it."""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.cli.running import Zerog
from tests.zg_core.conftest import CALM
from zg_core import Broker, ChatClient, og
from zg_core.localnet import LocalNet, NodeUnfit, ProviderSpec
from zg_core.localnet.chain.anvil import AnvilProcess
from zg_core.localnet.chain.chain import Reverted
from zg_core.localnet.chain.genesis import load
from zg_core.localnet.chain.node import NodeChain

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
HINTS = Callable[[str, Any], Any]


def options(net: LocalNet) -> dict[str, Any]:
    return {"network": "local", "rpc_url": net.rpc_url, "private_key": net.wallet.private_key, "environ": {}}


def whole_job(net: LocalNet) -> None:
    """Fund, discover, ask, verify, settle, read the settlement back."""
    provider = net.providers[0]
    with Broker(**options(net)) as broker:
        assert [service.provider for service in broker.services()] == [each.address for each in net.providers]
        broker.add_ledger(og("5"))
        broker.transfer(provider.address, og("2"))
        with ChatClient(provider=provider.address, verify="require", **options(net)) as client:
            receipts = [client.create(QUESTION).receipt, *[stream_of(client) for _ in range(2)]]
        assert all(receipt.verdict.satisfies("verified") for receipt in receipts)
        fees = sum(receipt.fee.amount.units for receipt in receipts)
        before = broker.account(provider.address).balance
        (settled,) = provider.settle()
        assert [(user.status, user.paid) for user in settled.users] == [("SUCCESS", fees)]
        assert before.units - broker.account(provider.address).balance.units == fees
        assert sum(one.total_fee.units for one in broker.settlements()) == fees


def stream_of(client: ChatClient) -> Any:
    stream = client.stream(QUESTION)
    list(stream)
    return stream.receipt


@pytest.mark.requires("anvil")
class TestAnvil:
    def test_the_whole_job_runs_on_it_and_nothing_is_left(self, anvil: str) -> None:
        specs = [ProviderSpec(model="chat-ml"), ProviderSpec(model="chat-tls", kind="TeeTLS")]
        with LocalNet(anvil=anvil, providers=specs, settings=CALM) as net:
            process = net._anvil._process
            whole_job(net)
            snapshot = net.snapshot()
            balance = _balance(net, net.wallet.address)
            with Broker(**options(net)) as broker:
                broker.deposit(og("1"))
            assert _balance(net, net.wallet.address) < balance
            net.revert(snapshot)
            assert _balance(net, net.wallet.address) == balance
            with pytest.raises(RuntimeError, match="rpc_url"):
                _ = net.chain
        assert process.poll() is not None

    def test_time_moves_for_node_and_providers_together(self, anvil: str) -> None:
        with LocalNet(anvil=anvil, settings=CALM) as net:
            net.open_account(net.wallet, net.providers[0])
            with Broker(**options(net)) as broker:
                broker.retrieve([net.providers[0].address])
                waiting = broker.account(net.providers[0].address).pending_refund
                assert waiting.units > 0
                net.clock.advance(86_401)
                broker.retrieve([net.providers[0].address])
                assert broker.ledger().available >= waiting

    def test_a_refusal_carries_the_contracts_own_error(self, anvil: str) -> None:
        with LocalNet(anvil=anvil) as net, pytest.raises(Reverted) as caught:
            net.open_account(net.wallet, net.providers[0], 1)
        assert caught.value.data[:4] != b""
        assert len(caught.value.data) >= 4

    def test_a_node_that_is_there_is_used_and_left_alone(self, anvil: str) -> None:
        process = AnvilProcess(anvil)
        try:
            for _ in range(2):  # the second time the contracts are there already
                with LocalNet(rpc=process.url, settings=CALM) as net:
                    net.open_account(net.wallet, net.providers[0])
                    options_here = {**options(net), "provider": net.providers[0].address}
                    with ChatClient(verify="require", **options_here) as client:
                        assert client.create(QUESTION).receipt.verdict.satisfies("verified")
            assert process._process.poll() is None
        finally:
            process.stop()
        process.stop()  # again is no error

    def test_something_else_at_the_contracts_addresses_is_left_alone(self, anvil: str) -> None:
        process = AnvilProcess(anvil)
        try:
            address = next(address for address, account in load().items() if "code" in account)
            chain = NodeChain(process.url)
            chain._cheat("setCode", address, "0x6001")
            with pytest.raises(NodeUnfit, match="another contract") as caught:
                NodeChain(process.url)
            assert "afresh" in caught.value.hint
        finally:
            process.stop()


def _balance(net: LocalNet, address: str) -> int:
    return int(net._chain._ask("eth_getBalance", address, "latest"), 16)


def test_another_local_network_can_be_the_node() -> None:
    with LocalNet(providers=0) as first, LocalNet(rpc=first.rpc_url, settings=CALM) as net:
        whole_job(net)


@contextmanager
def node(answer: Callable[[str, Any], Any]) -> Iterator[str]:
    """A server that answers JSON-RPC as told: a result, a dict with "error", or bytes that go out as they are."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = answer(request["method"], request["params"])
            if not isinstance(found, bytes):
                body = found if isinstance(found, dict) and "error" in found else {"result": found}
                found = json.dumps({"jsonrpc": "2.0", "id": 1, **body}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def plain_node(method: str, _: Any) -> Any:
    """A node for real use: no way to change its state but transactions."""
    known = {"eth_chainId": "0x7a69", "eth_getCode": "0x"}
    return known.get(method, {"error": {"code": -32601, "message": f"the method {method} does not exist"}})


UNFIT: list[tuple[str, Callable[[str, Any], Any], str, str]] = [
    ("another chain", lambda *_: "0x1", "is chain 1", "--chain-id 31337"),
    ("no chain id", lambda *_: {"error": {"code": -32000, "message": "locked"}}, "locked", "Ethereum node"),
    ("junk", lambda *_: b"<html>", "no JSON-RPC node", "check the URL"),
    ("no JSON-RPC", lambda *_: b"[]", "does not speak JSON-RPC", "JSON-RPC server"),
    ("no development node", plain_node, "neither anvil_setBalance nor", "anvil"),
]


@pytest.mark.parametrize(("what", "answer", "message", "hint"), UNFIT, ids=[row[0] for row in UNFIT])
def test_a_node_that_cannot_carry_it_is_refused_with_the_reason(
    what: str, answer: Callable[[str, Any], Any], message: str, hint: str
) -> None:
    with node(answer) as url, pytest.raises(NodeUnfit) as caught:
        LocalNet(rpc=url).start()
    assert message in str(caught.value), what
    assert hint in caught.value.hint


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "ftp://127.0.0.1", "127.0.0.1:8545"])
def test_a_node_that_is_not_there_is_named(url: str) -> None:
    with pytest.raises(NodeUnfit, match=re.escape(url)):
        LocalNet(rpc=url).start()


@pytest.mark.parametrize("text", ["", "#!/bin/sh\necho no such option; exit 3\n"], ids=["missing", "ends at once"])
def test_a_program_that_is_no_anvil_is_named(tmp_path: Path, text: str) -> None:
    program = tmp_path / "anvil"
    if text:
        program.write_text(text)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(NodeUnfit, match="no such option" if text else "cannot be started"):
        LocalNet(anvil=program).start()


@pytest.mark.parametrize("both", [{"anvil": "a", "rpc": "http://b"}, {"rpc": "http://b", "rpc_port": 5}])
def test_options_that_exclude_each_other_are_refused(both: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        LocalNet(**both)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rpc", "http://127.0.0.1:9"], "no JSON-RPC node answers"),
        (["--anvil", "/no/such/anvil"], "anvil cannot be started"),
        (["--anvil", "a", "--rpc", "http://b"], "exclude each other"),
    ],
)
def test_the_command_says_so_in_a_line_with_a_hint(arguments: list[str], message: str) -> None:
    ran = Zerog({})("localnet", "up", *arguments, ok=False)  # which looks for a traceback, too
    assert ran.code == 1, str(ran)
    assert message in ran.err
    assert "hint" in ran.err.lower()
