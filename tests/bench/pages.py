"""What `make bench` writes into `docs/`: its numbers, and the tables and sentences of pages that are made of them.

Numbers lie in `docs/measured`. A page holds what is made of them between ``<!-- made: NAME -->`` and ``<!-- end -->``;
``make bench ARGS=pages`` makes it anew without measuring, and tests/docs/test_measured.py holds each to its numbers.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.bench import installing, queueing
from tests.bench.curves import calls, crowds, receipts
from tests.bench.curves.base import Curve, Point, data_of, said, section
from tests.bench.curves.plot import render
from tests.bench.targets import TARGETS, Row

DOCS = Path(__file__).resolve().parents[2] / "docs"
MEASURED = DOCS / "measured"
_MADE = re.compile(r"(<!-- made: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def load(name: str) -> dict[str, Any]:
    """The numbers of that name; empty where there are none yet."""
    path = MEASURED / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def keep(name: str, data: dict[str, Any]) -> None:
    """Write numbers, as text that a person can read and compare."""
    MEASURED.mkdir(exist_ok=True)
    text = json.dumps(data, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[^][{}]*\]", lambda each: " ".join(each[0].split()), text)  # a list of numbers in one line
    (MEASURED / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def rounded(value: float) -> float:
    """Four digits: more are noise."""
    return float(f"{value:.4g}")


def machine() -> str:
    """What it was measured on, in words."""
    import openai

    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, openai {openai.__version__}"


def keep_rows(rows: Iterable[Row]) -> None:
    """Put measures into the numbers of the openai that is installed, beside those of other parts."""
    import openai

    name = "speed" if int(openai.__version__.partition(".")[0]) >= 3 else "speed-openai2"
    values = load(name).get("values", {}) | {row.name: rounded(row.value) for row in rows if not row.aside}
    keep(name, {"machine": machine(), "values": {each: values[each] for each in TARGETS if each in values}})


def speed() -> Iterator[str]:
    """The table of all measures."""
    columns = [load(name).get("values", {}) for name in ("speed", "speed-openai2")]
    yield "| measure | target | when it was set | openai 3 | openai 2 |"
    yield "|---|---|---|---|---|"
    for target in TARGETS.values():
        cells = []
        for values in columns:
            value = values.get(target.name)
            said = "" if value is None else target.said(value)
            cells.append(said if value is None or target.reached(value) else f"**{said}**")
        yield f"| {target.name} | {target.text} | {target.was} | {' | '.join(cells)} |"


def stores() -> Iterator[str]:
    """What stores with a million receipts do, both databases beside each other."""
    values = load("speed").get("values", {})
    yield "| measure | target | SQLite | PostgreSQL |"
    yield "|---|---|---|---|"
    for name, target in TARGETS.items():
        if name.startswith("SQLite: "):
            measure = name.removeprefix("SQLite: ")
            found = (values.get(f"{database}: {measure}") for database in ("SQLite", "PostgreSQL"))
            cells = " | ".join("" if value is None else target.said(value) for value in found)
            yield f"| {measure} | {target.text} | {cells} |"


CURVES = {curve.name: curve for curve in (*calls.CURVES, *crowds.CURVES, *receipts.CURVES)}


def keep_curve(curve: Curve, points: list[Point]) -> None:
    """Write a curve's ratios and its picture."""
    data = data_of(curve, points)
    keep(curve.name, {"machine": machine(), **data})
    (MEASURED / f"{curve.name}.svg").write_text(render(data), encoding="utf-8")


def curves() -> Iterator[str]:
    """A section for each curve."""
    for name, curve in CURVES.items():
        if data := load(name):  # else a first run was broken off before it
            yield from section(curve, data)


THOUGHT = 2.0
"""Seconds of a call beside the budget's row, in the simulation: about what a model takes to answer."""
SIMULATED = (1, 8, 100, 300, 1000)
SHARDS, BATCH, CORES = 16, 20, 4
"""What could be changed: rows of one budget, calls whose receipts are one transaction; cores of the database."""


