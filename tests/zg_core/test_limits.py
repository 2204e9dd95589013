"""Client-side limits: the rate that comes out is the rate that was asked for, from any number of threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.errors import ConfigError
from zg_core.limits import Limits, TokenBucket, bucket


class TestLimits:
    def test_the_defaults_are_the_providers(self) -> None:
        assert Limits() == Limits(per_minute=30, burst=5)  # 0g-direct §4.6

    @pytest.mark.parametrize("values", [{"per_minute": 0}, {"burst": 0}, {"per_minute": -1}])
    def test_less_than_one_is_refused(self, values: dict[str, int]) -> None:
        with pytest.raises(ConfigError, match="limits=None"):
            Limits(**values)


class TestTokenBucket:
    def test_a_burst_goes_at_once_then_the_pace_holds(self) -> None:
        bucket = TokenBucket(Limits(per_minute=30, burst=5))
        assert [bucket.reserve(100.0) for _ in range(8)] == pytest.approx([0, 0, 0, 0, 0, 2, 4, 6])

    def test_a_pause_gives_the_burst_back_and_no_more(self) -> None:
        bucket = TokenBucket(Limits(per_minute=60, burst=3))
        assert [bucket.reserve(0.0) for _ in range(4)] == pytest.approx([0, 0, 0, 1])
        assert [bucket.reserve(1000.0) for _ in range(4)] == pytest.approx([0, 0, 0, 1])

    def test_half_a_pause_gives_half(self) -> None:
        bucket = TokenBucket(Limits(per_minute=60, burst=4))
        assert [bucket.reserve(0.0) for _ in range(4)] == [0] * 4
        assert [bucket.reserve(2.0) for _ in range(3)] == pytest.approx([0, 0, 1])

    @given(
        per_minute=st.integers(1, 600),
        burst=st.integers(1, 20),
        pauses=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    )
    def test_no_window_holds_more_than_burst_and_pace_allow(
        self, per_minute: int, burst: int, pauses: list[float]
    ) -> None:
        bucket = TokenBucket(Limits(per_minute, burst))
        now, starts = 0.0, []
        for pause in pauses:
            now += pause
            starts.append(now + bucket.reserve(now))
        for first, start in enumerate(starts):
            for last in range(first, len(starts)):
                allowed = burst + (starts[last] - start) * per_minute / 60
                assert last - first + 1 <= allowed + 1e-6

    @given(pauses=st.lists(st.floats(0, 30), min_size=1, max_size=60))
    def test_who_keeps_the_pace_never_waits(self, pauses: list[float]) -> None:
        bucket = TokenBucket(Limits(per_minute=60, burst=1))
        now = 0.0
        for pause in pauses:
            now += 1.0 + pause
            assert bucket.reserve(now) == pytest.approx(0, abs=1e-9)

    def test_threads_share_it_without_losing_a_place(self) -> None:
        bucket = TokenBucket(Limits(per_minute=60, burst=1))
        waits: list[float] = []
        barrier = threading.Barrier(8)

        def take() -> None:
            barrier.wait()
            waits.extend(bucket.reserve(50.0) for _ in range(25))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(waits) == pytest.approx(range(200))

    def test_uses_the_clock_when_no_time_is_given(self) -> None:
        bucket = TokenBucket(Limits(per_minute=1, burst=1))
        assert bucket.reserve() == 0
        assert 59 < bucket.reserve() <= 60


class TestSharing:
    @pytest.mark.parametrize(
        ("other", "same"),
        [
            (("payer", "provider", Limits(7, 2)), True),
            (("someone", "provider", Limits(7, 2)), False),
            (("payer", "elsewhere", Limits(7, 2)), False),
            (("payer", "provider", Limits(8, 2)), False),
        ],
    )
    def test_one_bucket_per_payer_provider_and_limits(self, other: tuple[Any, ...], same: bool) -> None:
        assert (bucket("payer", "provider", Limits(7, 2)) is bucket(*other)) is same
