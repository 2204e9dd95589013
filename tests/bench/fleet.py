"""``make bench ARGS=fleet``: 1, 2, 4, 8 workers on one PostgreSQL and one budget, as plain processes and under Ray.

What workers share is one row of the budget's counter, locked while a call is held and while it is settled. How long the
lock is held is measured with one worker; from that and a call's own time follows how many calls a second any number of
workers reaches (mean value analysis of one queue and many who think), which is printed to 1,000.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.contenders import RECORD_AGE, Server
from tests.conftest import postgres_programs
from tests.postgres import running

WORKERS = (1, 2, 4, 8)
THOUGHT = 2.0
"""Seconds in which a model answers, in the simulation."""
_MANY = (1, 10, 100, 300, 1000)
_ROOT = Path(__file__).resolve().parents[2]
_LOOK = 0.005


def work(settings: dict[str, Any], calls: int, wait: Any) -> dict[str, Any]:
    """One worker: so many calls, begun when `wait` returns; how long its transactions took, and held a counter."""
    from langchain_zerog import ChatZeroG
    from zg_core import Budget, og
    from zg_core.store import Store, Work

    took: list[float] = []
    locked: list[float] = []
    held: list[float] = []  # since when, in the transaction that is open
    original, one = Store.transaction, Work.one

    @contextmanager
    def timed(self: Store, **how: Any) -> Iterator[Any]:
        began = time.perf_counter()
        held.clear()
        with original(self, **how) as open_:
            yield open_
        took.append(time.perf_counter() - began)
        locked.extend(time.perf_counter() - each for each in held[:1])

    def locking(self: Work, sql: str, **more: Any) -> Any:
        row = one(self, sql, **more)
        if more.get("lock"):
            held.append(time.perf_counter())
        return row

    settings = {**settings, "verify": "require", "limits": None, "record_age": RECORD_AGE}
    model = ChatZeroG(**settings, budget=Budget(per_wallet=og("100000")))
    model.invoke("Hello")
    Store.transaction, Work.one = timed, locking  # type: ignore[method-assign]
    try:
        wait()
        began, cpu = time.time(), time.process_time()
        for _ in range(calls):
            model.invoke("Hello")
        cpu, ended = time.process_time() - cpu, time.time()
    finally:
        Store.transaction, Work.one = original, one  # type: ignore[method-assign]
        model.close()
    return {"began": began, "ended": ended, "cpu": cpu, "took": took, "locked": locked}


def report(server: Server, calls: int) -> None:
    """Measure and print."""
    programs = postgres_programs()
    if programs is None:
        print("no PostgreSQL here: left out", file=sys.stderr)
        return
    names = {"private_key": "ZEROG_PRIVATE_KEY", "rpc_url": "ZEROG_RPC_URL", "network": "ZEROG_NETWORK"}
    settings = {name: server.environ[variable] for name, variable in names.items()}
    settings |= {"provider": server.environ["ZEROG_PROVIDER"], "model": server.model}
    ways = {"processes": _processes} | ({"Ray": _ray} if importlib.util.find_spec("ray") else {})
    if "Ray" not in ways:
        print("Ray is not installed here: left out", file=sys.stderr)
    print(f"{'':<12}{'workers':>8}{'calls/s':>10}{'CPU ms a call':>15}{'transaction ms':>16}{'waiting for locks':>19}")
    with running(programs, "fsync=off") as url:
        settings["store"] = url
        lock = _hold(settings)
        for way, run in ways.items():
            for count in WORKERS:
                with _watched(url) as locks:
                    done = run(settings, count, calls)
                took = max(each["ended"] for each in done) - min(each["began"] for each in done)
                rate, cpu = count * calls / took, 1000 * sum(each["cpu"] for each in done) / (count * calls)
                each = 1000 * statistics.median(seconds for one in done for seconds in one["took"])
                print(f"{way:<12}{count:>8}{rate:>10.1f}{cpu:>15.2f}{each:>16.2f}{locks():>18.1%}", flush=True)
    print(f"\nthe budget's row is locked for {1000 * lock:.2f} ms a call; with {THOUGHT:g} s a call beside that:")
    print(f"{'workers':>8}{'calls/s':>10}{'wait ms':>10}")
    for count, rate, waited in simulated(lock, THOUGHT, _MANY):
        print(f"{count:>8}{rate:>10.1f}{1000 * waited:>10.1f}")


def simulated(lock: float, thought: float, counts: tuple[int, ...]) -> Iterator[tuple[int, float, float]]:
    """Workers, calls a second, and seconds that a call waits for the lock: exact for one queue and thinkers."""
    queue = 0.0
    for count in range(1, max(counts) + 1):
        at_lock = lock * (1 + queue)
        rate = count / (thought + at_lock)
        queue = rate * at_lock
        if count in counts:
            yield count, rate, at_lock - lock


def _hold(settings: dict[str, Any]) -> float:
    """Seconds for which one call locks the budget's row, when nobody else does: median times how often."""
    done = _processes(settings, 1, 200)[0]
    return float(statistics.median(done["locked"])) * len(done["locked"]) / 200


@contextmanager
def _watched(url: str) -> Iterator[Any]:
    """Looks at what the server's sessions wait for; the share of looks at busy ones in which they wait for a lock."""
    import psycopg

    stop, seen, waiting = threading.Event(), [0], [0]

    def look() -> None:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            while not stop.wait(_LOOK):
                rows = connection.execute(
                    "SELECT wait_event_type FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() "
                    "AND backend_type = 'client backend'"
                ).fetchall()
                seen[0] += len(rows)
                waiting[0] += sum(kind == "Lock" for (kind,) in rows)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: waiting[0] / max(seen[0], 1)
    finally:
        stop.set()
        thread.join()


_WORKER = """
import json, sys
from tests.bench.fleet import work
settings = json.loads(sys.stdin.readline())
def wait():
    print("ready", flush=True)
    sys.stdin.readline()
print(json.dumps(work(settings, int(sys.argv[1]), wait)), flush=True)
"""


def _processes(settings: dict[str, Any], count: int, calls: int) -> list[dict[str, Any]]:
    pipe, command = subprocess.PIPE, [sys.executable, "-c", _WORKER, str(calls)]
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    begun = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ) for _ in range(count)]
    for process in begun:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
    for process in begun:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in begun:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in begun]


def _ray(settings: dict[str, Any], count: int, calls: int) -> list[dict[str, Any]]:
    ray: Any = importlib.import_module("ray")
    os.environ["PYTHONPATH"] = str(_ROOT)
    ray.init(num_cpus=count, include_dashboard=False, logging_level="ERROR")
    try:
        gate = time.time() + 4 + count  # they begin together, when all have started
        actors = [ray.remote(num_cpus=1)(work) for _ in range(count)]
        begun = [each.remote(settings, calls, lambda: time.sleep(max(0.0, gate - time.time()))) for each in actors]
        found: list[dict[str, Any]] = ray.get(begun)
        return found
    finally:
        ray.shutdown()