def fleet() -> Iterator[str]:
    """What was measured with 1 to 8 workers."""
    data = load("fleet")
    yield (
        "| | workers | calls a second | CPU of the worker, ms a call | of PostgreSQL | cores busy with both "
        "| row held, ms a call | awaited | sessions waiting for a lock |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for way, name in (("processes", "processes"), ("ray", "Ray")):
        for row in data.get(way, []):
            numbers = (row[each] for each in ("rate", "worker_ms", "database_ms", "cores", "held_ms", "waited_ms"))
            cells = " | ".join(map(said, numbers))
            yield f"| {name} | {row['workers']} | {cells} | {row['locked_share']:.0%} |"


def one_budget() -> Iterator[str]:
    """What workers that share a budget made of it."""
    data = load("fleet")
    yield "| | workers | calls attempted | answered | refused | budget, neuron | spent |"
    yield "|---|---|---|---|---|---|---|"
    for way, name in (("processes", "processes"), ("ray", "Ray")):
        if row := data.get(f"budget_{way}"):
            keys = ("workers", "attempts", "answered", "refused", "limit", "spent")
            yield f"| {name} | {' | '.join(f'{row[key]:,}' for key in keys)} |"


def lock_times() -> Iterator[str]:
    """How long one worker alone holds the row."""
    data = load("fleet")
    yield "| commits | the row is held, ms a call | in so many transactions | transactions a call | one takes, ms |"
    yield "|---|---|---|---|---|"
    for key, name in (("lock", "wait for the disk"), ("lock_without_disk", "do not")):
        row = data[key]
        numbers = (row[each] for each in ("held_ms", "times", "transactions", "transaction_ms"))
        yield f"| {name} | {' | '.join(map(said, numbers))} |"


def simulation() -> Iterator[str]:
    """What follows for more workers."""
    lock = load("fleet")["lock"]["held_ms"] / 1000
    yield f"| workers | calls a second | a call waits, ms | with {SHARDS} rows | a call waits, ms |"
    yield "|---|---|---|---|---|"
    together = zip(
        queueing.fleet(lock, THOUGHT, SIMULATED), queueing.fleet(lock, THOUGHT, SIMULATED, SHARDS), strict=True
    )
    for one, many in together:
        waits = (said(1000 * each.wait) if each.wait > 1e-9 else "0" for each in (one, many))
        cells = " | ".join(f"{each.rate:.1f} | {wait}" for each, wait in zip((one, many), waits, strict=True))
        yield f"| {one.workers:,} | {cells} |"


def changes() -> Iterator[str]:
    """The most calls a second that a database of four cores allows, as it is and when things are changed."""
    data = load("fleet")
    lock, transactions = data["lock"]["held_ms"] / 1000, data["lock"]["transactions"]
    cpu = data["processes"][0]["database_ms"] / 1000
    times = data["lock"]["times"]
    batched = cpu * (times + (transactions - times) / BATCH) / transactions
    knees = [queueing.knee(lock, THOUGHT, shards) for shards in (1, SHARDS)]
    yield "| | the row allows, calls a second | the database's CPU allows | workers from which they wait |"
    yield "|---|---|---|---|"
    for name, shards, each in (
        ("as it is", 1, cpu),
        (f"a budget in {SHARDS} rows", SHARDS, cpu),
        (f"receipts of {BATCH} calls in one transaction", 1, batched),
        ("both", SHARDS, batched),
    ):
        allowed = min(shards / lock, CORES / each)
        first = min(knees[shards > 1], allowed * THOUGHT)
        yield f"| {name} | {said(shards / lock)} | {said(CORES / each)} | {said(first)} |"


def install() -> Iterator[str]:
    """What the extra for LangChain brings."""
    data = load("install")
    packages, theirs = data["packages"], data["theirs"]
    total = sum(each["kB"] for each in packages)
    shared = [each for each in packages if each["theirs"]]
    yield (
        f"{len(packages)} packages with {total / 1000:.0f} MB of files. {len(shared)} of them ({_mb(shared)} MB) are "
        f"also those of `langchain-openai`, which has {theirs['packages']} with {theirs['kB'] / 1000:.0f} MB:"
    )
    yield ""
    yield "| package | MB | asked for by | what for | `langchain-openai` has it |"
    yield "|---|---|---|---|---|"
    for each in packages:
        by = ", ".join(f"**{name}**" if name == "zerog-integrations" else name for name in each["by"])
        why, has = installing.WHY.get(each["name"], ""), "yes" if each["theirs"] else ""
        yield f"| {each['name']} | {each['kB'] / 1000:.2f} | {by} | {why} | {has} |"


def _mb(packages: list[dict[str, Any]]) -> str:
    return f"{sum(each['kB'] for each in packages) / 1000:.0f}"


def made() -> dict[str, Callable[[], Iterable[str]]]:
    """Everything that pages hold of numbers, by name."""
    return {
        "speed": speed,
        "stores": stores,
        "curves": curves,
        "fleet": fleet,
        "one-budget": one_budget,
        "lock-times": lock_times,
        "simulation": simulation,
        "changes": changes,
        "install": install,
    }


def mended(text: str, makers: dict[str, Callable[[], Iterable[str]]]) -> str:
    """A page with what is made in it made anew."""
    return _MADE.sub(lambda each: each[1] + "".join(f"{line}\n" for line in makers[each[2]]()) + each[4], text)


def write() -> None:
    """Make anew what pages hold of numbers."""
    makers = made()
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := mended(text, makers)) != text:
            page.write_text(new, encoding="utf-8")
