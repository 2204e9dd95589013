"""``make bench``: what a call costs beside what users have today, and how long the local network takes to start.

Ratios are of medians over interleaved rounds in one run; the server is another process. A target that is missed is said
to be, and nothing else happens: numbers of a busy machine are no failure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from tests.bench import langchain, llamaindex, serving
from tests.bench.contenders import running_server
from zg_core.http.library import library
from zg_core.localnet import Chain, LocalNet

if TYPE_CHECKING:
    from collections.abc import Callable


def median_ms(work: Callable[[], Any], rounds: int) -> float:
    """Median wall time of `work` in milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def start_times(rounds: int) -> list[tuple[str, float]]:
    """Chain and network starts."""

    def network(providers: int) -> None:
        LocalNet(providers=providers).start().stop()

    Chain()  # what is loaded once per process is not part of a start
    return [
        ("chain with contracts", median_ms(Chain, rounds)),
        ("network, 1 provider, up and down", median_ms(lambda: network(1), max(3, rounds // 4))),
        ("network, 5 providers, up and down", median_ms(lambda: network(5), max(3, rounds // 4))),
    ]


def snapshot_times(rounds: int) -> list[tuple[str, float]]:
    """Snapshot and revert."""
    chain = Chain()
    return [("snapshot and revert", median_ms(lambda: chain.revert(chain.snapshot()), rounds * 10))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--memory-calls", type=int, default=20_000)
    parser.add_argument("--part", action="append", choices=("langchain", "llamaindex", "serve"), help="only this part")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {rounds} rounds\n")
    if not arguments.part:
        print(f"{'start':<40}{'median ms':>12}")
        for name, milliseconds in [*start_times(rounds), *snapshot_times(rounds)]:
            print(f"{name:<40}{milliseconds:>12.2f}")
    import openai

    print(f"\nopenai {openai.__version__}, {library().__name__}\n{'measure':<56}{'found':>12}{'target':>12}")
    missed = 0
    with running_server() as server:
        parts = {
            "langchain": lambda: langchain.rows(server, rounds, arguments.memory_calls),
            "llamaindex": lambda: llamaindex.rows(server, rounds),
            "serve": lambda: serving.rows(server, rounds),
        }
        for row in chain.from_iterable(parts[name]() for name in arguments.part or parts):
            sign = "≥" if row.at_least else "≤"
            target = f"{sign} {row.target:g}{row.unit}"
            print(f"{row.name:<56}{row.value:>9.2f}{row.unit:<3}{target:>12}{'' if row.reached else '  MISSED'}")
            missed += not row.reached
    print(f"\n{missed} of the targets missed" if missed else "\nevery target reached")


if __name__ == "__main__":
    main()
