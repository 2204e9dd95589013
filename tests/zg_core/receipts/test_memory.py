"""Receipts in memory: the newest are kept, in order, from any number of threads."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from zg_core.receipts.memory import MemoryReceipts


def receipt(name: str) -> Any:
    return SimpleNamespace(id=name)


def test_is_empty_at_first() -> None:
    kept = MemoryReceipts()
    assert (len(kept), kept.last, list(kept), kept.get("x")) == (0, None, [], None)


def test_keeps_receipts_in_order_and_finds_them_by_id() -> None:
    kept = MemoryReceipts()
    receipts = [receipt(name) for name in "abc"]
    for one in receipts:
        kept.add(one)
    assert list(kept) == receipts
    assert kept.last is receipts[2]
    assert kept.get("b") is receipts[1]
    assert kept.get("z") is None


def test_drops_the_oldest_beyond_its_capacity() -> None:
    kept = MemoryReceipts(capacity=3)
    for number in range(10):
        kept.add(receipt(str(number)))
    assert [one.id for one in kept] == ["7", "8", "9"]
    assert kept.get("6") is None


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_tiny_capacity_is_kept(capacity: int) -> None:
    kept = MemoryReceipts(capacity)
    kept.add(receipt("a"))
    kept.add(receipt("b"))
    assert len(kept) == capacity


def test_adding_one_again_keeps_one() -> None:
    kept = MemoryReceipts()
    one = receipt("a")
    kept.add(one)
    kept.add(one)
    assert list(kept) == [one]


def test_a_loop_over_it_sees_the_moment_it_began() -> None:
    kept = MemoryReceipts()
    kept.add(receipt("a"))
    for _ in kept:
        kept.add(receipt("b"))
        assert len(kept) == 2


def test_many_threads_may_write_and_read() -> None:
    kept = MemoryReceipts(capacity=100)
    seen: list[int] = []

    def work(number: int) -> None:
        for turn in range(200):
            kept.add(receipt(f"{number}-{turn}"))
            seen.append(len(list(kept)))
            assert kept.last is not None

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1200
    assert max(seen) == len(kept) == 100
