"""What is sent again, how often and how late, and what is paid twice only because somebody said so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.moments import instead
from tests.ports import refusing
from tests.zg_core.calls.test_path import EVENT, GOOD, Backend, World, outcomes
from tests.zg_core.calls.test_turns import STREAM
from tests.zg_core.driving import with_loop, without_loop
from tests.zg_core.raw_server import CLOSE, HEAD, answer, chunk
from zg_core import Budget, ChatClient, ConfigError, Store, neuron
from zg_core.backends.base import Grant
from zg_core.budget import Spending
from zg_core.calls.call import Call, Slot
from zg_core.calls.retries import Attempts, Retries
from zg_core.errors import (
    BudgetExceeded,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    SessionRejected,
    StreamTruncated,
    ZeroGError,
    never_served,
)

FUTURE = answer(b'{"error":"validate session: invalid session token (future generation)"}', "400 Bad")


class Calling:
    """One server, and calls in four ways."""

    def __init__(self, server: Any, *, loop: bool, stream: bool) -> None:
        self.world, self.loop, self.stream = World(server), loop, stream
        self.waits: list[float] = []

    @property
    def good(self) -> list[Any]:
        return [STREAM] if self.stream else [answer(GOOD)]

    def script(self, *answers: list[Any]) -> None:
        self.world.server.script = list(answers)

    def call(self, slot: Slot | None = None, **changes: Any) -> Any:
        async def work(transport: Any) -> Any:
            async def note(seconds: float) -> None:
                self.waits.append(seconds)

            transport.sleep = note
            calls = self.world.calls(transport, **changes)
            if self.stream:
                return [event async for event in calls.stream({"messages": []}, slot or Slot())]
            return await calls.create({"messages": []})

        return (with_loop if self.loop else without_loop)(work)


@pytest.fixture(params=[(False, False), (False, True), (True, False), (True, True)], ids=str)
def calling(request: pytest.FixtureRequest, server: Any) -> Calling:
    loop, stream = request.param
    return Calling(server, loop=loop, stream=stream)


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "code"),
        [
            ({"max_retries": -1}, "bad_max_retries"),
            ({"max_retries": 1.5}, "bad_max_retries"),
            ({"max_retries": True}, "bad_max_retries"),
            ({"max_retries": "2"}, "bad_max_retries"),
            ({"retry_deadline": -1}, "bad_retry_deadline"),
            ({"retry_deadline": float("inf")}, "bad_retry_deadline"),
            ({"retry_deadline": float("nan")}, "bad_retry_deadline"),
            ({"retry_deadline": 1e300}, "bad_retry_deadline"),
            ({"retry_deadline": "60"}, "bad_retry_deadline"),
            ({"retry_deadline": None}, "bad_retry_deadline"),
            ({"retry_unknown": 1}, "bad_retry_unknown"),
            ({"retry_unknown": "no"}, "bad_retry_unknown"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_refused_when_the_client_is_made(self, settings: dict[str, Any], code: str) -> None:
        with pytest.raises(ConfigError) as caught:
            ChatClient(provider="0x" + "11" * 20, private_key="0x" + "22" * 32, environ={}, **settings)
        assert caught.value.code == code
        assert caught.value.hint


class TestAttempts:
    def test_waits_double_with_jitter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for part, waits in ((0.5, [0.25, 0.5, 1.0, 2.0]), (1.0, [0.5, 1.0, 2.0, 4.0])):
            monkeypatch.setattr("zg_core.calls.retries.random.uniform", lambda low, high, part=part: part)
            attempts = Attempts(Retries(4))
            assert [attempts.wait(RateLimited("x", status=429)) for _ in range(5)] == [*waits, None]

    def test_the_deadline_is_for_all_of_them_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        instead(monkeypatch, "zg_core.calls.retries.time", monotonic=lambda: now)
        attempts = Attempts(Retries(100, deadline=10.0))
        assert attempts.wait(RateLimited("x", status=429, retry_after=8)) == 8
        now += 8
        assert attempts.wait(RateLimited("x", status=429, retry_after=2)) == 2
        now += 1
        error = RateLimited("x", status=429, retry_after=2, hint="slow down")
        assert attempts.wait(error) is None
        assert (error.details["retry_after"], error.hint) == (2, "try again in 2 s; slow down")

    def test_the_first_attempt_may_take_as_long_as_it_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        instead(monkeypatch, "zg_core.calls.retries.time", monotonic=lambda: now)
        attempts = Attempts(Retries(1, deadline=10.0, unknown=True))
        now += 300
        assert attempts.wait(OutcomeUnknown("x", code="timeout")) is not None


@pytest.mark.parametrize(
    ("error", "free"),
    [
        (RateLimited("x", status=429), True),
        (RateLimited("x", code="no_turn"), True),
        (RateLimited("x", status=429, code="model_blocked", retryable=False), False),
        (ProviderUnavailable("x", status=503), True),
        (ProviderUnavailable("x", status=522), True),
        (ProviderUnavailable("x", code="connect_failed"), True),
        (ProviderUnavailable("x", status=500), False),
        (ProviderUnavailable("x", status=502), False),
        (ProviderUnavailable("x", status=504), False),
        (SessionRejected("x", code="future_generation", status=400, retryable=True), True),
        (SessionRejected("x", code="revoked", status=400), False),
        (PaymentRequired("x", status=402), False),
        (OutcomeUnknown("x"), False),
        (ValueError("x"), False),
    ],
    ids=repr,
)
def test_what_was_never_served(error: Exception, free: bool) -> None:
    assert never_served(error) is free


class TestNeverServed:
    def test_a_connection_that_could_not_be_made_is_tried_again(self, calling: Calling) -> None:
        dead = f"http://127.0.0.1:{refusing()}"

        class Late(Backend):
            tries = 0

            async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
                self.tries += 1
                service = replace(self.service, url=dead) if self.tries <= 2 else self.service
                call.route = replace(call.route, service=service)
                return await super().grant(call, error)

        calling.script(calling.good)
        calling.call(backend=Late(calling.world.server.url), max_retries=2)
        (receipt,) = calling.world.receipts
        assert (receipt.outcome, receipt.attempts) == ("answered", 3)
        assert len(calling.waits) == 2

    def test_a_future_generation_is_tried_again(self, calling: Calling) -> None:
        calling.script([FUTURE], [FUTURE], calling.good)
        calling.call(max_retries=2)
        assert outcomes(calling.world) == ["refused", "refused", "answered"]
        assert len(calling.waits) == 2

    @pytest.mark.parametrize(
        "body", ["validate session: session token expired", "validate session: session token has been revoked"]
    )
    def test_another_rejection_is_not(self, calling: Calling, body: str) -> None:
        calling.script([answer(b'{"error":"%s"}' % body.encode(), "400 Bad")])
        with pytest.raises(SessionRejected):
            calling.call(max_retries=5)
        assert len(calling.world.server.received) == 1

    def test_the_providers_reset_is_waited_for(self, calling: Calling) -> None:
        reset = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "12s"}
        calling.script([answer(b"", "429 Slow", **reset)], [answer(b"", "503 Busy", Retry_After="7")], calling.good)
        calling.call(max_retries=2)
        assert calling.waits == [12, 7]

    @pytest.mark.parametrize(
        ("headers", "deadline", "after"), [({"Retry_After": "5"}, 4.5, 5), ({"Retry_After": "61"}, 60, 61), ({}, 0, 0)]
    )
    def test_a_wait_beyond_the_deadline_fails_at_once_and_says_when(
        self, calling: Calling, headers: dict[str, str], deadline: float, after: float
    ) -> None:
        calling.script([answer(b"", "429 Slow", **headers)])
        with pytest.raises(RateLimited) as caught:
            calling.call(max_retries=5, retry_deadline=deadline)
        assert calling.waits == []
        assert caught.value.details["retry_after"] == pytest.approx(after, abs=0.5)
        assert "try again in" in caught.value.hint
        assert never_served(caught.value)
        assert list(calling.world.receipts) == [caught.value.receipt]


class TestUnknownOutcome:
    def test_is_raised_by_default(self, calling: Calling) -> None:
        calling.script([CLOSE], calling.good)
        with pytest.raises(OutcomeUnknown):
            calling.call(max_retries=5)
        assert len(calling.world.server.received) == 1

    def test_is_tried_again_where_allowed_with_a_receipt_each(self, calling: Calling) -> None:
        calling.script([CLOSE], [CLOSE], calling.good)
        slot = Slot()
        calling.call(slot, max_retries=2, retry_unknown=True)
        receipts = list(calling.world.receipts)
        assert sorted(outcomes(calling.world)) == ["answered", "unknown", "unknown"]
        assert len({receipt.id for receipt in receipts}) == 3
        assert len({received.body for received in calling.world.server.received}) == 1
        for receipt in receipts:
            assert receipt.fee.exact is (receipt.outcome == "answered")
        assert [receipt.attempts for receipt in receipts] == [1, 2, 3]
        if calling.stream:
            assert slot.receipt is not None
            assert slot.receipt.outcome == "answered"

    def test_is_tried_again_only_so_often(self, calling: Calling) -> None:
        calling.script(*[[CLOSE]] * 5)
        with pytest.raises(OutcomeUnknown) as caught:
            calling.call(max_retries=1, retry_unknown=True)
        assert outcomes(calling.world) == ["unknown"] * 2
        assert caught.value.receipt is calling.world.receipts.last

    def test_is_not_tried_again_once_a_byte_has_come(self, server: Any) -> None:
        calling = Calling(server, loop=False, stream=True)
        calling.script([HEAD + chunk(EVENT), CLOSE], calling.good)
        with pytest.raises(StreamTruncated):
            calling.call(max_retries=5, retry_unknown=True)
        assert len(calling.world.server.received) == 1

    @pytest.mark.parametrize("refusal", ["429 Slow", "503 Busy", "400 Bad", "402 Pay"])
    def test_counts_more_than_a_later_refusal(self, calling: Calling, refusal: str) -> None:
        """Else the caller would believe that nothing was served, and pay once more."""
        calling.script([CLOSE], [answer(b"", refusal)])
        with pytest.raises(OutcomeUnknown) as caught:
            calling.call(max_retries=1, retry_unknown=True)
        assert isinstance(caught.value.__cause__, ZeroGError)
        assert not never_served(caught.value)
        assert outcomes(calling.world) == ["unknown", "refused"]
        assert caught.value.receipt is next(iter(calling.world.receipts))

    def test_is_held_in_the_budget_beside_what_is_paid(self, calling: Calling) -> None:
        spending = Spending(Budget(per_run=neuron(10**9)), Store("memory:"), 31337)
        calling.script([CLOSE], calling.good)
        calling.call(max_retries=1, retry_unknown=True, spending=spending)
        (held,) = spending.held()
        answered, unknown = sorted(calling.world.receipts, key=lambda receipt: receipt.outcome)
        assert (held.receipt, held.state) == (unknown.id, "unknown")
        assert held.upper.units > 0
        left = spending.left(answered.payer, answered.provider)["per_run"].units
        assert left == 10**9 - held.upper.units - answered.fee.amount.units

    def test_is_not_tried_again_beyond_the_budget(self, calling: Calling) -> None:
        spending = Spending(Budget(per_run=neuron(10**9)), Store("memory:"), 31337)
        calling.script([CLOSE])
        with pytest.raises(OutcomeUnknown):
            calling.call(spending=spending)
        (held,) = spending.held()
        tight = Spending(Budget(per_run=neuron(held.upper.units * 3 // 2)), Store("memory:"), 31337)
        calling.script([CLOSE], calling.good)
        with pytest.raises(OutcomeUnknown) as caught:
            calling.call(max_retries=1, retry_unknown=True, spending=tight)
        assert isinstance(caught.value.__cause__, BudgetExceeded)
        assert [one.state for one in tight.held()] == ["unknown"]
        assert len(calling.world.server.received) == 2
