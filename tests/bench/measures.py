"""How `make bench` measures: ratios of interleaved rounds in one run, so that the machine cancels out."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.bench.contenders import Contender

IN_FLIGHT = 16


def cpu_ms(works: Mapping[str, Callable[[], Any]], rounds: int, repeats: int) -> dict[str, float]:
    """Median CPU of this process for one run of each, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            began = time.process_time()
            for _ in range(repeats):
                work()
            times[name].append(1000 * (time.process_time() - began) / repeats)
    return {name: statistics.median(values) for name, values in times.items()}


def read(contender: Contender) -> Callable[[], None]:
    """Reading a stream to its end, without keeping it."""

    def work() -> None:
        for _ in contender.stream():
            continue

    return work


def first_token_ms(parties: Mapping[str, Contender], rounds: int) -> dict[str, float]:
    """Median wall time until the first piece of a stream is there."""
    times: dict[str, list[float]] = {name: [] for name in parties}
    for _ in range(rounds):
        for name, contender in parties.items():
            began = time.perf_counter()
            pieces = contender.stream()
            next(pieces)
            times[name].append(1000 * (time.perf_counter() - began))
            for _ in pieces:
                continue
    return {name: statistics.median(values) for name, values in times.items()}


def rates(parties: Mapping[str, Contender], rounds: int, calls: int) -> dict[str, float]:
    """Calls per second with 16 threads, medians of interleaved rounds."""
    found: dict[str, list[float]] = {name: [] for name in parties}
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for number in range(rounds + 1):
            for name, contender in parties.items():
                began = time.perf_counter()
                list(pool.map(lambda _, call=contender.call: call(), range(calls)))
                if number:  # the first round opens the connections
                    found[name].append(calls / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in found.items()}


def async_rates(parties: Mapping[str, Contender], rounds: int, calls: int) -> dict[str, float]:
    """The same with 16 tasks on one event loop."""
    found: dict[str, list[float]] = {name: [] for name in parties}

    async def worker(left: list[None], call: Callable[[], Any]) -> None:
        while left:
            left.pop()
            await call()

    async def one_round(call: Callable[[], Any]) -> float:
        left: list[None] = [None] * calls
        began = time.perf_counter()
        await asyncio.gather(*(worker(left, call) for _ in range(IN_FLIGHT)))
        return calls / (time.perf_counter() - began)

    async def everything() -> None:
        for number in range(rounds + 1):
            for name, contender in parties.items():
                if contender.acall is not None:
                    rate = await one_round(contender.acall)
                    if number:
                        found[name].append(rate)

    asyncio.run(everything())
    return {name: statistics.median(values) for name, values in found.items() if values}


@contextmanager
def _installed() -> Iterator[dict[str, str]]:
    """The environment of a program that is installed: its modules are compiled once."""
    with tempfile.TemporaryDirectory() as directory:
        yield {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPYCACHEPREFIX": directory,
        }


def process_cpu_ms(scripts: Mapping[str, str], rounds: int) -> dict[str, float]:
    """Median CPU of a fresh interpreter that runs each script."""
    times: dict[str, list[float]] = {name: [] for name in scripts}
    with _installed() as environ:
        for number in range(rounds + 1):
            for name, script in scripts.items():
                command = [sys.executable, "-c", script]
                process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    raise RuntimeError(f"{name} ended with {process.returncode}")
                if number:  # the first compiles
                    times[name].append(1000 * (usage.ru_utime + usage.ru_stime))
    return {name: statistics.median(values) for name, values in times.items()}


def process_wall_ms(scripts: Mapping[str, str], rounds: int, environ: Mapping[str, str]) -> dict[str, float]:
    """Median wall time from starting a fresh interpreter until it says that it is done."""
    times: dict[str, list[float]] = {name: [] for name in scripts}
    for _ in range(rounds):
        for name, script in scripts.items():
            began = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, "-c", script], env={**os.environ, **environ}, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                if process.stdout.readline() != b"done\n":
                    raise RuntimeError(f"{name} did not get an answer")
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}
