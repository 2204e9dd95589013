"""Calls under limits: each takes one turn, holds one place while it is under way, and gives it back however it ends."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.ports import refusing
from tests.zg_core.calls.test_path import END, EVENT, GOOD, PROVIDER, Backend, World
from tests.zg_core.driving import with_loop, without_loop
from tests.zg_core.raw_server import CLOSE, HEAD, STALL, answer, chunk
from zg_core import Budget, Store, neuron
from zg_core.backends.base import Grant
from zg_core.budget import Spending
from zg_core.calls import gate as limits
from zg_core.calls.call import Call, Slot
from zg_core.calls.gate import Gate, gate_of
from zg_core.calls.limits import Limits
from zg_core.errors import BudgetExceeded, ConfigError, OutcomeUnknown, ProviderUnavailable, RateLimited, ZeroGError
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.receipts.stored import ReceiptStore
from zg_core.verify.verdict import Verdict

SLOW = Limits(per_minute=1, burst=1, in_flight=1)
WIDE = Limits(per_minute=1, burst=100, in_flight=1)  # next to nothing drains during a test
FAST = Limits(per_minute=60, burst=100, in_flight=1)
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
STREAM = HEAD + chunk(EVENT + USAGE + END) + chunk(b"")
PAYERS = itertools.count()


class Turns:
    """One server, one payer of its own, and calls in four ways."""

    def __init__(self, server: Any, *, loop: bool, stream: bool) -> None:
        self.world = World(server)
        self.loop, self.stream = loop, stream
        self.payer = f"payer {next(PAYERS)}"

    @property
    def gate(self) -> Gate:
        return gate_of("eip155:31337", self.payer, PROVIDER)

    @property
    def used(self) -> float:
        """Turns taken so far, less what has drained."""
        return self.gate.pace.take(WIDE).level.used - 1

    def call(self, limits: Limits | None = WIDE, sleep: Callable[[float], None] | None = None, **changes: Any) -> Any:
        async def work(transport: Any) -> Any:
            if sleep is not None:

                async def note(seconds: float) -> None:
                    sleep(seconds)

                transport.sleep = note
            calls = self.world.calls(transport, limits=limits, payer=lambda: self.payer, **changes)
            if self.stream:
                return [event async for seen in calls.stream({"messages": []}, Slot()) for event in seen]
            return await calls.create({"messages": []})

        return (with_loop if self.loop else without_loop)(work)

    def script(self, *answers: list[Any]) -> None:
        self.world.server.script = list(answers)

    @property
    def good(self) -> list[Any]:
        return [STREAM] if self.stream else [answer(GOOD)]


@pytest.fixture(params=[(False, False), (False, True), (True, False), (True, True)], ids=str)
def turns(request: pytest.FixtureRequest, server: Any) -> Turns:
    loop, stream = request.param
    return Turns(server, loop=loop, stream=stream)


BAD_ENDINGS = {
    "refused": [answer(b"", "400 Bad")],
    "rate limited": [answer(b"", "429 Slow")],
    "failed": [answer(b"", "500 Oops")],
    "redirected": [answer(b"", "302 Moved")],
    "not answered": [CLOSE],
    "cut": [HEAD + chunk(EVENT), CLOSE],
    "junk": [HEAD + chunk(b"data: junk\n\n") + chunk(b"")],
    "an error inside": [HEAD + chunk(b'data: {"error":"no"}\n\n') + chunk(b"")],
    "too late": [STALL],
}


class TestAPlace:
    def test_is_left_with_the_answer_and_before_it_is_checked(self, turns: Turns) -> None:
        seen: list[int] = []

        class Looking(Backend):
            async def verify(self, call: Call) -> Verdict:
                seen.append(len(turns.gate.inside))
                return await super().verify(call)

            async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
                seen.append(len(turns.gate.inside))
                return await super().grant(call, error)

        turns.script(turns.good)
        turns.call(backend=Looking(turns.world.server.url))
        assert seen == [1, 0]
        assert round(turns.used) == 1

    @pytest.mark.parametrize("ending", BAD_ENDINGS.values(), ids=list(BAD_ENDINGS))
    def test_is_left_however_the_call_ends(self, turns: Turns, ending: list[Any]) -> None:
        from zg_core.http.timeouts import Timeouts

        turns.script(ending, turns.good)
        with pytest.raises(ZeroGError):
            turns.call(timeouts=Timeouts(connect=PATIENCE, read=0.2 if ending == [STALL] else PATIENCE))
        assert turns.gate.inside == set()

    def test_is_left_when_no_connection_can_be_made(self, turns: Turns) -> None:
        with pytest.raises(ProviderUnavailable):
            turns.call(backend=Backend(f"http://127.0.0.1:{refusing()}"))
        assert turns.gate.inside == set()

    def test_and_turn_are_given_back_when_the_budget_refuses(self, turns: Turns) -> None:
        spending = Spending(Budget(per_run=neuron(1)), Store("memory:"), 31337)
        for _ in range(2):  # the second would wait a minute for a turn
            with pytest.raises(BudgetExceeded):
                turns.call(SLOW, spending=spending)
        assert turns.gate.inside == set()

    def test_and_turn_are_given_back_when_the_store_fails(self, turns: Turns, tmp_path: Path) -> None:
        stored = ReceiptStore(Store(f"sqlite:///{tmp_path}"), None)  # a directory
        for _ in range(2):
            with pytest.raises(ConfigError):
                turns.call(SLOW, stored=stored)
        assert turns.gate.inside == set()

    def test_is_not_held_while_a_retry_waits_and_each_attempt_takes_a_turn(self, turns: Turns) -> None:
        turns.script([answer(b"", "503 Busy")], [answer(b"", "503 Busy")], turns.good)
        held: list[int] = []
        turns.call(max_retries=2, sleep=lambda _: held.append(len(turns.gate.inside)))
        assert held == [0, 0]
        assert round(turns.used) == 3
        assert turns.gate.inside == set()

    def test_is_not_held_when_a_listener_fails(self, turns: Turns) -> None:
        def fail(receipt: Any) -> None:
            raise ValueError("listener")

        turns.script(turns.good)
        turns.call(on_receipt=fail)
        assert turns.gate.inside == set()

    def test_nothing_is_counted_without_limits(self, turns: Turns) -> None:
        turns.script(turns.good)
        turns.call(limits=None)
        assert not [key for key in limits._gates if key[1] == turns.payer]


class TestAStream:
    """Holds its place until it ends, and no longer."""

    @pytest.mark.parametrize("how", ["closed", "dropped"])
    def test_without_a_loop(self, server: Any, how: str) -> None:
        turns = Turns(server, loop=False, stream=True)
        turns.script([HEAD + chunk(EVENT), STALL])
        transport = SyncTransport()
        calls = turns.world.calls(transport, limits=WIDE, payer=lambda: turns.payer)
        stream = calls.stream({"messages": []}, Slot())
        assert run(_next(stream))[0]["id"]
        assert len(turns.gate.inside) == 1
        with pytest.raises(RateLimited):
            run(turns.gate.enter(transport, WIDE, patience=60, until=0))
        if how == "closed":
            run(_close(stream))
        del stream
        gc.collect()
        assert turns.gate.inside == set()
        transport.close()

    @pytest.mark.parametrize("how", ["closed", "dropped", "cancelled", "left with its loop"])
    def test_on_a_loop(self, server: Any, how: str) -> None:
        turns = Turns(server, loop=True, stream=True)
        turns.script([HEAD + chunk(EVENT), STALL])

        async def main() -> None:
            transport = AsyncTransport()
            calls = turns.world.calls(transport, limits=WIDE, payer=lambda: turns.payer)
            stream = calls.stream({"messages": []}, Slot())
            assert (await _next(stream))[0]["id"]
            assert len(turns.gate.inside) == 1
            if how == "closed":
                await _close(stream)
            elif how == "cancelled":
                task = asyncio.ensure_future(_next(stream))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            elif how == "dropped":
                waiting = asyncio.ensure_future(turns.gate.enter(transport, WIDE, patience=60))
                await asyncio.sleep(0)
                del stream
                gc.collect()
                (await asyncio.wait_for(waiting, PATIENCE)).leave()
            await transport.close()

        asyncio.run(main())
        gc.collect()
        assert turns.gate.inside == set()


async def _next(events: Any) -> Mapping[str, Any]:
    return await anext(events)  # type: ignore[no-any-return]


async def _close(events: Any) -> None:
    await events.aclose()


class TestWaiting:
    def test_all_callers_together_never_have_more_under_way(self, server: Any) -> None:
        """Blocking calls and tasks of two loops."""
        limits = Limits(per_minute=100_000, burst=1000, in_flight=2)
        under_way: list[int] = []
        turns = Turns(server, loop=False, stream=False)
        turns.script(*[turns.good] * 60)

        class Counting(Backend):
            async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
                under_way.append(len(turns.gate.inside))
                return await super().grant(call, error)

        def calls(transport: Any) -> Any:
            backend = Counting(server.url)
            return turns.world.calls(transport, limits=limits, payer=lambda: turns.payer, backend=backend)

        async def tasks(transport: Any) -> None:
            await asyncio.gather(*(calls(transport).create({"messages": []}) for _ in range(20)))

        async def one_by_one(transport: Any) -> None:
            for _ in range(5):
                await calls(transport).create({"messages": []})

        drivers = [(with_loop, tasks)] * 2 + [(without_loop, one_by_one)] * 4
        threads = [threading.Thread(target=driver, args=(work,)) for driver, work in drivers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(server.received) == 60
        assert max(under_way) == 2
        assert turns.gate.inside == set()

    def test_a_refusal_with_a_reset_holds_back_the_other_calls(self, turns: Turns) -> None:
        reset = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "50s"}
        turns.script([answer(b"", "429 Slow", **reset)], turns.good)
        with pytest.raises(RateLimited) as refused:
            turns.call(FAST)
        assert refused.value.details["retry_after"] == 50
        with pytest.raises(RateLimited) as kept_back:
            turns.call(FAST, retry_deadline=20)
        assert kept_back.value.code == "no_turn"
        assert 30 < kept_back.value.details["retry_after"] <= 50
        assert len(turns.world.server.received) == 1
        assert [receipt.outcome for receipt in turns.world.receipts] == ["refused"]

    def test_a_refusal_for_another_reason_does_not(self, turns: Turns) -> None:
        turns.script([answer(b"", "503 Busy", Retry_After="50")], turns.good)
        with pytest.raises(ProviderUnavailable):
            turns.call(FAST)
        turns.call(FAST, retry_deadline=20)

    def test_the_headers_of_an_answer_are_followed(self, turns: Turns) -> None:
        said = {"X_RateLimit_Limit_Requests": "6000", "X_RateLimit_Remaining_Requests": "99"}
        first = [answer(GOOD, **said)]
        if turns.stream:
            head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in said.items())
            first = [STREAM.replace(b"\r\n", b"\r\n" + head.encode(), 1)]
        turns.script(first, turns.good, turns.good)
        for _ in range(3):  # the second would wait a minute
            turns.call(SLOW)
        assert turns.gate.pace.take(SLOW).level.per_minute == 6000

    def test_an_unknown_outcome_leaves_its_place_before_it_is_tried_again(self, turns: Turns) -> None:
        turns.script([CLOSE], turns.good)
        turns.call(retry_unknown=True, max_retries=1, sleep=lambda _: None)
        assert round(turns.used) == 2
        turns.script([CLOSE])
        with pytest.raises(OutcomeUnknown):
            turns.call()
        assert turns.gate.inside == set()
