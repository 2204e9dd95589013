"""Six processes with one pace on one movable clock, which each moves on to where it may ask again.

``python -m tests.zg_core.calls.pacing STORE`` prints when each took its turns.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from typing import Any

import sqlalchemy.dialects.sqlite  # noqa: F401 - loaded once, before the processes part

from tests.patience import PATIENCE
from zg_core import Store
from zg_core.calls.limits import Limits
from zg_core.calls.pace import StoredPace

PAYER, PROVIDER = "0x" + "cd" * 20, "0x" + "ab" * 20
NOW = 1_800_000_000.0
SHARED, TURNS, PROCESSES = Limits(per_minute=30, burst=5), 15, 6


def take_turns(url: str, clock: Any, results: Any) -> None:
    store = Store(url)
    pace = StoredPace(store, "a:1", PAYER, PROVIDER, clock=lambda: clock.value)
    times: list[float] = []
    for _ in range(TURNS):
        while (taken := pace.take(SHARED)).wait > 0:
            with clock.get_lock():
                clock.value = max(clock.value, taken.level.at + taken.wait)
        times.append(taken.level.at)
    results.put(times)
    store.close()


def main() -> None:
    context = multiprocessing.get_context("fork")
    clock, results = context.Value("d", NOW), context.Queue()
    workers = [context.Process(target=take_turns, args=(sys.argv[1], clock, results)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    times = [results.get(timeout=PATIENCE) for _ in workers]
    for worker in workers:
        worker.join()
    json.dump(times, sys.stdout)


if __name__ == "__main__":
    main()
