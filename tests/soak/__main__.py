"""``make soak``: many verified calls from threads and an event loop at once, and what they leave behind.

The same model object serves them all: whole answers and streams, half in threads and half in tasks. What this process
holds after a fifth of the calls is compared with what it holds at the end: fewer objects than calls were added, files
are as many, sockets no more than two for each call in flight, and there were never more connections than calls in
flight. In a long run memory may have grown by 5 MB; in a short one it is the allocator's, which is still warming up.
What a client keeps on purpose, its newest receipts and the calls since a record was last read, is kept small.
The server is another process. Exit status 1 if anything of that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import contenders
from tests.bench.measures import IN_FLIGHT
from zg_core.backends.direct import records
from zg_core.http import patience
from zg_core.receipts import recent

MOST_GROWTH_KB = 5 * 1024
WARM = 2_000
"""Calls after which the memory of the process is that of what it holds."""
KEPT = 50
"""What is kept on purpose, of the newest calls: it is full before anything is compared."""


@dataclass(frozen=True)
class Held:
    """What this process holds."""

    calls: int
    rss_kb: int
    descriptors: int
    sockets: int
    threads: int
    objects: int

    @classmethod
    def now(cls, calls: int) -> Held:
        """Count, after garbage is gone."""
        gc.collect()
        status = Path("/proc/self/status").read_text()
        names = list(_descriptors())
        sockets = sum(name.startswith("socket:") for name in names)
        rss = int(status.partition("VmRSS:")[2].split()[0])
        return cls(calls, rss, len(names) - sockets, sockets, threading.active_count(), len(gc.get_objects()))

    def __str__(self) -> str:
        return (
            f"{self.calls:>9,}{self.rss_kb / 1024:>11.1f} MB{self.objects:>12,}"
            f"{self.descriptors:>14}{self.sockets:>10}{self.threads:>10}"
        )


def _descriptors() -> Iterator[str]:
    """What each open descriptor is."""
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of this very directory
            yield str(each.readlink())


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread until the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="soak-loop")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class Soak:
    """Makes calls with one model; every answer is proven, or the call raises."""

    def __init__(self, model: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._model = model
        self._loop = loop
        records._MOST = KEPT
        patience._START = patience.IDLE_SECONDS  # the server never hangs up, so an idle connection carries any call
        for receipts in (recent.RECENT, model._client().receipts, model._async_client().receipts):
            receipts._capacity = KEPT
        self._pool = ThreadPoolExecutor(IN_FLIGHT // 2)

    def calls(self, count: int) -> None:
        """So many calls, half of them in threads and half in tasks, `IN_FLIGHT` at once."""
        tasks = asyncio.run_coroutine_threadsafe(self._in_tasks(count // 2), self._loop)
        list(self._pool.map(self._one, range(count - count // 2)))
        tasks.result()

    def _one(self, number: int) -> None:
        if number % 4:
            _proven(self._model.invoke(contenders.QUESTION))
        else:
            _proven(_whole(list(self._model.stream(contenders.QUESTION))))

    async def _in_tasks(self, count: int) -> None:
        numbers = itertools.count()

        async def worker() -> None:
            while (number := next(numbers)) < count:
                if number % 4:
                    _proven(await self._model.ainvoke(contenders.QUESTION))
                else:
                    _proven(_whole([chunk async for chunk in self._model.astream(contenders.QUESTION)]))

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT // 2)))

    def close(self) -> None:
        """End the threads and close the connections."""
        self._pool.shutdown()
        self._model.close()
        asyncio.run_coroutine_threadsafe(self._model.aclose(), self._loop).result()


def _whole(chunks: list[Any]) -> Any:
    return sum(chunks[1:], chunks[0])


def _proven(message: Any) -> None:
    status = message.response_metadata["zerog"]["status"]
    if status != "verified":
        raise AssertionError(f"a reply is {status}")


def soak(calls: int, say: Callable[[str], None]) -> list[str]:
    """Make `calls` calls and say what is held meanwhile; what does not hold."""
    with contenders.running_server() as server, event_loop() as loop:
        run = Soak(contenders.chat_zerog(server, "require"), loop)
        try:
            say(f"{'calls':>9}{'RSS':>14}{'objects':>12}{'descriptors':>14}{'sockets':>10}{'threads':>10}")
            before = Held.now(0)
            step, began, held = calls // 10, time.monotonic(), []
            for number in range(1, 11):
                run.calls(step)
                held.append(Held.now(number * step))
                say(str(held[-1]))
            seconds = time.monotonic() - began
            connections = server.most_connections() - 1
        finally:
            run.close()
        first, last = held[1], held[-1]
        grown = last.rss_kb - first.rss_kb
        say(
            f"{calls:,} calls in {seconds:.0f} s, {IN_FLIGHT} in flight: RSS {grown / 1024:+.1f} MB, "
            f"objects {last.objects - first.objects:+,}, "
            f"descriptors {last.descriptors - first.descriptors:+d}, {last.sockets - before.sockets} sockets, "
            f"at most {connections} connections at once"
        )
    return problems_of(before, first, last, connections)


def problems_of(before: Held, first: Held, last: Held, connections: int) -> list[str]:
    """What does not hold."""
    problems = []
    more = last.objects - first.objects
    if more >= last.calls - first.calls:
        problems.append(f"{more:,} objects more than after the first {first.calls:,} calls: some stay of every call")
    grown = last.rss_kb - first.rss_kb
    if grown > MOST_GROWTH_KB and first.calls >= WARM:
        problems.append(f"RSS grew by {grown / 1024:.1f} MB after the first {first.calls:,} calls, at most 5 may be")
    if last.descriptors != first.descriptors:
        problems.append(f"descriptors went from {first.descriptors} to {last.descriptors}")
    # Each call under way may have had one to the provider and, at the very first, one to the chain.
    if (sockets := last.sockets - before.sockets) > 2 * IN_FLIGHT:
        problems.append(f"{sockets} sockets are open after {IN_FLIGHT} calls in flight")
    if connections > IN_FLIGHT:
        problems.append(f"{connections} connections were open for {IN_FLIGHT} calls in flight")
    return problems


def main() -> None:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}", flush=True)
    problems = soak(arguments.calls, lambda line: print(line, flush=True))
    for problem in problems:
        print(f"FAILED: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
