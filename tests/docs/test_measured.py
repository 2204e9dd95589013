"""What pages say of measurements is made of the numbers that lie beside them, and of the targets of `make bench`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import pages
from tests.bench.targets import TARGETS, Row, Target

BENCH = Path(pages.__file__).parent
PAGES = [page for page in sorted(pages.DOCS.rglob("*.md")) if "<!-- made: " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_its_numbers_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert pages.mended(text, pages.made()) == text, "make bench ARGS=pages"


def test_everything_that_is_made_of_numbers_stands_on_a_page() -> None:
    shown = re.findall(r"<!-- made: ([\w-]+) -->\n", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    assert sorted(shown) == sorted(pages.made())


def test_the_page_about_speed_shows_every_measure_with_its_target() -> None:
    rows = [line.split(" | ") for line in (pages.DOCS / "speed.md").read_text(encoding="utf-8").splitlines()]
    shown = [(row[0].removeprefix("| "), row[1]) for row in rows if len(row) == 5][1:]
    assert shown == [(target.name, target.text) for target in TARGETS.values()]


@pytest.mark.parametrize("name", ["speed", "speed-openai2"])
def test_numbers_are_of_measures_that_there_are(name: str) -> None:
    assert pages.load(name).get("values", {}).keys() - TARGETS == set()


def named(path: Path) -> Iterator[tuple[str, re.Pattern[str]]]:
    """What the rows of a module are called: each place, and what its names look like."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Row", "_row"):
            name = node.args[0]
            parts = name.values if isinstance(name, ast.JoinedStr) else [name]
            looks = "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)
            yield f"{path.name}:{node.lineno}", re.compile(looks + (" / ChatOpenAI" if node.func.id == "_row" else ""))


def test_what_is_measured_has_a_target_and_what_has_a_target_is_measured() -> None:
    places = [
        each for path in sorted(BENCH.glob("*.py")) for each in named(path) if each[1].pattern != ".+ / ChatOpenAI"
    ]
    assert [place for place, looks in places if not any(map(looks.fullmatch, TARGETS))] == []
    assert [name for name in TARGETS if not any(looks.fullmatch(name) for _, looks in places)] == []


def test_a_row_is_held_to_its_target() -> None:
    most, least = Target("m", 0.5), Target("l", 2.0, at_least=True)
    assert (most.reached(0.5), most.reached(0.51), least.reached(2.0), least.reached(1.9)) == (True, False, True, False)
    assert (most.text, least.text, Target("d", 20_000, unit=" kB").text) == ("≤ 0.5", "≥ 2", "≤ 20,000 kB")
    with pytest.raises(KeyError):
        Row("no such measure", 1.0)
