"""The HTTP server around the JSON-RPC methods: envelope, limits, sockets and threads."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core.localnet.chain import rpc as rpc_module
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.chain.rpc import MAX_BATCH, MAX_BODY, RpcServer

ALICE = next(iter(DEV_KEYS))


@pytest.fixture
def server() -> Iterator[RpcServer]:
    with RpcServer(Chain(genesis={})) as running:
        yield running


def port_of(server: RpcServer) -> int:
    return int(server.url.rpartition(":")[2])


def connect(server: RpcServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=PATIENCE)


def post(server: RpcServer, body: Any) -> tuple[int, Any]:
    """POST text, or what becomes JSON; returns status and parsed body (None if empty)."""
    connection = connect(server)
    connection.request("POST", "/", body if isinstance(body, (bytes, str)) else json.dumps(body))
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if text else None


def call(method: str, *params: Any, **fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)} | fields


# ---- envelope ----


@pytest.mark.parametrize("call_id", [0, -7, "abc", None, 1.5])
def test_the_id_comes_back_as_it_was(server: RpcServer, call_id: Any) -> None:
    assert post(server, call("eth_chainId", id=call_id)) == (
        200,
        {"jsonrpc": "2.0", "id": call_id, "result": "0x7a69"},
    )


def test_params_may_be_left_out_or_null(server: RpcServer) -> None:
    assert post(server, {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})[1]["result"] == "0x7a69"
    assert post(server, call("eth_chainId", params=None))[1]["result"] == "0x7a69"


def test_a_batch_is_answered_in_order_and_without_its_notifications(server: RpcServer) -> None:
    notification = {"jsonrpc": "2.0", "method": "evm_mine", "params": []}
    status, answers = post(
        server, [call("eth_chainId", id=3), notification, call("eth_nope", id="x"), 7, call("eth_blockNumber", id=4)]
    )
    assert status == 200
    assert [each["id"] for each in answers] == [3, "x", None, 4]
    assert answers[1]["error"]["code"] == -32601
    assert answers[2]["error"]["code"] == -32600
    assert answers[3]["result"] == "0x1", "the notification was carried out"


@pytest.mark.parametrize("as_batch", [False, True])
def test_a_notification_is_carried_out_and_gets_no_body(server: RpcServer, as_batch: bool) -> None:
    notification = {"jsonrpc": "2.0", "method": "evm_mine", "params": []}
    assert post(server, [notification] if as_batch else notification) == (204, None)
    assert server.chain.block_number == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 100_000, -32700),
        (b'{"id": 1, "method": "eth_call", "params": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b'"eth_chainId"', -32600),
        (b'{"id": 1}', -32600),
        (b'{"id": 1, "method": 7}', -32600),
        (b'{"id": [1], "method": "eth_chainId"}', -32600),
        (b'{"id": 1, "method": "eth_chainId", "params": {"block": "latest"}}', -32602),
        (json.dumps([{"id": 1, "method": "eth_chainId"}] * (MAX_BATCH + 1)).encode(), -32600),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_request_is_an_error_not_a_crash(server: RpcServer, body: bytes, code: int) -> None:
    status, answer = post(server, body)
    assert status == 200
    assert answer["error"]["code"] == code
    assert post(server, call("eth_chainId"))[1]["result"] == "0x7a69", "the server goes on"


def test_a_fault_of_our_own_is_an_internal_error_and_is_logged(
    server: RpcServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> int:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(server.chain, "balance", broken)
    answer = post(server, call("eth_getBalance", ALICE))[1]
    assert answer["error"] == {"code": -32603, "message": "internal error: RuntimeError"}
    assert "disk on fire" in caplog.text


# ---- HTTP ----


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_anything_but_post_is_405(server: RpcServer, method: str) -> None:
    connection = connect(server)
    connection.request(method, "/")
    response = connection.getresponse()
    body = response.read()
    assert response.status == 405
    assert body == b"" if method == "HEAD" else b"send a POST" in body
    connection.close()


def test_a_body_over_the_limit_is_413_before_it_is_read(server: RpcServer) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE) as raw:
        raw.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode())
        answer = raw.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert str(MAX_BODY).encode() in answer


def test_a_body_at_the_limit_is_answered(server: RpcServer) -> None:
    body = json.dumps(call("eth_chainId")).encode().ljust(MAX_BODY)
    assert post(server, body)[1]["result"] == "0x7a69"


@pytest.mark.parametrize(
    "headers", ["Transfer-Encoding: chunked", "Content-Length: many", "Content-Length: -1", "X-None: 1"]
)
def test_a_body_without_a_length_is_411(server: RpcServer, headers: str) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE) as raw:
        raw.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 411 ")


def test_one_connection_carries_many_requests_without_delay(server: RpcServer) -> None:
    connection = connect(server)
    connection.connect()
    first = connection.sock
    for number in range(50):
        connection.request("POST", "/", json.dumps(call("eth_blockNumber", id=number)))
        assert json.loads(connection.getresponse().read())["id"] == number
    assert connection.sock is first, "the connection was closed in between"
    here = [one for one in server._connections.values() if one.getpeername() == first.getsockname()]
    # With Nagle's algorithm it would be 40 ms each time.
    assert [bool(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) for one in here] == [True]
    connection.close()


def test_a_client_that_goes_away_half_way_does_no_harm(server: RpcServer) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\nhalf")
    assert post(server, call("eth_chainId"))[1]["result"] == "0x7a69"


def test_connections_beyond_the_limit_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "MAX_CONNECTIONS", 2)
    with RpcServer(Chain(genesis={})) as server:
        kept = [connect(server) for _ in range(2)]
        for connection in kept:
            connection.request("POST", "/", json.dumps(call("eth_chainId")))
            assert connection.getresponse().read()
        with socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE) as third:
            assert third.recv(1) == b"", "the third connection should be closed at once"
        for connection in kept:
            connection.close()


def test_many_clients_at_once_get_their_own_answers(server: RpcServer) -> None:
    addresses = list(DEV_KEYS)

    def client(index: int) -> list[int]:
        connection = connect(server)
        blocks = []
        for number in range(10):
            transfer = {"from": addresses[index], "to": ALICE, "value": hex(number)}
            connection.request("POST", "/", json.dumps(call("eth_sendTransaction", transfer, id=index)))
            answer = json.loads(connection.getresponse().read())
            assert answer["id"] == index
            connection.request("POST", "/", json.dumps(call("eth_getTransactionReceipt", answer["result"])))
            receipt = json.loads(connection.getresponse().read())["result"]
            assert receipt["from"] == addresses[index].lower()
            blocks.append(int(receipt["blockNumber"], 16))
        connection.close()
        return blocks

    with ThreadPoolExecutor(8) as executor:
        blocks = [block for each in executor.map(client, range(1, 9)) for block in each]
    assert sorted(blocks) == list(range(1, 81)), "one block for each transaction, none twice"


# ---- starting and stopping ----


def test_only_the_loopback_interface_listens(server: RpcServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    with pytest.raises(RuntimeError, match="already runs at http://127"):
        server.start()


def test_a_port_in_use_is_an_error_that_names_it(server: RpcServer) -> None:
    port = port_of(server)
    other = RpcServer(server.chain, port)
    with pytest.raises(OSError, match=f"port {port} on 127.0.0.1 is already in use"):
        other.start()
    other.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = other.url


@pytest.mark.parametrize("port", [-1, 65_536, "8545", True, None])
def test_a_port_that_is_none_is_a_value_error(port: Any) -> None:
    with pytest.raises(ValueError, match="port must be between 0 and 65535"):
        RpcServer(Chain(genesis={}), port)


def test_stop_leaves_no_thread_and_no_listening_socket() -> None:
    before = set(threading.enumerate())
    server = RpcServer(Chain(genesis={}))
    server.start()
    port = port_of(server)
    connections = [connect(server) for _ in range(3)]
    for connection in connections:  # kept alive: their threads wait for the next request
        connection.request("POST", "/", json.dumps(call("eth_chainId")))
        assert connection.getresponse().read()
    started = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("zerog-rpc")}
    assert len(started) == 4, "one that accepts, one for each connection"
    began = time.monotonic()
    server.stop()
    assert not [thread for thread in started if thread.is_alive()]
    assert time.monotonic() - began < 60, "connections that are kept alive are not waited for"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    for connection in connections:
        connection.close()
    server.stop()
    assert repr(server) == "RpcServer(stopped)"


def test_stop_lets_a_running_request_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(genesis={})
    running, finish = threading.Event(), threading.Event()

    def slow(*_: Any) -> str:
        running.set()
        assert finish.wait(PATIENCE)
        return "done"

    monkeypatch.setattr(chain, "rpc", slow)
    server = RpcServer(chain)
    server.start()
    with ThreadPoolExecutor(2) as executor:
        answer = executor.submit(post, server, call("eth_chainId"))
        assert running.wait(PATIENCE)
        stopped = executor.submit(server.stop)
        finish.set()
        assert answer.result(PATIENCE)[1]["result"] == "done"
        stopped.result(PATIENCE)


def test_a_stopped_server_can_start_again_on_the_same_port() -> None:
    first = RpcServer(Chain(genesis={}))
    first.start()
    port = port_of(first)
    post(first, call("eth_chainId"))
    first.stop()
    second = RpcServer(first.chain, port)
    for _ in range(2):
        second.start()
        assert post(second, call("eth_chainId"))[1]["result"] == "0x7a69"
        second.stop()
