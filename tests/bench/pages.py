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


def made() -> dict[str, Callable[[], Iterable[str]]]:
    """Everything that pages hold of numbers, by name."""
    return {"speed": speed}


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
