"""JSON-RPC over a real socket: batches, single calls, and every way to fail told apart."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.ports import refusing
from tests.zg_core.raw_server import CLOSE, answer
from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import JsonRpc, data_of, quantity
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


LIMITED = {"code": -32005, "message": "daily request count exceeded, request rate limited"}


class TestRateLimits:
    def form(self, node: Any, name: str) -> None:
        if name == "an error for each call":
            node.result = lambda method, answer: LIMITED
        elif name == "one object":
            node.body = lambda honest: json.dumps({"id": None, "error": LIMITED}).encode()
        elif name == "a list of one":
            node.body = lambda honest: json.dumps([{"id": None, "error": LIMITED}]).encode()
        else:
            node.status, node.headers = 429, {"Retry-After": "3"}
            node.body = lambda honest: b"Too Many Requests" if "text" in name else json.dumps(LIMITED).encode()

    @pytest.mark.parametrize("calls", [1, 3])
    @pytest.mark.parametrize("name", ["an error for each call", "one object", "a list of one", "429 json", "429 text"])
    def test_are_told_apart_in_every_form_and_answered_by_no_further_request(
        self, node: Any, name: str, calls: int
    ) -> None:
        if name == "a list of one" and calls == 1:
            return
        self.form(node, name)
        with pytest.raises(ChainError, match="limits the rate") as caught:
            ask(node.url, *[CHAIN_ID] * calls)
        error = caught.value
        assert (error.code, error.retryable) == ("rpc_rate_limited", True)
        assert "ZEROG_RPC_URL" not in error.hint
        assert error.details.get("retry_after") == (3.0 if "429" in name else None)
        assert len(node.asked) == 1

    @pytest.mark.parametrize(
        "error",
        [
            {"code": -32005, "message": "query returned more than 10000 results"},
            {"code": -32005, "message": "Transaction gas limit exceeds block gas limit"},
            {"code": 3, "message": "execution reverted: rate limit exceeded", "data": "0x08c379a0"},
        ],
    )
    def test_other_limits_are_no_rate_limits(self, node: Any, error: Any) -> None:
        node.result = lambda method, answer: error
        assert ask(node.url, CHAIN_ID)[0].message == error["message"]


class TestNodesWithSmallBatches:
    def test_get_smaller_ones_once_they_say_so(self, node: Any) -> None:
        said = b'[{"error":{"code":-32600,"message":"Too many [\\"eth_call\\"] methods in the batch"},"id":null}]'
        node.body = lambda honest: said if isinstance(honest, list) and len(honest) > 3 else json.dumps(honest).encode()
        rpc = JsonRpc(node.url, SyncTransport())
        assert ask("", *[CHAIN_ID] * 7, rpc=rpc) == ["0x7a69"] * 7
        node.asked.clear()
        assert ask("", *[CHAIN_ID] * 7, rpc=rpc) == ["0x7a69"] * 7
        assert [len(each) for each in node.asked] == [2, 2, 2, 1], "no larger one is tried again"

    def test_that_cut_the_connection_are_usable(self, node: Any) -> None:
        node.cuts = lambda request: isinstance(request, list) and len(request) > 3
        rpc = JsonRpc(node.url, SyncTransport())
        for _ in range(2):
            assert ask("", *[CHAIN_ID] * 7, rpc=rpc) == ["0x7a69"] * 7

    def test_413_is_about_the_size(self, node: Any) -> None:
        node.status = 413
        with pytest.raises(ChainError, match="413"):
            ask(node.url, *[CHAIN_ID] * 4)
        assert [len(each) for each in node.asked] == [4, 2, 1], "the first of the smallest says it all"

    def test_are_asked_anew_after_a_while(self, node: Any) -> None:
        now = [0.0]
        node.batches = False
        rpc = JsonRpc(node.url, SyncTransport(), clock=lambda: now[0])
        ask("", CHAIN_ID, CHAIN_ID, rpc=rpc)
        node.batches, now[0] = True, 601.0
        node.asked.clear()
        ask("", CHAIN_ID, CHAIN_ID, rpc=rpc)
        assert node.asked == [["eth_chainId"] * 2]


class TestOneBadMoment:
    @pytest.mark.parametrize(
        "bad", [b"<html>", b'[{"jsonrpc":"2.0","id":0,"resu', b"[]", b'{"id":1,"error":{"code":-32603}}']
    )
    def test_does_not_end_batching(self, node: Any, bad: bytes) -> None:
        rpc = JsonRpc(node.url, SyncTransport())
        node.body = lambda honest: bad if isinstance(honest, list) else json.dumps(honest).encode()
        assert ask("", CHAIN_ID, CHAIN_ID, rpc=rpc) == HONEST[:2]
        node.body = None
        node.asked.clear()
        assert ask("", CHAIN_ID, CHAIN_ID, rpc=rpc) == HONEST[:2]
        assert node.asked == [["eth_chainId"] * 2]

    def test_a_cut_connection_is_told_and_not_asked_again(self, node: Any) -> None:
        rpc = JsonRpc(node.url, SyncTransport())
        node.cuts = lambda request: True
        with pytest.raises(ChainError) as caught:
            ask("", CHAIN_ID, CHAIN_ID, rpc=rpc)
        assert (caught.value.code, caught.value.details) == ("rpc_unavailable", {})
        assert node.asked == [["cut"]]


class TestNumbers:
    @pytest.mark.parametrize("text", ["0x0", "0x01", "0xFf", "0x" + "f" * 64])
    def test_are_hex(self, text: str) -> None:
        assert quantity(text, "it") == int(text, 16)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "0x",
            "1",
            "ff",
            "0X1",
            "0x1_0",
            " 0x1",
            "0x1\n",
            "-0x1",
            "0x" + "0" * 65,
            "0xg",
            1,
            1.5,
            True,
            None,
            [],
            "٣",
        ],
    )
    def test_are_nothing_else(self, value: Any) -> None:
        with pytest.raises(ChainError, match="it is not a number") as caught:
            quantity(value, "it")
        assert caught.value.code == "rpc_junk"

    def test_bytes_are_pairs_of_digits(self) -> None:
        assert (data_of("0x", "it"), data_of("0xaB", "it")) == (b"", b"\xab")
        for junk in ("0xa", "ab", None, "0x ab"):
            with pytest.raises(ChainError, match="it is not hex"):
                data_of(junk, "it")


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
            (
                {"code": -32603, "message": "Internal error", "data": "tx already exists in cache"},
                RpcFailure(-32603, "Internal error: tx already exists in cache"),
            ),
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
        with pytest.raises(ChainError, match="ZEROG_RPC_URL") as caught:
            ask(f"http://127.0.0.1:{refusing()}", CHAIN_ID)
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
    @pytest.mark.parametrize("status", [200, 404, 500])
    def test_junk_is_called_junk(self, node: Any, junk: bytes, status: int) -> None:
        node.status = status
        node.body = lambda honest: junk
        with pytest.raises(ChainError, match="junk") as caught:
            ask(node.url, CHAIN_ID)
        assert (caught.value.code, caught.value.retryable) == ("rpc_junk", status != 404)

    @pytest.mark.parametrize("status", [408, 502, 503, 504, 520, 524])
    def test_a_gateway_without_a_node_is_no_junk(self, node: Any, status: int) -> None:
        node.status, node.headers = status, {"Retry-After": "7"}
        node.body = lambda honest: b"<html>"
        with pytest.raises(ChainError, match=f"HTTP {status}") as caught:
            ask(node.url, CHAIN_ID, CHAIN_ID)
        assert (caught.value.code, caught.value.retryable) == ("rpc_unavailable", True)
        assert caught.value.details == {"status": status, "retry_after": 7.0}
        assert len(node.asked) == 1, "answered by no further request"

    def test_what_a_gateway_says_in_json_is_its_answer(self, node: Any) -> None:
        node.status = 504
        node.body = lambda honest: json.dumps(
            {"id": honest["id"], "error": {"code": -32603, "message": "upstream request timeout"}}
        ).encode()
        assert ask(node.url, CHAIN_ID) == [RpcFailure(-32603, "upstream request timeout")]

    def test_a_redirect_names_its_target_but_no_key(self, node: Any) -> None:
        node.status, node.headers = 301, {"Location": "https://user:pass@rpc.example/v2/SECRET?key=SECRET"}
        with pytest.raises(ChainError, match=r"redirects to https://rpc\.example/… \(HTTP 301\)") as caught:
            ask(node.url, CHAIN_ID)
        assert (caught.value.code, caught.value.retryable) == ("rpc_redirect", False)
        assert "SECRET" not in str(caught.value)
        assert "pass" not in str(caught.value)

    @pytest.mark.parametrize("ids", [[0, 0], [0, 7], [None, None], [[0], {"a": 1}], [0, "x"]])
    def test_a_batch_whose_answers_belong_to_nobody_is_junk(self, node: Any, ids: list[Any]) -> None:
        node.body = lambda honest: json.dumps([{"id": i, "result": "0x1"} for i in ids]).encode()
        with pytest.raises(ChainError) as caught:
            ask(node.url, CHAIN_ID, CHAIN_ID)
        assert caught.value.code == "rpc_junk"

    @pytest.mark.parametrize("name", [None, 0, "other", True, [1]])
    def test_a_single_answer_to_another_request_is_junk(self, node: Any, name: Any) -> None:
        node.body = lambda honest: json.dumps({"id": name, "result": "0x1"}).encode()
        with pytest.raises(ChainError, match="another request") as caught:
            ask(node.url, CHAIN_ID)
        assert caught.value.code == "rpc_junk"

    def test_an_error_from_before_the_request_was_read_has_no_id(self, node: Any) -> None:
        node.body = lambda honest: b'{"id":null,"error":{"code":-32700,"message":"parse error"}}'
        assert ask(node.url, CHAIN_ID) == [RpcFailure(-32700, "parse error")]

    def test_no_two_requests_have_one_id(self, node: Any) -> None:
        seen = []
        node.body = lambda honest: (seen.append(honest["id"]), json.dumps(honest).encode())[1]
        rpc = JsonRpc(node.url, SyncTransport())
        for _ in range(3):
            ask("", CHAIN_ID, rpc=rpc)
        assert len(set(seen)) == 3

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
        first, second = (answer(b'{"jsonrpc":"2.0","id":%d,"result":"0x1"}' % number) for number in (1, 2))
        server.script = [[first], [CLOSE], [second]]
        rpc = JsonRpc(server.url, SyncTransport())
        assert run(rpc.batch([CHAIN_ID])) == ["0x1"]
        if method == "eth_call":
            assert run(rpc.batch([(method, [])])) == ["0x1"]
        else:
            with pytest.raises(ChainError) as caught:
                run(rpc.batch([(method, ["0x02"])]))
            assert caught.value.code == "rpc_unavailable"
        assert len(server.received) == asked
