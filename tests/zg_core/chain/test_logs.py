"""Logs of long ranges, from nodes that limit them in their ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases.chain.field import Raw, Relay, RpcError
from zg_core.chain.logs import first_block_of, read_logs
from zg_core.chain.rpc import JsonRpc
from zg_core.errors import ChainError
from zg_core.http.transport import SyncTransport, run

CONTRACT, TOPIC = "0x" + "c0" * 20, "0x" + "70" * 32
LAST = 1_000_000


class Chain:
    """A chain whose events lie in certain blocks, behind a node with its own idea of a range."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int]] = []  # block and index
        self.widest = LAST + 1
        self.most: int | None = None  # results, with an error beyond
        self.cut: int | None = None  # results, without a word
        self.slow = 0  # so many requests are asked to wait
        self.asked: list[tuple[int, int]] = []
        self.waited: list[float] = []
        self.failing: Any = None

    def __call__(self, method: str, params: Any, _relay: Any = None) -> Any:
        assert method == "eth_getLogs"
        (wanted,) = params
        first, last = int(wanted["fromBlock"], 16), LAST
        if wanted["toBlock"] != "latest":
            last = int(wanted["toBlock"], 16)
        self.asked.append((first, last))
        if self.failing is not None:
            raise self.failing
        if self.slow:
            self.slow -= 1
            raise RpcError(-32005, "rate limit exceeded")
        if last - first + 1 > self.widest:
            raise RpcError(-32602, "some words about a range")
        found = [self.entry(*event) for event in self.events if first <= event[0] <= last]
        if self.most is not None and len(found) > self.most:
            raise RpcError(-32005, f"query returned more than {self.most} results")
        return found if self.cut is None else found[: self.cut]

    @staticmethod
    def entry(block: int, index: int, **more: Any) -> dict[str, Any]:
        return {
            "address": CONTRACT,
            "blockNumber": hex(block),
            "logIndex": hex(index),
            "transactionHash": f"0x{block:064x}",
            "topics": [TOPIC, "0x" + "22" * 32],
            "data": "0x01",
            "removed": False,
            **more,
        }

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def rpc(chain: Chain) -> Iterator[JsonRpc]:
    transport = SyncTransport()
    with Relay(chain) as relay:
        yield JsonRpc(relay.url, transport)
    transport.close()


def read(rpc: JsonRpc, chain: Chain, first: int = 0, last: int = LAST, **more: Any) -> list[tuple[int, int]]:
    logs = run(read_logs(rpc, chain.sleep, address=CONTRACT, topics=[[TOPIC], None], first=first, last=last, **more))
    return [(log.block, log.index) for log in logs]


def test_what_a_node_gives_at_once_is_asked_for_once(rpc: JsonRpc, chain: Chain) -> None:
    chain.events = [(7, 0), (7, 1), (LAST, 0)]
    assert read(rpc, chain) == chain.events
    assert chain.asked == [(0, LAST)]


def test_refused_ranges_are_halved_and_nothing_is_lost_between_them(rpc: JsonRpc, chain: Chain) -> None:
    chain.widest = 10_000
    chain.events = [(block, 0) for block in range(0, LAST + 1, 3_001)]
    shown: list[tuple[int, int]] = []
    assert read(rpc, chain, tell=lambda block, count: shown.append((block, count))) == chain.events
    assert len(chain.asked) < 3 * LAST / 10_000
    assert shown == sorted(shown)
    assert 10 < len(shown) < 40, "every batch of pieces is told"


