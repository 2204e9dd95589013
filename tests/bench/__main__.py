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

from tests.bench import crowds, fleet, langchain, llamaindex, networks, serving, sizes, stores
from tests.bench.contenders import running_server
from zg_core.http.library import library
from zg_core.localnet import Chain, LocalNet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.bench.langchain import Row


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
    parser.add_argument(
        "part",
        nargs="?",
        choices=["calls", "scale", "serve", "sizes", "fleet"],
        default="calls",
        help="scale: the long ones; serve, sizes, fleet: these alone",
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--receipts", type=int, default=1_000_000, help="so many are in the store of `scale`")
    parser.add_argument("--memory-calls", type=int, default=20_000)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {rounds} rounds\n")
    if arguments.part == "fleet":
        with running_server() as server:
            fleet.report(server, 10 * rounds)
        return
    if arguments.part != "calls":
        with running_server() as server:
            if arguments.part == "scale":
                report(chain(crowds.rows(server, rounds), stores.rows(server, rounds, arguments.receipts)))
            else:
                report((serving if arguments.part == "serve" else sizes).rows(server, rounds))
        return
    print(f"{'start':<40}{'median ms':>12}")
    for name, milliseconds in [*start_times(rounds), *snapshot_times(rounds)]:
        print(f"{name:<40}{milliseconds:>12.2f}")
    import openai

    print(f"\nopenai {openai.__version__}, {library().__name__}\n")
    with running_server() as server:
        report(
            chain(
                langchain.rows(server, rounds, arguments.memory_calls),
                llamaindex.rows(server, rounds),
                sizes.rows(server, rounds),
                serving.rows(server, rounds),
                networks.rows(rounds),
            )
        )


def report(rows: Iterable[Row]) -> None:
    """Print each measure as it is there, with its target."""
    print(f"{'measure':<64}{'found':>12}{'target':>14}")
    missed = 0
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        target = f"{sign} {row.target:,g}{row.unit}"
        shown = (
            f"{row.value:,.0f}" if row.value >= 1000 else f"{row.value:.2f}" if row.value >= 0.1 else f"{row.value:.4f}"
        )
        print(f"{row.name:<64}{shown:>9}{row.unit:<3}{target:>14}{'' if row.reached else '  MISSED'}", flush=True)
        missed += not row.reached
    print(f"\n{missed} of the targets missed" if missed else "\nevery target reached")


if __name__ == "__main__":
    main()
