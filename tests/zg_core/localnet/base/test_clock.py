"""The movable clock: it follows the machine's, goes forward only, and wakes who waits."""

from __future__ import annotations

import threading
import time

import pytest

from tests.moments import instead
from tests.patience import PATIENCE
from zg_core.localnet.base.clock import Clock

HOUR = 3600.0


def test_the_clock_follows_the_machine_until_it_is_moved() -> None:
    clock = Clock()
    before = time.time()
    shown = clock.now()
    assert before <= shown <= time.time()
    assert clock.offset == 0


def test_advance_moves_now_by_as_much() -> None:
    clock = Clock()
    before = time.time()
    clock.advance(HOUR)
    clock.advance(0.5)
    assert before + HOUR + 0.5 <= clock.now() <= time.time() + HOUR + 0.5
    assert clock.offset == HOUR + 0.5


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf")])
def test_advance_refuses_what_is_not_a_step_forward(seconds: float) -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="moves forward"):
        clock.advance(seconds)
    assert clock.offset == 0, "a refused step must not move the clock"


def test_the_clock_stands_still_while_the_machine_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [1_800_000_000.0]
    instead(monkeypatch, "zg_core.localnet.base.clock.time", time=lambda: machine[0])
    clock = Clock()
    machine[0] -= HOUR
    assert clock.now() == 1_800_000_000.0
    machine[0] += HOUR + 5
    assert clock.now() == 1_800_000_005.0


def test_wait_returns_at_once_when_nothing_is_left_to_wait() -> None:
    clock = Clock()
    assert clock.wait(0) is True
    assert clock.wait(-5) is True


def test_wait_takes_as_long_as_it_says() -> None:
    clock = Clock()
    before = time.monotonic()
    assert clock.wait(0.05) is True
    assert time.monotonic() - before >= 0.045


def wait_in_thread(clock: Clock, seconds: float, stop: threading.Event | None) -> tuple[threading.Thread, list[bool]]:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(clock.wait(seconds, stop)), daemon=True)
    thread.start()
    return thread, results


@pytest.mark.parametrize("with_stop", [False, True])
def test_advance_shortens_a_wait(with_stop: bool) -> None:
    clock = Clock()
    waiters = [wait_in_thread(clock, HOUR, threading.Event() if with_stop else None) for _ in range(5)]
    limit = time.monotonic() + PATIENCE
    # Once is not enough if a thread starts its hour only after that.
    while any(thread.is_alive() for thread, _ in waiters) and time.monotonic() < limit:
        clock.advance(HOUR)
        for thread, _ in waiters:
            thread.join(0.01)
    assert [results for _, results in waiters] == [[True]] * 5, "every waiter should have seen its hour pass"


def test_stop_ends_a_wait_with_false() -> None:
    clock, stop = Clock(), threading.Event()
    thread, results = wait_in_thread(clock, HOUR, stop)
    stop.set()
    thread.join(PATIENCE)
    assert results == [False]


def test_a_stop_that_is_set_already_wins_over_time_that_has_passed() -> None:
    stop = threading.Event()
    stop.set()
    assert Clock().wait(0, stop) is False


def test_steps_from_many_threads_add_up() -> None:
    clock = Clock()
    threads = [threading.Thread(target=lambda: [clock.advance(1) for _ in range(200)], daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert clock.offset == 1600


def test_time_never_runs_backwards_while_others_move_the_clock() -> None:
    clock = Clock()
    seen: list[float] = []
    reader = threading.Thread(target=lambda: seen.extend(clock.now() for _ in range(5000)), daemon=True)
    reader.start()
    for _ in range(200):
        clock.advance(0.01)
    reader.join(PATIENCE)
    assert len(seen) == 5000
    assert seen == sorted(seen)