def test_results_are_limited_without_a_word_or_with_one(rpc: JsonRpc, chain: Chain) -> None:
    chain.events = [(500_000 + number // 3, number % 3) for number in range(4_000)]
    chain.cut = 1_000
    assert read(rpc, chain) == chain.events
    chain.cut, chain.most = None, 500
    assert read(rpc, chain) == chain.events


def test_a_node_that_asks_to_slow_down_is_waited_for(rpc: JsonRpc, chain: Chain) -> None:
    chain.slow, chain.events = 3, [(5, 0)]
    assert read(rpc, chain) == chain.events
    assert chain.waited == [1.0, 2.0, 4.0]
    chain.slow = 99
    with pytest.raises(ChainError) as caught:
        read(rpc, chain)
    assert caught.value.code == "rpc_rate_limited"


def test_a_node_without_logs_or_whose_gateway_gives_up_is_not_asked_for_ever(rpc: JsonRpc, chain: Chain) -> None:
    chain.failing = RpcError(-32601, "the method eth_getLogs does not exist")
    with pytest.raises(ChainError, match="does not exist") as caught:
        read(rpc, chain)
    assert (caught.value.code, len(chain.asked)) == ("call_failed", 1)
    chain.asked.clear()
    chain.failing = Raw("<html>504</html>", 504)
    with pytest.raises(ChainError) as caught:
        read(rpc, chain)
    assert caught.value.code == "rpc_unavailable"
    assert len(chain.asked) < 10
    chain.asked.clear()
    chain.failing = RpcError(-32000, "no")
    with pytest.raises(ChainError, match="answers no"):
        read(rpc, chain)
    assert chain.asked[-1][0] == chain.asked[-1][1]


def test_others_events_and_those_outside_are_passed_over(rpc: JsonRpc, chain: Chain, monkeypatch: Any) -> None:
    """Nodes are known to ignore filters."""
    said = [
        Chain.entry(5, 0, topics=[TOPIC]),
        Chain.entry(6, 0, address="0x" + "ab" * 20),
        Chain.entry(6, 1, address=None),
        Chain.entry(7, 0, topics=["0x" + "11" * 32, "0x" + "22" * 32]),
        Chain.entry(8, 0, topics=["0x" + "22" * 32, TOPIC]),
        Chain.entry(9, 0, topics=[TOPIC, "0x" + "AB" * 32]),
        Chain.entry(9, 1, removed=True),
        Chain.entry(10, 0, address=CONTRACT.replace("c", "C")),
        Chain.entry(101, 0),
    ]
    monkeypatch.setattr(Chain, "__call__", lambda *_: said)
    assert read(rpc, chain, last=100) == [(9, 0), (10, 0)]
    assert read(rpc, chain, last=100, newest=True) == [(9, 0), (10, 0), (101, 0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"blockNumber": None},
        {"blockNumber": 5},
        {"blockNumber": "5"},
        {"logIndex": None},
        {"transactionHash": "0x12"},
        {"transactionHash": None},
        {"topics": None},
        {"topics": []},
        {"topics": [5]},
        {"topics": ["0xzz"]},
        {"data": None},
        {"data": "0x1"},
        {"data": "01"},
    ],
)
def test_an_odd_event_is_an_error_of_ours(rpc: JsonRpc, chain: Chain, monkeypatch: Any, changes: Any) -> None:
    for said in ([Chain.entry(5, 0, **changes)], [Chain.entry(4, 0), 7], None, {"a": 1}):
        monkeypatch.setattr(Chain, "__call__", lambda *_, said=said: said)
        with pytest.raises(ChainError) as caught:
            read(rpc, chain)
        assert caught.value.code == "rpc_junk"


class Counts:
    """Answers how many transactions an account had sent at a block."""

    def __init__(self, began: int | None, kept: int = 0) -> None:
        self.began, self.kept, self.rounds = began, kept, 0

    async def batch(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        from zg_core.chain.failures import RpcFailure

        self.rounds += 1
        blocks = [int(params[1], 16) for _, params in calls]
        missing = RpcFailure(-32000, "missing trie node")
        sent = [self.began is not None and block >= self.began for block in blocks]
        return [missing if block < self.kept else hex(had) for block, had in zip(blocks, sent, strict=True)]


class TestFirstBlock:
    @given(head=st.integers(10_001, 10**8), data=st.data())
    def test_is_where_the_first_transaction_is(self, head: int, data: st.DataObject) -> None:
        began = data.draw(st.integers(0, head))
        counts = Counts(began)
        assert run(first_block_of(counts, CONTRACT, head)) == began  # type: ignore[arg-type]
        assert counts.rounds <= 9

    def test_is_behind_the_head_where_there_is_none(self) -> None:
        assert run(first_block_of(Counts(None), CONTRACT, 50_000)) == 50_001  # type: ignore[arg-type]

    def test_is_unknown_to_a_node_that_keeps_no_old_states(self) -> None:
        assert run(first_block_of(Counts(40_000, kept=49_000), CONTRACT, 50_000)) == 0  # type: ignore[arg-type]

    def test_a_short_chain_is_read_whole(self) -> None:
        counts = Counts(500)
        assert (run(first_block_of(counts, CONTRACT, 10_000)), counts.rounds) == (0, 0)  # type: ignore[arg-type]
