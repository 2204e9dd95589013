"""The pace: what is granted stays within the bucket, from threads and processes, and follows the provider's word."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import PATIENCE
from tests.zg_core.calls.pacing import NOW, PAYER, PROCESSES, PROVIDER, SHARED, TURNS
from zg_core import Store
from zg_core.calls.limits import Limits
from zg_core.calls.pace import LONGEST_PAUSE, Level, MemoryPace, StoredPace, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.calls.pace import Pace

ROOT = Path(__file__).resolve().parents[3]


def wait_for_turn(level: Level, now: float, limits: Limits) -> float:
    """When a turn was granted to one who asked at `now`."""
    while (wait := level.take(now, limits)) > 0:
        now += wait
    return now


def fits(times: list[float], limits: Limits) -> None:
    """No window holds more than burst and rate allow."""
    times = sorted(times)
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            allowed = limits.burst + (times[last] - start) * limits.per_minute / 60
            assert last - first + 1 <= allowed + 1e-3


class TestLevel:
    def test_a_burst_goes_at_once_then_the_rate_holds(self) -> None:
        level, limits, now = Level(), Limits(per_minute=30, burst=5), 100.0
        times = [now := wait_for_turn(level, now, limits) for _ in range(8)]
        assert times == pytest.approx([100] * 5 + [102.1, 104.1, 106.1], abs=1e-3)

    def test_a_pause_gives_the_burst_back_and_no_more(self) -> None:
        level, limits = Level(), Limits(per_minute=60, burst=3)
        for now in (0.0, 1000.0):
            assert [level.take(now, limits) for _ in range(4)] == pytest.approx([0, 0, 0, 1.1])

    @given(
        limits=st.builds(Limits, per_minute=st.integers(1, 600), burst=st.integers(1, 20)),
        pauses=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    )
    def test_no_window_holds_more_than_burst_and_rate_allow(self, limits: Limits, pauses: list[float]) -> None:
        level, now, times = Level(), NOW, []
        for pause in pauses:
            now = wait_for_turn(level, now + pause, limits)
            times.append(now)
        fits(times, limits)

    @given(pauses=st.lists(st.floats(0, 30), min_size=1, max_size=60))
    def test_who_keeps_the_rate_never_waits(self, pauses: list[float]) -> None:
        level, limits, now = Level(), Limits(per_minute=60, burst=1), NOW
        for pause in pauses:
            now += 1.0 + pause
            assert level.take(now, limits) == 0

    @given(
        limits=st.builds(Limits, per_minute=st.integers(1, 600), burst=st.integers(1, 8)),
        steps=st.lists(st.tuples(st.floats(0, 20), st.booleans(), st.floats(0, 20)), min_size=1, max_size=40),
    )
    def test_turns_that_are_given_back_let_no_more_through(
        self, limits: Limits, steps: list[tuple[float, bool, float]]
    ) -> None:
        level, now, used = Level(), NOW, []
        for pause, back, later in steps:
            now = wait_for_turn(level, now + pause, limits)
            if back:
                taken, now = now, now + later
                level.give_back(taken, now, limits)
            else:
                used.append(now)
        fits(used, limits)

    def test_a_turn_given_back_at_once_can_be_taken_again(self) -> None:
        level, limits = Level(), Limits(per_minute=1, burst=1)
        assert level.take(NOW, limits) == 0
        level.give_back(NOW, NOW + 1, limits)
        assert level.take(NOW + 1, limits) == 0

    def test_a_turn_given_back_after_it_has_drained_is_no_second_one(self) -> None:
        level, limits = Level(), Limits(per_minute=60, burst=3)
        assert level.take(NOW, limits) == 0
        later = NOW + 1000
        assert [level.take(later, limits) for _ in range(3)] == [0] * 3
        level.give_back(NOW, later, limits)
        assert level.take(later, limits) > 0

    def test_clients_with_limits_of_their_own_count_together(self) -> None:
        level = Level()
        assert [level.take(NOW, Limits(burst=2)) for _ in range(2)] == [0, 0]
        assert level.take(NOW, Limits(burst=3)) == 0
        assert level.take(NOW, Limits(burst=2)) > 0

    @pytest.mark.parametrize(("back", "waits"), [(5.0, True), (86_400.0, False)])
    def test_a_clock_set_back_does_not_stop_the_refill(self, back: float, waits: bool) -> None:
        level, limits = Level(), Limits(per_minute=60, burst=1)
        level.take(NOW, limits)
        now = NOW - back
        assert level.take(now, limits) == pytest.approx(back + 1.1 if waits else 1.1)
        assert level.take(now + (back + 1 if waits else 1), limits) == 0


class TestWord:
    @pytest.mark.parametrize(
        ("headers", "pause", "word"),
        [
            ({}, None, None),
            ({"content-type": "application/json"}, None, None),
            ({"x-ratelimit-limit-requests": "60"}, None, Word(60, None, 0.0)),
            (
                {
                    "x-ratelimit-limit-requests": "30",
                    "x-ratelimit-remaining-requests": "0",
                    "x-ratelimit-reset-requests": "12s",
                },
                None,
                Word(30, 0, 12.0),
            ),
            ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m3s"}, None, Word(0, None, 63.0)),
            ({"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "9s"}, None, Word(0, 7, 0.0)),
            ({"retry-after": "4"}, None, Word(0, None, 4.0)),
            ({"retry-after": "4"}, 0.0, None),
            ({}, 5.0, Word(0, None, 5.0)),
            ({"x-ratelimit-limit-requests": "0"}, None, None),
            ({"x-ratelimit-limit-requests": "-3", "x-ratelimit-remaining-requests": "1e9"}, None, None),
            ({"x-ratelimit-limit-requests": "²", "x-ratelimit-remaining-requests": "9" * 5000}, None, None),
            ({"x-ratelimit-limit-requests": "9" * 12}, None, Word(1_000_000, None, 0.0)),
        ],
    )
    def test_is_read_from_the_headers(self, headers: dict[str, str], pause: float | None, word: Word | None) -> None:
        assert Word.of(headers, pause) == word


class TestHeard:
    LIMITS = Limits(per_minute=30, burst=5)

    def test_a_lower_rate_is_kept(self) -> None:
        level = Level()
        assert level.heard(Word(6, None, 0.0), 0.0, NOW, self.LIMITS)
        assert [level.take(NOW, self.LIMITS) for _ in range(6)] == pytest.approx([0] * 5 + [10.1])

    def test_a_higher_rate_and_burst_are_used(self) -> None:
        level = Level()
        level.take(NOW, self.LIMITS)
        assert level.heard(Word(600, 19, 0.0), 0.0, NOW, self.LIMITS)
        assert [level.take(NOW, self.LIMITS) for _ in range(19)] == pytest.approx([0] * 18 + [0.11])

    def test_what_others_used_is_gone(self) -> None:
        level = Level()
        level.take(NOW, self.LIMITS)
        assert level.heard(Word(30, 1, 0.0), 0.0, NOW, self.LIMITS)
        # One is left by the provider's count, which it rounds down.
        assert [level.take(NOW, self.LIMITS) for _ in range(3)] == pytest.approx([0, 0, 2.1])

    def test_what_we_count_ourselves_is_no_news(self) -> None:
        level = Level()
        for remaining in (4, 3, 2, 1):
            level.take(NOW, self.LIMITS)
            assert not level.heard(Word(30, remaining, 0.0), 0.0, NOW, self.LIMITS)
        level.take(NOW, self.LIMITS)
        assert not level.heard(Word(30, 0, 2.0), 0.0, NOW, self.LIMITS)

    def test_an_old_word_has_drained(self) -> None:
        level = Level()
        level.take(NOW, self.LIMITS)
        assert not level.heard(Word(30, 0, 2.0), 30.0, NOW + 30, self.LIMITS)
        assert [level.take(NOW + 30, self.LIMITS) for _ in range(5)] == [0] * 5

    def test_a_pause_holds_back_everybody_and_ends(self) -> None:
        level = Level()
        assert level.heard(Word(0, None, 12.0), 2.0, NOW, self.LIMITS)
        assert level.take(NOW, self.LIMITS) == pytest.approx(10)
        assert level.pause(NOW + 4) == pytest.approx(6)
        assert level.take(NOW + 10, self.LIMITS) == 0

    def test_a_pause_without_end_ends(self) -> None:
        level = Level()
        level.heard(Word(0, None, 1e15), 0.0, NOW, self.LIMITS)
        assert level.take(NOW, self.LIMITS) == pytest.approx(LONGEST_PAUSE)
        assert level.take(NOW + LONGEST_PAUSE, self.LIMITS) == 0

    @given(
        word=st.builds(Word, st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.floats(0, 1e12)),
        age=st.floats(0, 1e6),
    )
    def test_no_word_stops_the_requests_for_good(self, word: Word, age: float) -> None:
        level = Level()
        level.take(NOW, self.LIMITS)
        level.heard(word, age, NOW, self.LIMITS)
        assert wait_for_turn(level, NOW, self.LIMITS) <= NOW + LONGEST_PAUSE + 121


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.requires("postgres"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    address = request.getfixturevalue("postgres")
    store = Store(address)
    with store.transaction() as work:
        work.run("DELETE FROM paces")
    store.close()
    yield address


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.requires("postgres"))])
def pace(request: pytest.FixtureRequest) -> Iterator[Pace]:
    """A pace whose clock stands still."""
    if request.param == "memory":
        yield MemoryPace(clock=lambda: NOW)
        return
    if request.param == "sqlite":
        address = f"sqlite:///{request.getfixturevalue('tmp_path')}/store.db"
    else:
        address = request.getfixturevalue("postgres")
    store = Store(address)
    with store.transaction() as work:
        work.run("DELETE FROM paces")
    yield StoredPace(store, "a:1", PAYER, PROVIDER, clock=lambda: NOW)
    store.close()


class TestPace:
    def test_threads_share_it_without_gaining_a_turn(self, pace: Pace) -> None:
        granted: list[bool] = []
        barrier = threading.Barrier(8)

        def ask() -> None:
            barrier.wait()
            granted.extend(pace.take(Limits(burst=20)).wait == 0 for _ in range(5))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (granted.count(True), len(granted)) == (20, 40)

    def test_a_turn_given_back_is_there_again(self, pace: Pace) -> None:
        limits = Limits(per_minute=1, burst=1)
        taken = pace.take(limits)
        assert pace.take(limits).wait > 0
        pace.give_back(taken.level.at, limits)
        assert pace.take(limits).wait == 0

    def test_follows_the_provider(self, pace: Pace) -> None:
        pace.heard(Word(60, None, 7.0), 0.0, Limits())
        taken = pace.take(Limits())
        assert (taken.wait, taken.pause) == pytest.approx((7, 7), abs=1e-3)
        assert taken.level.per_minute == 60


class TestStoredPace:
    @pytest.mark.parametrize(
        ("other", "same"),
        [
            (("a:1", PAYER.upper(), PROVIDER.upper()), True),
            (("a:2", PAYER, PROVIDER), False),
            (("a:1", PROVIDER, PROVIDER), False),
            (("a:1", PAYER, PAYER), False),
        ],
    )
    def test_one_pace_per_chain_payer_and_provider(self, url: str, other: Any, same: bool) -> None:
        store, limits = Store(url), Limits(per_minute=1, burst=1)
        StoredPace(store, "a:1", PAYER, PROVIDER).take(limits)
        assert (StoredPace(store, *other).take(limits).wait > 0) is same
        store.close()

    def test_what_one_process_heard_holds_for_all(self, url: str) -> None:
        one, other = Store(url), Store(url)
        first, second = (StoredPace(store, "a:1", PAYER, PROVIDER, clock=lambda: NOW) for store in (one, other))
        first.heard(Word(6, None, 30.0), 0.0, Limits())
        assert second.take(Limits()).wait == pytest.approx(30, abs=5)
        one.close()
        other.close()

    def test_a_store_that_is_gone_costs_no_answer(self, tmp_path: Path) -> None:
        pace = StoredPace(Store(f"sqlite:///{tmp_path}"), "a:1", PAYER, PROVIDER)  # a directory
        pace.heard(Word(6, None, 30.0), 0.0, Limits())
        pace.give_back(0.0, Limits())

    def test_processes_together_never_take_more_than_the_bucket_holds(self, url: str) -> None:
        command = [sys.executable, "-m", "tests.zg_core.calls.pacing", url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
        together = [time for taken in json.loads(done.stdout) for time in taken]
        assert len(together) == PROCESSES * TURNS
        fits(together, SHARED)
        # And no turn is lost: the bucket was never left full while somebody waited.
        assert max(together) - min(together) <= (len(together) - SHARED.burst) * 60 / SHARED.per_minute + 0.5
