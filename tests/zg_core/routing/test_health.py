"""Measurements with a half-life, cooldowns, and the one caller who tries a provider again."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.hand_clock import Clock
from zg_core.routing.health import BOOK, COOLDOWN, HALF_LIFE, LONGEST_COOLDOWN, Decayed, Health, HealthBook

ADDRESS = "0x" + "ab" * 20
values = st.floats(min_value=0.001, max_value=1000)
pauses = st.floats(min_value=0, max_value=2000)


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


class TestDecayed:
    @given(st.lists(st.tuples(values, pauses), min_size=1, max_size=60))
    def test_the_mean_lies_between_the_measurements(self, measured):
        mean, now = Decayed(), 0.0
        for value, pause in measured:
            now += pause
            mean.add(value, now)
        seen = [value for value, _ in measured]
        assert min(seen) * 0.999 <= mean.mean(now) <= max(seen) * 1.001

    @given(first=values, second=values, age=st.floats(min_value=0, max_value=20 * HALF_LIFE))
    def test_an_older_measurement_weighs_half_as_much_per_half_life(self, first, second, age):
        mean = Decayed()
        mean.add(first, 0.0)
        mean.add(second, age)
        weight = 0.5 ** (age / HALF_LIFE)
        assert mean.mean(age) == pytest.approx((first * weight + second) / (weight + 1))

    @given(count=st.integers(1, 200), half_lives=st.floats(min_value=0, max_value=30))
    def test_what_is_known_fades_and_is_forgotten(self, count, half_lives):
        mean = Decayed()
        for _ in range(count):
            mean.add(1.0, 0.0)
        now = half_lives * HALF_LIFE
        assert mean.weight(now) == pytest.approx(min(count, 32) * 0.5**half_lives)
        assert (mean.mean(now) is None) == (mean.weight(now) < 0.125)

    def test_a_clock_that_is_read_out_of_order_does_no_harm(self):
        mean = Decayed()
        mean.add(1.0, 100.0)
        mean.add(3.0, 99.0)
        assert mean.mean(100.0) == pytest.approx(2.0)

    def test_nothing_is_known_of_what_was_never_measured(self):
        assert Decayed().mean(0.0) is None


class TestCooldown:
    def test_a_failure_cools_for_a_while_and_each_further_one_for_twice_as_long(self, health, clock):
        waits = []
        for _ in range(10):
            health.failed()
            waits.append(health.measured().wait)
            assert not health.admit()
            clock.now += waits[-1]
            assert health.measured().state == "half_open"
            assert health.admit()
        assert waits == [min(COOLDOWN * 2**n, LONGEST_COOLDOWN) for n in range(10)]

    def test_calls_that_fail_together_count_as_one_failure(self, health, clock):
        for _ in range(50):
            health.failed()
        assert health.measured().wait == COOLDOWN

    def test_an_answer_ends_it_and_the_next_failure_is_a_first_one(self, health, clock):
        health.failed()
        clock.now += COOLDOWN
        assert health.admit()
        health.answered(first_byte=0.1, stream=True)
        assert (health.measured().state, health.admit(), health.admit()) == ("up", True, True)
        health.failed()
        assert health.measured().wait == COOLDOWN

    def test_a_first_byte_lets_others_in_but_a_provider_that_then_fails_cools_for_longer(self, health, clock):
        health.failed()
        clock.now += COOLDOWN
        assert health.admit()
        health.began()
        assert health.admit()
        health.failed()
        assert health.measured().wait == 2 * COOLDOWN

    def test_a_pause_that_was_asked_for_is_no_failure(self, health, clock):
        health.paused(2.0)
        assert (health.measured().wait, health.measured().failures, health.admit()) == (2.0, None, False)
        clock.now += 2
        assert health.admit()

    def test_a_pause_of_hours_is_cut(self, health):
        health.paused(86_400)
        assert health.measured().wait == LONGEST_COOLDOWN

    def test_a_probe_that_never_tells_holds_nobody_up_for_longer_than_a_cooldown(self, health, clock):
        health.failed()
        clock.now += COOLDOWN
        assert [health.admit(), health.admit()] == [True, False]
        clock.now += COOLDOWN
        assert [health.admit(), health.admit()] == [True, False]

    def test_exactly_one_of_many_threads_probes(self, health, clock):
        health.failed()
        clock.now += COOLDOWN
        start, admitted = threading.Barrier(16), []

        def caller() -> None:
            start.wait()
            admitted.extend(health.admit() for _ in range(200))

        threads = [threading.Thread(target=caller) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(admitted), sum(admitted)) == (3200, 1)


class TestMeasured:
    def test_streams_and_whole_answers_are_measured_apart(self, health):
        health.answered(first_byte=0.2, stream=True, throughput=40.0)
        health.answered(first_byte=2.0, stream=False, throughput=20.0)
        known = health.measured()
        assert (known.stream_latency, known.whole_latency, known.throughput) == (0.2, 2.0, 30.0)

    def test_half_of_the_calls_failing_makes_it_shaky_until_that_is_forgotten(self, health, clock):
        for _ in range(3):
            health.answered(first_byte=0.1, stream=True)
        health.failed()
        assert not health.measured().shaky
        for _ in range(2):
            health.failed()
        assert health.measured().shaky
        clock.now += 10 * HALF_LIFE
        assert health.measured().failures is None
        assert not health.measured().shaky

    def test_counts_from_many_threads_are_not_lost(self, clock):
        health = Health(clock, half_life=1e9)

        def caller() -> None:
            for _ in range(4):
                health.answered(first_byte=1.0, stream=False)
                health.failed()

        threads = [threading.Thread(target=caller) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert health.measured().failures == pytest.approx(0.5)


def test_a_provider_has_one_record_per_chain_however_its_address_is_written():
    book = HealthBook()
    assert book.of(1, ADDRESS) is book.of(1, ADDRESS.upper().replace("0X", "0x"))
    assert book.of(1, ADDRESS) is not book.of(2, ADDRESS)


def test_threads_that_ask_at_once_get_the_same_record():
    book, start, found = HealthBook(), threading.Barrier(8), []

    def caller() -> None:
        start.wait()
        found.append(book.of(1, ADDRESS))

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(record) for record in found}) == 1
    assert isinstance(BOOK, HealthBook)
