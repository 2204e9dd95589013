"""The gate: first come, first served over threads and event loops, and no place or turn is ever lost or had twice."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.processes import alone, child_of, ended
from tests.zg_core.driving import with_loop, without_loop
from zg_core import Store
from zg_core.calls.gate import Gate, Place, gate_of, pace_of
from zg_core.calls.limits import Limits
from zg_core.calls.pace import MemoryPace, StoredPace, Word
from zg_core.errors import ConfigError, RateLimited, never_served
from zg_core.http.signals import LoopSignal, ThreadSignal
from zg_core.http.transport import AsyncTransport, SyncTransport, run

ONE = Limits(per_minute=60, burst=1000, in_flight=1)
SLOW = Limits(per_minute=1, burst=1, in_flight=1)
NOW = 1_800_000_000.0


class TestLimits:
    def test_the_defaults_are_the_providers(self) -> None:
        assert Limits() == Limits(per_minute=30, burst=5, in_flight=5)  # 0g-direct §4.6

    @pytest.mark.parametrize("name", ["per_minute", "burst", "in_flight"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, "5", None, True])
    def test_what_is_no_whole_number_of_at_least_one_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ConfigError, match="limits=None") as caught:
            Limits(**{name: value})
        assert caught.value.code == "bad_limits"


class TestGateOf:
    @pytest.mark.parametrize(
        ("other", "same"),
        [
            (("a:7", "payer", "provider"), True),
            (("a:7", "PAYER", "Provider"), True),
            (("a:8", "payer", "provider"), False),
            (("a:7", "someone", "provider"), False),
            (("a:7", "payer", "elsewhere"), False),
        ],
    )
    def test_one_per_chain_payer_and_provider(self, other: tuple[str, str, str], same: bool) -> None:
        assert (gate_of("a:7", "payer", "provider") is gate_of(*other)) is same

    def test_the_rate_is_counted_in_a_store_that_others_can_open(self, tmp_path: Path) -> None:
        file = Store(f"sqlite:///{tmp_path}/store.db")
        assert isinstance(pace_of(file, "a:1", "payer", "provider"), StoredPace)
        assert pace_of(Store("memory:"), "a:1", "payer", "provider") is None
        assert pace_of(None, "a:1", "payer", "provider") is None


@dataclass
class Crowd:
    """Callers that queue at one gate, each known to be in the queue before the next one comes."""

    gate: Gate = field(default_factory=Gate)
    order: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def come(self, name: str, *, loop: bool, limits: Limits = ONE) -> None:
        queued = threading.Event()

        class Thread(ThreadSignal):
            async def wait(self, seconds: float | None) -> None:
                queued.set()
                await super().wait(seconds)

        class Loop(LoopSignal):
            async def wait(self, seconds: float | None) -> None:
                queued.set()
                await super().wait(seconds)

        async def work(transport: Any) -> None:
            transport.signal = Loop if loop else Thread
            place = await self.gate.enter(transport, limits, patience=60)
            self.order.append(name)
            place.leave()

        driver: Callable[..., Any] = with_loop if loop else without_loop
        thread = threading.Thread(target=driver, args=(work,))
        thread.start()
        self.threads.append(thread)
        assert queued.wait(PATIENCE)

    def end(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def enter(gate: Gate, limits: Limits = ONE, **options: Any) -> Place:
    return run(gate.enter(SyncTransport(), limits, **{"patience": 60, **options}))


class TestGate:
    def test_first_come_first_served_over_threads_and_loops(self) -> None:
        crowd = Crowd()
        place = enter(crowd.gate)
        names = [f"{'loop' if number % 3 else 'thread'} {number}" for number in range(9)]
        for name in names:
            crowd.come(name, loop=name.startswith("loop"))
        assert crowd.order == []
        place.leave()
        crowd.end()
        assert crowd.order == names
        assert crowd.gate.inside == set()

    def test_never_more_are_under_way_than_the_limit(self) -> None:
        gate, limits = Gate(), Limits(per_minute=10**6, burst=1000, in_flight=3)
        lock, now, most = threading.Lock(), 0, 0

        async def work(transport: Any) -> None:
            nonlocal now, most
            place = await gate.enter(transport, limits, patience=60)
            with lock:
                now += 1
                most = max(most, now)
            await transport.sleep(0)
            with lock:
                now -= 1
            place.leave()

        async def tasks(transport: Any) -> None:
            await asyncio.gather(*(work(transport) for _ in range(40)))

        async def repeated(transport: Any) -> None:
            for _ in range(40):
                await work(transport)

        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(with_loop, tasks) for _ in range(3)]
            done += [pool.submit(without_loop, repeated) for _ in range(5)]
            for one in done:
                one.result(PATIENCE)
        assert most == 3
        assert gate.inside == set()

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_place_left_twice_is_free_once(self, times: int) -> None:
        gate, limits = Gate(), Limits(in_flight=2)
        first, _second = enter(gate, limits), enter(gate, limits)
        for _ in range(times):
            first.leave()
        assert len(gate.inside) == 1

    def test_a_place_that_is_dropped_is_free(self) -> None:
        gate = Gate()
        place = enter(gate)
        ring: list[Any] = [place]
        ring.append(ring)
        del place, ring
        gc.collect()
        enter(gate, until=0).leave()

    def test_a_drop_wakes_the_one_who_waits(self) -> None:
        crowd = Crowd()
        place = enter(crowd.gate)
        crowd.come("waiting", loop=True)
        del place
        gc.collect()
        crowd.end()
        assert crowd.order == ["waiting"]

    def test_a_finalizer_may_run_anywhere(self) -> None:
        """Places in rings are dropped while others enter and leave: the collector runs in the midst of it."""
        gate, limits = Gate(), Limits(per_minute=10**6, burst=10**6, in_flight=50)
        before = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(300):
                place = enter(gate, limits)
                ring: list[Any] = [place]
                ring.append(ring)
                del place, ring
                enter(gate, limits).leave()
        finally:
            gc.set_threshold(*before)
        gc.collect()
        assert gate.inside == set()

    def test_two_places_left_at_once_let_two_in(self) -> None:
        """The first in the queue may be woken twice before it runs: it wakes the next one."""
        gate, limits = Gate(), Limits(burst=1000, in_flight=2)

        async def main() -> None:
            transport, both = AsyncTransport(), asyncio.Barrier(2)

            async def work() -> None:
                place = await gate.enter(transport, limits, patience=60)
                await both.wait()
                place.leave()

            places = [await gate.enter(transport, limits, patience=60) for _ in range(2)]
            tasks = [asyncio.ensure_future(work()) for _ in range(2)]
            await asyncio.sleep(0)
            for place in places:
                place.leave()
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

        asyncio.run(main())

    def test_a_higher_limit_does_not_overtake(self) -> None:
        crowd = Crowd()
        place = enter(crowd.gate)
        crowd.come("one at a time", loop=False, limits=ONE)
        crowd.come("many at a time", loop=False, limits=Limits(burst=1000, in_flight=9))
        assert crowd.order == []
        place.leave()
        crowd.end()
        assert crowd.order == ["one at a time", "many at a time"]


class TestLeavingTheQueue:
    """Who breaks off while waiting takes nothing along, first in the queue or not."""

    @pytest.mark.parametrize("cancelled", [0, 1])
    def test_a_cancelled_task(self, cancelled: int) -> None:
        gate, entered = Gate(), []

        async def work(number: int) -> None:
            place = await gate.enter(AsyncTransport(), ONE, patience=60)
            entered.append(number)
            place.leave()

        async def main() -> None:
            place = await gate.enter(AsyncTransport(), ONE, patience=60)
            tasks = [asyncio.ensure_future(work(number)) for number in range(3)]
            await asyncio.sleep(0)
            gone = tasks.pop(cancelled)
            gone.cancel()
            await asyncio.wait([gone])
            place.leave()
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

        asyncio.run(main())
        assert entered == [number for number in range(3) if number != cancelled]
        assert gate.inside == set()

    def test_a_task_that_is_cancelled_as_its_turn_comes(self) -> None:
        """Woken and cancelled before it runs again."""
        gate, entered = Gate(), []

        async def work(number: int) -> None:
            place = await gate.enter(AsyncTransport(), ONE, patience=60)
            entered.append(number)
            place.leave()

        async def main() -> None:
            place = await gate.enter(AsyncTransport(), ONE, patience=60)
            tasks = [asyncio.ensure_future(work(number)) for number in range(2)]
            await asyncio.sleep(0)
            place.leave()
            tasks[0].cancel()
            await asyncio.wait_for(asyncio.wait(tasks), PATIENCE)

        asyncio.run(main())
        assert entered == [1]

    def test_a_task_that_waits_for_its_turn_has_taken_none(self) -> None:
        now, gate = [NOW], Gate()
        pace = MemoryPace(clock=lambda: now[0])
        enter(gate, SLOW, pace=pace).leave()

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(gate.enter(AsyncTransport(), SLOW, pace=pace, patience=60), 0.01)

        asyncio.run(main())
        now[0] += 60
        enter(gate, SLOW, pace=pace, until=0).leave()

    def test_a_task_that_is_cancelled_while_the_store_answers(self, tmp_path: Path) -> None:
        asked, go, gate = threading.Event(), threading.Event(), Gate()
        store = Store(f"sqlite:///{tmp_path}/store.db")

        def clock() -> float:
            asked.set()
            assert go.wait(PATIENCE)
            return NOW

        async def main() -> None:
            pace = StoredPace(store, "a:1", "payer", "provider", clock=clock)
            task = asyncio.ensure_future(gate.enter(AsyncTransport(), SLOW, pace=pace, patience=60))
            assert await asyncio.to_thread(asked.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go.set()

        asyncio.run(main())  # ends after its threads
        assert StoredPace(store, "a:1", "payer", "provider", clock=lambda: NOW).take(SLOW).wait == 0
        assert gate.inside == set()
        store.close()

    def test_a_loop_that_is_closed_with_a_task_that_waits(self) -> None:
        gate, loop = Gate(), asyncio.new_event_loop()
        place = enter(gate)

        async def work() -> None:
            await gate.enter(AsyncTransport(), ONE, patience=60)

        coroutine = work()
        task = loop.create_task(coroutine)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        place.leave()
        enter(gate, until=time.monotonic() + PATIENCE).leave()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine.close()

    @pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
    def test_a_keyboard_interrupt(self) -> None:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
        try:
            self.interrupted()
        finally:
            signal.signal(signal.SIGINT, before)

    def interrupted(self) -> None:
        gate, main = Gate(), threading.get_ident()
        place = enter(gate)

        class Interrupted(ThreadSignal):
            async def wait(self, seconds: float | None) -> None:
                threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGINT)).start()
                await super().wait(seconds)

        transport = SyncTransport()
        transport.signal = Interrupted  # type: ignore[method-assign, assignment]
        with pytest.raises(KeyboardInterrupt):
            run(gate.enter(transport, ONE, patience=60))
        place.leave()
        enter(gate, until=0).leave()
        assert gate.inside == set()

    def test_a_store_that_fails(self, tmp_path: Path) -> None:
        gate = Gate()
        with pytest.raises(ConfigError):
            enter(gate, pace=StoredPace(Store(f"sqlite:///{tmp_path}"), "a:1", "payer", "provider"))  # a directory
        enter(gate, until=0).leave()
        assert gate.inside == set()


class TestTurns:
    def test_one_that_is_withdrawn_can_be_taken_again(self) -> None:
        gate = Gate()
        place = enter(gate, SLOW)
        place.withdraw()
        place.withdraw()
        again = enter(gate, SLOW, until=0)
        again.leave()
        with pytest.raises(RateLimited):
            enter(gate, SLOW, until=0)

    @pytest.mark.parametrize("options", [{"until": 0.0}, {"patience": 50}])
    def test_waiting_that_would_take_too_long_says_how_long(self, options: dict[str, float]) -> None:
        gate = Gate()
        gate.pace.heard(Word(0, None, 100.0), 0.0, ONE)
        with pytest.raises(RateLimited) as caught:
            enter(gate, **options)
        assert caught.value.code == "no_turn"
        assert caught.value.details["retry_after"] == pytest.approx(100, abs=5)
        assert never_served(caught.value)
        assert gate.inside == set()

    @pytest.mark.parametrize("reset", ["2s", "3s"])
    def test_a_reset_that_the_rate_explains_is_waited_for(self, reset: str) -> None:
        """Half a second more or less is the provider's rounding."""
        place = enter(gate := Gate(), Limits())
        place.heard({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}, 0.0)
        taken = gate.pace.take(Limits())
        assert 0 < taken.wait <= 3
        assert taken.pause == 0

    def test_a_blocking_call_on_a_loop_does_not_wait_for_ever_for_that_loops_tasks(self) -> None:
        gate = Gate()

        async def main() -> None:
            place = await gate.enter(AsyncTransport(), ONE, patience=60)
            with pytest.raises(RateLimited) as caught:
                enter(gate, patience=0.01)
            assert caught.value.code == "no_turn"
            place.leave()
            enter(gate, patience=0.01).leave()

        asyncio.run(main())

    def test_our_own_rate_is_waited_for_however_long_it_takes(self) -> None:
        """A pause is the provider's wish; a slow rate is ours."""
        now = [NOW]
        pace = MemoryPace(clock=lambda: now[0])

        class Later(ThreadSignal):
            async def wait(self, seconds: float | None) -> None:
                now[0] += seconds or 0

        transport, gate = SyncTransport(), Gate()
        transport.signal = Later  # type: ignore[method-assign, assignment]
        for _ in range(10):
            run(gate.enter(transport, SLOW, pace=pace, patience=0.5)).leave()
        assert now[0] == pytest.approx(NOW + 9 * 60, abs=1)

    def test_what_the_provider_says_is_followed(self) -> None:
        gate = Gate()
        place = enter(gate, SLOW)
        place.heard({"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "49"}, 0.0)
        others = [enter(gate, Limits(1, 1, 100), until=0) for _ in range(48)]
        assert len(gate.inside) == 1 + len(others)
        others[0].heard({"retry-after": "40"}, 0.0)
        assert gate.pace.take(SLOW).pause == pytest.approx(40, abs=5)

    def test_a_store_is_written_to_only_where_there_is_news(self, tmp_path: Path) -> None:
        store, gate, limits = Store(f"sqlite:///{tmp_path}/store.db"), Gate(), Limits()
        pace, heard = StoredPace(store, "a:1", "payer", "provider"), []
        pace.heard = lambda *arguments: heard.append(arguments)  # type: ignore[method-assign]
        place = enter(gate, limits, pace=pace)
        place.heard({"x-ratelimit-limit-requests": "30", "x-ratelimit-remaining-requests": "4"}, 0.0)
        place.heard({"content-type": "text/plain"}, 0.0)
        assert heard == []
        place.heard({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "9"}, 0.5)
        assert heard == [(Word(60, 9, 0.0), 0.5, limits)]
        store.close()


def _fork() -> None:
    limits = Limits(per_minute=60, burst=3, in_flight=1)
    gate = gate_of("a:1", "payer", "provider")

    def enter() -> Any:
        return run(gate_of("a:1", "payer", "provider").enter(SyncTransport(), limits, patience=60, until=0))

    place = enter()

    def child() -> None:
        assert not gate.inside
        mine = enter()  # the parent's request does not count here
        place.leave()  # and its end is not this one's
        assert len(gate.inside) == 1
        mine.leave()

    assert ended(child_of(child)) == 0
    assert len(gate.inside) == 1
    place.leave()
    enter()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_begins_with_nothing_under_way() -> None:
    alone(_fork)
