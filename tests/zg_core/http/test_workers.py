"""Background threads: as many as are needed, never more than allowed, and new ones after a fork."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from tests.patience import PATIENCE
from tests.processes import alone, child_of, ended
from zg_core.http import workers as module
from zg_core.http.workers import Workers


def test_work_runs_beside_the_caller() -> None:
    seen: list[str] = []
    done = threading.Event()

    def work() -> None:
        seen.append(threading.current_thread().name)
        done.set()

    Workers().submit(work)
    assert done.wait(PATIENCE)
    assert seen == ["zerog-background"]


def test_no_more_threads_than_allowed_and_all_work_is_done() -> None:
    workers, lock, go = Workers(most=3), threading.Lock(), threading.Event()
    running, most, finished = 0, 0, threading.Semaphore(0)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(PATIENCE)
        with lock:
            running -= 1
        finished.release()

    for _ in range(20):
        workers.submit(work)
    go.set()
    assert all(finished.acquire(timeout=PATIENCE) for _ in range(20))
    assert most <= 3


def test_work_that_waits_does_not_hold_up_the_rest() -> None:
    workers, go, quick = Workers(most=2), threading.Event(), threading.Event()
    workers.submit(lambda: go.wait(PATIENCE) and None)
    workers.submit(quick.set)
    assert quick.wait(PATIENCE), "the second had to wait for the first"
    go.set()


def test_a_queue_that_waits_does_not_hold_up_another() -> None:
    workers, go, others = Workers(most=6, each=2), threading.Event(), threading.Semaphore(0)
    slow = 0

    def wait() -> None:
        nonlocal slow
        slow += 1
        go.wait(PATIENCE)

    for _ in range(50):
        workers.submit(wait, "slow")
    for number in range(20):
        workers.submit(others.release, f"provider {number % 3}")
    assert all(others.acquire(timeout=PATIENCE) for _ in range(20))
    assert slow <= 2
    go.set()


def test_queues_take_turns_and_each_keeps_its_order() -> None:
    workers, go, told, done = Workers(most=1), threading.Event(), [], threading.Semaphore(0)

    def tell(what: str) -> None:
        told.append(what)
        done.release()

    workers.submit(lambda: go.wait(PATIENCE) and None, "first")
    for name in ("a1", "a2", "a3", "b1", "b2"):
        workers.submit(lambda name=name: tell(name), name[0])
    go.set()
    assert all(done.acquire(timeout=PATIENCE) for _ in range(5))
    assert told == ["a1", "b1", "a2", "b2", "a3"]


def test_nothing_is_remembered_of_queues_that_are_empty() -> None:
    workers, done = Workers(), threading.Semaphore(0)
    for number in range(50):
        workers.submit(done.release, f"provider {number}")
    assert all(done.acquire(timeout=PATIENCE) for _ in range(50))
    while workers._busy:  # until the last has signed off
        threading.Event().wait(0.001)
    assert not workers._queues
    assert not workers._running


def test_a_free_thread_is_used_again() -> None:
    workers, names, turn = Workers(), set(), threading.Semaphore(0)

    def work() -> None:
        names.add(threading.get_ident())
        turn.release()

    for _ in range(5):
        workers.submit(work)
        assert turn.acquire(timeout=PATIENCE)
        while not workers._free:  # until it waits for the next
            threading.Event().wait(0.001)
    assert len(names) <= 2


def test_threads_end_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    workers, seen, done = Workers(), [], threading.Event()

    def work() -> None:
        seen.append(threading.current_thread())
        done.set()

    workers.submit(work)
    assert done.wait(PATIENCE)
    seen[0].join(PATIENCE)
    assert not seen[0].is_alive()
    assert workers._threads == 0


def test_what_work_raises_is_logged_and_the_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    workers, done = Workers(most=1), threading.Event()

    def bad() -> None:
        raise ValueError("spoilt")

    with caplog.at_level(logging.ERROR, module.logger.name):
        workers.submit(bad)
        workers.submit(done.set)
        assert done.wait(PATIENCE)
    assert "background work failed" in caplog.text


def _fork() -> None:
    workers, ready = Workers(), threading.Event()
    workers.submit(ready.set)
    assert ready.wait(PATIENCE)

    def child() -> None:
        done = threading.Event()
        workers.submit(done.set)
        assert done.wait(PATIENCE)

    with workers._ready:  # as if another thread were at it
        forked = child_of(child)
    assert ended(forked) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own() -> None:
    alone(_fork)
