"""Many at once: streams in one loop, services to choose among."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.contenders import Server
from tests.bench.targets import Row
from zg_core import Routing
from zg_core.backends.service import Offer, Route, Service
from zg_core.http.transport import SyncTransport, run
from zg_core.pricing import Tariff
from zg_core.routing.failover import Chooser
from zg_core.tasks.base import CHAT
from zg_core.types import Kind

STREAMS = 1000
SERVICES = 10_000
_CROWD = """
import asyncio, json, os, sys, time
from pathlib import Path

def rss():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])

if sys.argv[1] == "ours":
    from langchain_zerog import ChatZeroG
    from zg_core import Limits
    model = ChatZeroG(verify="require", limits=Limits(10**6, 10**6, 2000), record_age=10)
else:
    from langchain_openai import ChatOpenAI
    model = ChatOpenAI(base_url=os.environ["BENCH_URL"], model=os.environ["BENCH_MODEL"], api_key="x",
                       max_retries=0, stream_usage=True, timeout=300)

async def crowd(count):
    all_open, most = asyncio.Barrier(count), 0
    async def one():
        nonlocal most
        first = True
        async for _ in model.astream(sys.argv[3]):
            if first:
                first = False
                await all_open.wait()
                most = max(most, rss()) if most == 0 else most
    await asyncio.gather(*(one() for _ in range(count)))
    return most

async def main():
    await crowd(20)
    before, cpu = rss(), time.process_time()
    most = await crowd(int(sys.argv[2]))
    print(json.dumps({"memory": most - before, "cpu": time.process_time() - cpu}), flush=True)

asyncio.run(main())
"""


def rows(server: Server, rounds: int) -> Iterator[Row]:
    """Measure."""
    ours, theirs = (crowd(server, name, STREAMS, 3) for name in ("ours", "theirs"))
    yield Row(f"{STREAMS:,} streams at once, require: memory a stream", ours["memory"] / STREAMS)
    yield Row(f"{STREAMS:,} streams at once, require: CPU / ChatOpenAI", ours["cpu"] / theirs["cpu"])
    yield Row(f"choosing among {SERVICES:,} services", choosing(rounds, SERVICES))


def crowd(server: Server, name: str, count: int, rounds: int, prompt: str = "Hello") -> dict[str, float]:
    """Median kB and CPU seconds of `count` streams at once, of ``ours`` or ``theirs``, each in a process of its own."""
    environ = {**os.environ, **server.environ, "BENCH_URL": server.base_url, "BENCH_MODEL": server.model}
    command = [sys.executable, "-c", _CROWD, name, str(count), prompt]
    done = [
        json.loads(subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout)
        for _ in range(rounds)
    ]
    return {key: statistics.median(each[key] for each in done) for key in ("memory", "cpu")}


class _Bazaar:
    """A backend with very many services."""

    realm, payer, name = "bench", "nobody", "direct"

    def __init__(self, count: int) -> None:
        tariffs = [Tariff(10**9 * (1 + n * 7919 % 997), 4 * 10**9 * (1 + n * 7919 % 997)) for n in range(count)]
        self._offers = [
            Offer(Service(f"0x{n * 2654435761 % 2**160:040x}", "m", "chat", "https://p.example", Kind.TEE_ML, tariff))
            for n, tariff in enumerate(tariffs)
        ]

    async def offers(self, *_: Any) -> list[Offer]:
        return self._offers

    async def route(self, service: Service, model: str) -> Route:
        return Route(service, model)


def choosing(rounds: int, count: int) -> float:
    """Median CPU of choosing once among so many services, in ms, as a routed call does it."""
    backend: Any = _Bazaar(count)
    chooser = Chooser(Routing(), backend, CHAT, SyncTransport())
    times = []
    for _ in range(rounds + 1):
        began = time.process_time()
        run(chooser.first("m"))
        times.append(1000 * (time.process_time() - began))
    return statistics.median(times[1:])
