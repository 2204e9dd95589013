"""`zerog serve`'s part of `make bench`: what stands between a caller and the provider, in time and memory.

Beside it stands the same verified call without a server, through our client. Both ask the server of the bench, which
begins to answer after 50 ms, sooner than models do, or at once: then all that is measured is the way through.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.contenders import QUESTION, Server
from tests.bench.targets import Row
from zg_core import AsyncChatClient
from zg_core.http.messages import Request
from zg_core.http.transport import AsyncTransport
from zg_core.jsontext import encode_body

AT_ONCE = 200
TOKEN = "the-token-of-the-bench"


@dataclass(frozen=True)
class Served:
    """A running `zerog serve`."""

    base_url: str
    pid: int

    @property
    def memory_mb(self) -> float:
        """What it has of memory, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


@contextmanager
def serving(server: Server) -> Iterator[Served]:
    """`zerog serve` in a process of its own, ended at the end."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, **server.environ, "ZEROG_HOME": home, "ZEROG_SERVE_TOKEN": TOKEN}
        command = [sys.executable, "-m", "zg_core.cli", "serve", "--port", "0", "--limits", "none", "--json"]
        command += ["--provider", server.environ["ZEROG_PROVIDER"], "--store", "memory:"]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            text = ""
            for line in process.stdout:
                text += line
                if line.startswith("}"):
                    break
            yield Served(json.loads(text)["base_url"], process.pid)
        finally:
            process.terminate()
            process.wait()


def rows(server: Server, rounds: int) -> Iterator[Row]:
    """Measure, one row after the other."""
    if not Path("/proc/self/status").exists():
        return
    with serving(server) as served:
        yield from asyncio.run(_rows(server, served, rounds))


async def _rows(server: Server, served: Served, rounds: int) -> list[Row]:
    settings = {"provider": server.environ["ZEROG_PROVIDER"], "private_key": server.environ["ZEROG_PRIVATE_KEY"]}
    settings |= {"network": "local", "rpc_url": server.environ["ZEROG_RPC_URL"], "model": server.model}
    payload = {"model": server.model, "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    slow = {**payload, "user": "thinks"}
    transport = AsyncTransport()
    transport.make_room(AT_ONCE)
    direct = AsyncChatClient(**settings, verify="require", limits=None)

    async def through_serve(asked: dict[str, Any] = payload) -> float:
        """By the connections that the direct call has, too: what another library costs is not on the way through."""
        began, first = time.perf_counter(), 0.0
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        body = encode_body(asked)
        response = await transport.send(Request("POST", f"{served.base_url}/chat/completions", headers, body))
        async for _ in response.chunks():
            first = first or time.perf_counter() - began
        return first

    async def straight(asked: dict[str, Any] = payload) -> float:
        began, first = time.perf_counter(), 0.0
        async for _ in direct.stream(asked):
            first = first or time.perf_counter() - began
        return first

    async with direct:
        works = {"serve": lambda: through_serve(slow), "direct": lambda: straight(slow)}
        thought = await _interleaved(works, rounds)
        firsts = await _interleaved({"serve": through_serve, "direct": straight}, rounds)
        for _ in range(2):
            await _at_once(through_serve), await _at_once(straight)
        warm = served.memory_mb
        totals: dict[str, list[float]] = {"serve": [], "direct": []}
        for _ in range(max(3, rounds // 5)):
            totals["serve"].append(await _at_once(through_serve))
            totals["direct"].append(await _at_once(straight))
        grown = served.memory_mb - warm
        await transport.close()
    many = {name: statistics.median(values) for name, values in totals.items()}
    return [
        Row("serve: first byte of a stream, through it / direct", thought["serve"] / thought["direct"]),
        Row("serve: the same, of a model that need not think", firsts["serve"] / firsts["direct"]),
        Row(f"serve: {AT_ONCE} streams at once, through it / direct", many["serve"] / many["direct"]),
        Row("serve: memory it gains while it serves on", grown),
    ]


async def _interleaved(works: dict[str, Callable[[], Awaitable[float]]], rounds: int) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 3):
        for name, work in works.items():
            value = await work()
            if number >= 3:  # the first open connections
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


async def _at_once(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return time.perf_counter() - began
