"""The memory of exchanges: what was seen is known again, per provider, and memory is bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.verify.replay import CAPACITY, Marks, ReplayGuard, mark_of


def test_a_chat_id_is_new_once() -> None:
    guard = ReplayGuard()
    assert [guard.arrived("provider", "chat") for _ in range(3)] == [False, True, True]


def test_providers_have_ids_of_their_own() -> None:
    guard = ReplayGuard()
    assert not guard.arrived("one", "chat")
    assert not guard.arrived("two", "chat")


def test_a_request_is_known_once_it_was_sent() -> None:
    guard = ReplayGuard()
    assert not guard.was_sent("provider", "hash")
    guard.sent("provider", "hash")
    assert guard.was_sent("provider", "hash")
    assert not guard.was_sent("another", "hash")


def test_requests_and_chat_ids_are_kept_apart() -> None:
    guard = ReplayGuard()
    guard.sent("provider", "x")
    assert not guard.arrived("provider", "x")
    guard.arrived("provider", "y")
    assert not guard.was_sent("provider", "y")


def test_a_scope_cannot_run_into_an_id() -> None:
    guard = ReplayGuard()
    guard.arrived("ab", "c")
    assert not guard.arrived("a", "bc")


def test_the_oldest_is_forgotten_beyond_the_capacity() -> None:
    guard = ReplayGuard(capacity=3)
    for number in range(4):
        guard.sent("provider", str(number))
    assert [guard.was_sent("provider", str(number)) for number in range(4)] == [False, True, True, True]


@given(st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("abcdef")), max_size=60))
def test_within_the_capacity_nothing_is_forgotten_or_made_up(arrivals: list[tuple[str, str]]) -> None:
    guard, seen = ReplayGuard(), set()
    for scope, chat in arrivals:
        assert guard.arrived(scope, chat) is ((scope, chat) in seen)
        seen.add((scope, chat))


def number(value: int, home: int = 0) -> bytes:
    """A mark that differs in its first half, and begins to be looked for at `home`."""
    return value.to_bytes(8, "big") + home.to_bytes(8, "little")


@pytest.mark.parametrize("capacity", [1, 2, 5, 40])
@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([0, 1, 2, 13, 14, 15])), max_size=300))
def test_marks_are_a_set_that_forgets_the_oldest(capacity: int, noted: list[tuple[int, int]]) -> None:
    marks, model = Marks(capacity), OrderedDict[bytes, None]()
    for value, home in noted:
        mark = number(value, home)
        assert marks.note(mark) is (mark in model)
        model[mark] = None
        if len(model) > capacity:
            model.popitem(last=False)
        assert len(marks) == len(model)
    assert all((number(value, home) in marks) is (number(value, home) in model) for value, home in noted)


def test_a_large_set_keeps_at_least_its_newest() -> None:
    marks, capacity, more = Marks(70_000), 70_000, 20_000
    for value in range(capacity + more):
        assert not marks.note(mark_of("id", "provider", str(value)))
    assert all(mark_of("id", "provider", str(value)) in marks for value in range(more, capacity + more))
    assert capacity <= len(marks) <= 1.2 * capacity


def test_a_process_keeps_a_million() -> None:
    assert CAPACITY == 1_000_000
    assert sum(shard._capacity for shard in ReplayGuard()._replies._shards) >= CAPACITY


def test_of_many_threads_exactly_one_is_first() -> None:
    guard = ReplayGuard()
    found: list[bool] = []
    barrier = threading.Barrier(8)

    def arrive() -> None:
        barrier.wait()
        found.extend(guard.arrived("provider", str(number)) for number in range(200))

    threads = [threading.Thread(target=arrive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(False) == 200
