"""Many at once: streams in one loop, calls in threads and tasks, services to choose among."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tests.bench import contenders as who
from tests.bench.crowds import choosing, crowd
from tests.bench.curves.base import REQUIRE, THEIRS, UNIT, Curve, Point, Run
from tests.bench.measures import cpu_ms

_STREAMS = (1, 10, 100, 300, 1000)
_AT_ONCE = (1, 4, 16, 64)
_CALLS = 128
_seen: dict[tuple[str, str, int], dict[str, float]] = {}


def unit_of(run: Run) -> Point:
    """CPU of a short call of `ChatOpenAI`, in ms."""
    theirs = who.chat_openai(run.server)
    return UNIT, 1.0, cpu_ms({"": lambda: theirs.invoke(who.QUESTION)}, run.rounds, 10)[""]


def _streams(key: str, counts: tuple[int, ...]) -> Callable[[Run], Iterator[Point]]:
    def measure(run: Run) -> Iterator[Point]:
        for count in counts:
            for name, whose in ((THEIRS, "theirs"), (REQUIRE, "ours")):
                at = (run.server.url, whose, count)  # memory and CPU are of the same streams
                if at not in _seen:
                    rounds = 1 if count == max(counts) else max(1, min(3, run.rounds // 5))
                    _seen[at] = crowd(run.server, whose, count, rounds, "chunks=50")
                yield name, float(count), _seen[at][key]

    return measure


def _at_once(run: Run) -> Iterator[Point]:
    with asyncio.Runner() as loop:  # one for all: clients keep connections of the loop that opened them
        yield from _ways(run, {"threads": _in_threads, "tasks": partial(_in_tasks, loop)})


def _ways(run: Run, ways: dict[str, Callable[[Any, int], float]]) -> Iterator[Point]:
    models = {THEIRS: who.chat_openai(run.server), REQUIRE: who.chat_zerog(run.server, "require")}
    for count in _AT_ONCE:
        for way, work in ways.items():
            found: dict[str, list[float]] = {name: [] for name in models}
            for number in range(max(1, run.rounds // 5) + 1):
                for name, model in models.items():
                    cpu = work(model, count)
                    if number:  # the first opens connections
                        found[name].append(cpu)
            for name, values in found.items():
                # the unit is ChatOpenAI's least, whatever the way
                yield f"{name}, {way}", float(count), statistics.median(values)
                if name == THEIRS:
                    yield UNIT, float(count), statistics.median(values)
    models[REQUIRE].close()


def _in_threads(model: Any, count: int) -> float:
    with ThreadPoolExecutor(count) as pool:
        began = time.process_time()
        list(pool.map(lambda _: model.invoke(who.QUESTION), range(_CALLS)))
        return (time.process_time() - began) / _CALLS


def _in_tasks(loop: asyncio.Runner, model: Any, count: int) -> float:
    async def work() -> float:
        gate = asyncio.Semaphore(count)

        async def one(call: Callable[[str], Awaitable[Any]]) -> None:
            async with gate:
                await call(who.QUESTION)

        began = time.process_time()
        await asyncio.gather(*(one(model.ainvoke) for _ in range(_CALLS)))
        return (time.process_time() - began) / _CALLS

    return loop.run(work())


def _services(run: Run) -> Iterator[Point]:
    yield unit_of(run)
    for count in (10, 100, 1000, 10_000):
        yield "choosing one for a call", float(count), choosing(run.rounds, count)


CURVES = (
    Curve(
        "streams",
        "Streams at once in one loop",
        "streams",
        "CPU of all / ChatOpenAI's least",
        "What a stream costs does not depend on how many others there are.",
        _streams("cpu", _STREAMS),
    ),
    Curve(
        "memory",
        "Memory of streams at once",
        "streams",
        "memory of all / ChatOpenAI's least",
        "A connection with its buffers and the chunks that LangChain keeps: of few streams it is lost among pages "
        "that the process has anyway.",
        _streams("memory", _STREAMS[2:]),
    ),
    Curve(
        "at-once",
        "Calls in threads and tasks",
        "calls at once",
        "CPU of a call / ChatOpenAI's least",
        "A call costs more among others by what switching between them costs; nothing of ours is looked through for "
        "each of them.",
        _at_once,
    ),
    Curve(
        "services",
        "Services on chain",
        "services",
        "CPU of choosing / CPU of a short ChatOpenAI call",
        "They are read in pages beside calls; a call looks at the price and state of every one that has its model.",
        _services,
    ),
)
