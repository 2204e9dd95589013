"""``make bench ARGS=fleet``: 1, 2, 4, 8 workers on one PostgreSQL and one budget, as plain processes and under Ray.

What workers share is one row of the budget's counter, locked while a call is held and while it is settled. How long
calls hold and await it is measured in the store; what follows for any number of workers says `tests.bench.queueing`.
The server commits to its disk, as one in service does.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.contenders import RECORD_AGE, Server
from tests.conftest import postgres_programs
from tests.postgres import running

WORKERS = (1, 2, 4, 8)
PARTS = ("lock", "processes", "ray", "budget")
SPENDERS, ATTEMPTS, AFFORDED = 8, 20, 60
"""Workers that share a budget of so many calls, of which they attempt more."""
_ROOT = Path(__file__).resolve().parents[2]
_LOOK = 0.005
_ANSWER = 200  # tokens that are asked for, so that a call is held for what it costs


def work(settings: dict[str, Any], calls: int, wait: Any) -> dict[str, Any]:
    """One worker: so many calls, begun when `wait` returns; how long its transactions held and awaited the counter."""
    from langchain_zerog import ChatZeroG
    from zg_core import Budget, BudgetExceeded, neuron, og

    settings = {**settings, "verify": "require", "limits": None, "record_age": RECORD_AGE, "max_tokens": _ANSWER}
    limit = settings.pop("limit", None)
    model = ChatZeroG(**settings, budget=Budget(per_wallet=og("100000") if limit is None else neuron(limit)))
    if limit is None:
        model.invoke("Hello")
    refused = 0
    wait()
    with timed() as times:
        began, cpu = time.time(), time.process_time()
        for _ in range(calls):
            try:
                model.invoke("Hello")
            except BudgetExceeded:
                refused += 1
        cpu, ended = time.process_time() - cpu, time.time()
    model.close()
    return {"began": began, "ended": ended, "cpu": cpu, "refused": refused, **times}


@contextmanager
def timed() -> Iterator[dict[str, list[float]]]:
    """Seconds of every transaction of this process, and of what it waited for the budget's row and then held it."""
    from zg_core.store import Store, Work

    times: dict[str, list[float]] = {"took": [], "held": [], "waited": []}
    since: list[float] = []  # when the row was had, in the transaction that is open
    transaction, read, run = Store.transaction, Work.all, Work.run

    @contextmanager
    def whole(self: Store, **how: Any) -> Iterator[Any]:
        began = time.perf_counter()
        since.clear()
        with transaction(self, **how) as open_:
            yield open_
        ended = time.perf_counter()
        times["took"].append(ended - began)
        times["held"].extend(ended - each for each in since)

    def locking(original: Callable[..., Any], wanted: Callable[[str, Any], bool]) -> Any:
        def statement(self: Work, sql: str, **more: Any) -> Any:
            began = time.perf_counter()
            found = original(self, sql, **more)
            if not since and "budget_totals" in sql and wanted(sql, more):
                since.append(time.perf_counter())
                times["waited"].append(since[0] - began)
            return found

        return statement

    Store.transaction = whole  # type: ignore[method-assign]
    Work.all = locking(read, lambda _, more: more.get("lock", False))  # type: ignore[method-assign]
    Work.run = locking(run, lambda sql, _: "UPDATE" in sql)  # type: ignore[method-assign]
    try:
        yield times
    finally:
        Store.transaction, Work.all, Work.run = transaction, read, run  # type: ignore[method-assign]


