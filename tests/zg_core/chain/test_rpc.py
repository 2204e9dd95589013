"""JSON-RPC over a real socket: batches, single calls, and every way to fail told apart."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from tests.zg_core.raw_server import CLOSE, answer
from zg_core.chain.rpc import JsonRpc, RpcFailure
from zg_core.errors import ChainError
from zg_core.http.transport import AsyncTransport, SyncTransport, run


def ask(url: str, *calls: tuple[str, list[Any]], rpc: JsonRpc | None = None) -> list[Any]:
    return run((rpc or JsonRpc(url, SyncTransport())).batch(calls))


CHAIN_ID = ("eth_chainId", [])
HONEST = ["0x7a69"] * 3


def test_many_calls_are_one_request_answered_in_any_order(node: Any) -> None:
    node.result = iter_results()
    assert ask(node.url, CHAIN_ID, CHAIN_ID, CHAIN_ID) == ["0x0", "0x1", "0x2"]
    assert node.asked == [["eth_chainId"] * 3]


def iter_results() -> Any:
    count = iter(range(100))
    return lambda name, answer: hex(next(count))


def test_one_call_is_no_batch(node: Any) -> None:
    assert ask(node.url, CHAIN_ID) == ["0x7a69"]


def test_works_on_an_event_loop(node: Any) -> None:
    async def main() -> list[Any]:
        transport = AsyncTransport()
        found = await JsonRpc(node.url, transport).batch([CHAIN_ID, CHAIN_ID])
        await transport.close()
        return found

    assert asyncio.run(main()) == HONEST[:2]


class TestNodesWithoutBatches:
    def test_are_asked_one_by_one_and_never_in_a_batch_again(self, node: Any) -> None:
        node.batches = False
        rpc = JsonRpc(node.url, SyncTransport())
        for _ in range(2):
            assert ask("", CHAIN_ID, CHAIN_ID, CHAIN_ID, rpc=rpc) == HONEST
        assert node.asked == [["batch refused"], *[["eth_chainId"]] * 6]

    @pytest.mark.parametrize(
        "refusal",
        [b"", b"<html>400</html>", b"[]", b"null", b'{"jsonrpc":"2.0","id":0,"result":"0x1"}', b'"batch"', b"[" * 9999],
    )
    @pytest.mark.parametrize("status", [200, 400, 500])
    def test_are_known_by_any_answer_that_is_none(self, node: Any, refusal: bytes, status: int) -> None:
        node.status = status
        node.body = lambda honest: refusal if isinstance(honest, list) else json.dumps(honest).encode()
        assert ask(node.url, CHAIN_ID, CHAIN_ID, CHAIN_ID) == HONEST


class TestFailures:
    def test_an_error_of_the_node_is_a_value_among_the_results(self, node: Any) -> None:
        results = iter([{"code": 3, "message": "execution reverted", "data": "0x1234"}, "0x1"])
        node.result = lambda name, answer: next(results)
        assert ask(node.url, CHAIN_ID, CHAIN_ID) == [RpcFailure(3, "execution reverted", "0x1234"), "0x1"]

    @pytest.mark.parametrize(
        ("error", "failure"),
        [
            ({"code": -32000, "message": "header not found"}, RpcFailure(-32000, "header not found")),
            ({"code": 3, "message": "m", "data": {"data": "0xab"}}, RpcFailure(3, "m", "0xab")),
            ({"code": 3, "message": "m", "data": {"txHash": {}}}, RpcFailure(3, "m")),
            ({"code": 3, "message": "m", "data": 5}, RpcFailure(3, "m")),
            ({"code": "3", "message": ["m"]}, RpcFailure(0, "['m']")),
            ({}, RpcFailure(0, "")),
        ],
    )
    def test_errors_are_read_in_the_shapes_that_nodes_use(self, node: Any, error: Any, failure: RpcFailure) -> None:
        node.result = lambda name, answer: error
        assert ask(node.url, CHAIN_ID) == [failure]

    def test_a_message_without_end_is_cut(self, node: Any) -> None:
        node.result = lambda name, answer: {"code": 1, "message": "x" * 10_000}
        assert len(ask(node.url, CHAIN_ID)[0].message) == 500

    def test_no_node_can_be_retried(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(ChainError, match="ZEROG_RPC_URL") as caught:
            ask(f"http://127.0.0.1:{port}", CHAIN_ID)
        assert (caught.value.code, caught.value.retryable) == ("rpc_unavailable", True)

    @pytest.mark.parametrize(
        "junk",
        [
            b"",
            b"<html>",
            b"\xff\xfe",
            b"null",
            b"[]",
            b"5",
            b"[" * 100_000,
            b'{"id":0}',
            b'{"id":0,"error":"text"}',
            b'{"id":0,"error":[1]}',
        ],
    )
    @pytest.mark.parametrize("status", [200, 404, 502])
    def test_junk_is_called_junk(self, node: Any, junk: bytes, status: int) -> None:
        node.status = status
        node.body = lambda honest: junk
        with pytest.raises(ChainError, match="junk") as caught:
            ask(node.url, CHAIN_ID)
        assert caught.value.code == "rpc_junk"

    @pytest.mark.parametrize("ids", [[0, 0], [0, 7], [None, None], [[0], {"a": 1}], [0, "x"]])
    def test_a_batch_whose_answers_belong_to_nobody_is_junk(self, node: Any, ids: list[Any]) -> None:
        node.body = lambda honest: json.dumps([{"id": i, "result": "0x1"} for i in ids]).encode()
        with pytest.raises(ChainError) as caught:
            ask(node.url, CHAIN_ID, CHAIN_ID)
        assert caught.value.code == "rpc_junk"

    def test_ids_may_come_back_as_texts(self, node: Any) -> None:
        node.body = lambda honest: json.dumps([one | {"id": str(one["id"])} for one in honest]).encode()
        assert ask(node.url, CHAIN_ID, CHAIN_ID) == HONEST[:2]

    def test_the_answer_null_is_an_answer(self, node: Any) -> None:
        node.result = lambda name, answer: None
        assert ask(node.url, CHAIN_ID) == [None]


class TestServersThatHangUp:
    """A kept connection dies as the next request goes out."""

    @pytest.mark.parametrize(("method", "asked"), [("eth_call", 3), ("eth_sendRawTransaction", 2)])
    def test_reads_are_sent_again_and_transactions_are_not(self, server: Any, method: str, asked: int) -> None:
        said = answer(b'{"jsonrpc":"2.0","id":0,"result":"0x1"}')
        server.script = [[said], [CLOSE], [said]]
        rpc = JsonRpc(server.url, SyncTransport())
        assert run(rpc.batch([CHAIN_ID])) == ["0x1"]
        if method == "eth_call":
            assert run(rpc.batch([(method, [])])) == ["0x1"]
        else:
            with pytest.raises(ChainError) as caught:
                run(rpc.batch([(method, ["0x02"])]))
            assert caught.value.code == "rpc_unavailable"
        assert len(server.received) == asked
