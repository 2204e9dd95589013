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
from typing import TYPE_CHECKING, Any

from tests.bench import (
    attesting,
    crowds,
    fleet,
    installing,
    langchain,
    llamaindex,
    networks,
    pages,
    serving,
    sizes,
    stores,
)
from tests.bench.contenders import running_server
from tests.bench.curves.base import Run, exponent
from tests.bench.pages import CURVES
from tests.bench.targets import TARGETS
from zg_core.http.library import library
from zg_core.localnet import Chain, LocalNet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.bench.contenders import Server
    from tests.bench.targets import Row


PARTS = ("calls", "sizes", "serve", "scale", "fleet", "install", "pages")
_FEWER = 100_000


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
    parser.add_argument("part", nargs="?", choices=PARTS, default="calls", help=f"{', '.join(PARTS[1:])}: these alone")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--receipts", type=int, help=f"in the store of `scale`: {stores.MANY:,}, of its curves {_FEWER:,}"
    )
    names = ["rows", *CURVES]
    only = f"of `scale`: {','.join(names)}; of `fleet`: {','.join(fleet.PARTS)}"
    parser.add_argument("--only", type=lambda text: text.split(","), help=only)
    parser.add_argument("--memory-calls", type=int, default=20_000)
    save = "write the numbers into docs/measured and what pages say of them (curves and fleet always do)"
    parser.add_argument("--save", action="store_true", help=save)
    arguments = parser.parse_args()
    arguments.only = arguments.only or (list(fleet.PARTS) if arguments.part == "fleet" else names)
    rounds = arguments.rounds
    if arguments.part in ("install", "pages"):
        if arguments.part == "install":
            pages.keep("install", installing.measured())
        pages.write()
        return
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {rounds} rounds\n")
    if arguments.part == "calls":
        print(f"{'start':<40}{'median ms':>12}")
        for name, milliseconds in [*start_times(rounds), *snapshot_times(rounds)]:
            print(f"{name:<40}{milliseconds:>12.2f}")
        import openai

        print(f"\nopenai {openai.__version__}, {library().__name__}\n")
    with running_server() as server:
        if arguments.part == "fleet":
            for name, found in fleet.measured(server, 10 * rounds, tuple(arguments.only)):
                pages.keep("fleet", pages.load("fleet") | {"machine": pages.machine(), name: found})
                for row in found if isinstance(found, list) else [found]:
                    print(f"{name:<20}" + "  ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
            pages.write()
            return
        if arguments.part == "scale":
            draw(server, arguments)
        found = report(rows_of(arguments.part, server, arguments)) if "rows" in arguments.only else []
    if arguments.save:
        pages.keep_rows(found)
        pages.write()


def draw(server: Server, arguments: argparse.Namespace) -> None:
    """Measure the curves that are asked for; each is kept as soon as it is there, so that a run can be broken off."""
    run = Run(server, arguments.rounds, arguments.receipts or _FEWER)
    if unknown := set(arguments.only) - {"rows", *CURVES}:
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: there is no such curve")
    for curve in (CURVES[name] for name in arguments.only if name != "rows"):
        began = time.perf_counter()
        if points := list(curve.measure(run)):
            pages.keep_curve(curve, points)
            for name, series in pages.load(curve.name)["series"].items():
                shown = "  ".join(f"{x:g}: {y:g}" for x, y in zip(series["x"], series["y"], strict=True))
                print(f"{curve.name:<20}{name:<24}size^{exponent(series):.2f}  {shown}")
            print(f"{curve.name:<20}{time.perf_counter() - began:.0f} s", flush=True)
    pages.write()


def rows_of(part: str, server: Server, arguments: argparse.Namespace) -> Iterator[Row]:
    """The measures of a part; `calls` has those of all but `scale`."""
    rounds = arguments.rounds
    if part == "calls":
        yield from langchain.rows(server, rounds, arguments.memory_calls)
        yield from llamaindex.rows(server, rounds)
        yield from networks.rows(rounds)
        yield from attesting.rows(rounds)
    if part in ("calls", "sizes"):
        yield from sizes.rows(server, rounds)
    if part in ("calls", "serve"):
        yield from serving.rows(server, rounds)
    if part == "scale":
        yield from crowds.rows(server, rounds)
        yield from stores.rows(server, rounds, arguments.receipts or stores.MANY)


def report(rows: Iterable[Row]) -> list[Row]:
    """Print each measure as it is there, with its target."""
    print(f"{'measure':<64}{'found':>12}{'target':>14}")
    found = []
    for row in rows:
        found.append(row)
        said, note = row.target.said(row.value), f"  ({row.aside})" if row.aside else ""
        print(f"{row.name:<64}{said:>12}{row.target.text:>14}{'' if row.reached else '  MISSED'}{note}", flush=True)
    missed = sum(not row.reached for row in found)
    print(f"\n{missed} of the targets missed" if missed else "\nevery target reached")
    names = {row.name for row in found}
    parts = {TARGETS[name].part for name in names}
    left_out = [name for name, target in TARGETS.items() if target.part in parts and name not in names]
    if left_out:
        print(f"not measured here: {'; '.join(left_out)}")
    return found


if __name__ == "__main__":
    main()