def measured(server: Server, calls: int, parts: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """What was found, part by part, as it is kept in ``docs/measured/fleet.json``."""
    programs = postgres_programs()
    if programs is None:
        print("no PostgreSQL here: left out", file=sys.stderr)
        return
    names = {"private_key": "ZEROG_PRIVATE_KEY", "rpc_url": "ZEROG_RPC_URL", "network": "ZEROG_NETWORK"}
    settings = {name: server.environ[variable] for name, variable in names.items()}
    settings |= {"provider": server.environ["ZEROG_PROVIDER"], "model": server.model}
    ways: dict[str, Callable[..., list[dict[str, Any]]]] = {"processes": _processes}
    if importlib.util.find_spec("ray"):
        ways["ray"] = _ray
    else:
        print("Ray is not installed here: left out", file=sys.stderr)
    if "lock" in parts:
        for synced in (False, True):
            with running(programs, synced=synced) as url:
                yield "lock" if synced else "lock_without_disk", _lock({**settings, "store": url}, calls)
    with running(programs, synced=True) as url:
        settings["store"] = url
        for way, run in ways.items():
            if way in parts:
                try:
                    yield way, [_row(url, run, settings, count, calls) for count in WORKERS]
                except RayDidNotStartError as error:
                    print(error, file=sys.stderr)
    if "budget" in parts:
        for way, run in ways.items():
            with running(programs, synced=True) as url:
                try:
                    yield f"budget_{way}", _one_budget({**settings, "store": url}, run)
                except RayDidNotStartError as error:
                    print(error, file=sys.stderr)


def _lock(settings: dict[str, Any], calls: int) -> dict[str, float]:
    """Milliseconds for which a call holds the budget's row when nobody else does, and of its transactions."""
    done = _processes(settings, 1, calls)[0]
    if not done["held"]:
        raise RuntimeError("no statement was seen to lock budget_totals: tests/bench/fleet.py has to follow the store")
    each, often = statistics.median(done["held"]), len(done["held"]) / calls
    return {
        "held_ms": _digits(1000 * each * often),
        "times": _digits(often),
        "transactions": _digits(len(done["took"]) / calls),
        "transaction_ms": _digits(1000 * statistics.median(done["took"])),
    }


def _row(url: str, run: Callable[..., Any], settings: dict[str, Any], count: int, calls: int) -> dict[str, float]:
    with _watched(url) as locks:
        before = _cpu_of_the_database(url)
        done = run(settings, count, calls)
        database = _cpu_of_the_database(url) - before
    total = count * calls
    rate = total / (max(each["ended"] for each in done) - min(each["began"] for each in done))
    cpu = sum(each["cpu"] for each in done)
    return {
        "workers": count,
        "rate": _digits(rate),
        "worker_ms": _digits(1000 * cpu / total),
        "database_ms": _digits(1000 * database / (total + count)),  # each asked once before
        "cores": _digits(rate * (cpu + database) / total),
        "held_ms": _digits(1000 * sum(sum(each["held"]) for each in done) / total),
        "waited_ms": _digits(1000 * sum(sum(each["waited"]) for each in done) / total),
        "locked_share": _digits(locks()),
    }


def _one_budget(settings: dict[str, Any], run: Callable[..., Any]) -> dict[str, int]:
    """Workers that attempt more than their one budget allows: what was counted and what receipts say, in neuron."""
    from zg_core.receipts import ReceiptStore
    from zg_core.store import Store

    run(settings, 1, 1)
    store = Store(settings["store"])
    kept = ReceiptStore(store)
    asked = [receipt for receipt in kept.select(newest=None) if receipt.fee is not None]
    fee = asked[0].fee.amount.units
    before = sum(receipt.fee.amount.units for receipt in asked)
    limit = before + AFFORDED * fee + fee // 2
    done = run({**settings, "limit": limit}, SPENDERS, ATTEMPTS)
    receipts = kept.select(newest=None)
    spent = sum(receipt.fee.amount.units for receipt in receipts if receipt.fee is not None)
    store.close()
    if spent > limit:
        raise RuntimeError(f"the budget of {limit} was exceeded: {spent} were spent")
    refused = sum(each["refused"] for each in done)
    return {
        "workers": SPENDERS,
        "attempts": SPENDERS * ATTEMPTS,
        "answered": SPENDERS * ATTEMPTS - refused,
        "refused": refused,
        "limit": limit - before,
        "spent": spent - before,
    }


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


def _cpu_of_the_database(url: str) -> float:
    """Seconds of CPU of the server and all its processes, those that have ended too."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        backend = connection.info.backend_pid
    server = int(_stat(backend)[1])
    children = [int(each) for each in Path(f"/proc/{server}/task/{server}/children").read_text().split()]
    ticks = sum(map(int, _stat(server)[11:15]))  # its own, and of children that it has waited for
    for child in children:
        try:
            ticks += sum(map(int, _stat(child)[11:13]))
        except FileNotFoundError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` after the name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


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
    os.environ["PYTHONPATH"] = str(_ROOT)
    ray: Any = importlib.import_module("ray")
    try:
        ray.init(num_cpus=count + 1, include_dashboard=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
    except Exception as error:  # it has no class of its own for this
        ray.shutdown()
        raise RayDidNotStartError(f"Ray does not start here, left out: {error}") from error
    try:
        gate = ray.remote(num_cpus=1)(Gate).options(max_concurrency=count).remote(count)
        task = ray.remote(num_cpus=1)(work)
        begun = [task.remote(settings, calls, lambda: ray.get(gate.wait.remote())) for _ in range(count)]
        found: list[dict[str, Any]] = ray.get(begun)
        return found
    finally:
        ray.shutdown()


class RayDidNotStartError(Exception):
    """Ray gives its own processes 30 seconds, which a busy machine does not keep."""


class Gate:
    """Where workers wait until all have come: they begin together."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count)

    def wait(self) -> None:
        """Return when everybody is here."""
        self._barrier.wait()
