"""What pages say of measurements is made of the numbers that lie beside them, and of the targets of `make bench`."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import installing, pages, queueing
from tests.bench.curves.base import REQUIRE, THEIRS, UNIT, data_of, exponent
from tests.bench.curves.plot import render
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


@pytest.mark.parametrize("name", pages.CURVES)
def test_a_picture_is_drawn_from_the_numbers_beside_it_and_shown(name: str) -> None:
    picture = (pages.MEASURED / f"{name}.svg").read_text(encoding="utf-8")
    assert picture == render(pages.load(name)), f"make bench ARGS='scale --only {name}'"
    assert ET.fromstring(picture).get("role") == "img"
    text = (pages.DOCS / "scale.md").read_text(encoding="utf-8")
    assert f"](measured/{name}.svg)" in text
    assert pages.CURVES[name].reading in text


def test_every_picture_is_of_a_curve_that_is_measured() -> None:
    assert {path.stem for path in pages.MEASURED.glob("*.svg")} == set(pages.CURVES)


@pytest.mark.parametrize("name", pages.CURVES)
def test_a_curve_is_ratios_to_the_least_of_chatopenai(name: str) -> None:
    series = pages.load(name)["series"]
    assert all(len(each["x"]) == len(each["y"]) >= 3 and each["x"] == sorted(each["x"]) for each in series.values())
    theirs = [y for whose, each in series.items() if whose.startswith(THEIRS) for y in each["y"]]
    assert min(theirs, default=1.0) == 1.0


def test_an_exponent_is_that_of_the_upper_half() -> None:
    assert exponent({"x": [1, 10, 100, 1000], "y": [9, 9, 5, 50]}) == 1.0
    assert exponent({"x": [1, 2, 4, 8], "y": [1, 1, 3, 12]}) == 2.0
    assert exponent({"x": [1, 10, 100], "y": [7, 7, 7]}) == 0.0


def test_values_become_ratios_whatever_their_unit() -> None:
    curve = pages.CURVES["prompt"]
    points = [(THEIRS, 1.0, 4.0), (REQUIRE, 1.0, 2.0), (THEIRS, 10.0, 8.0), (REQUIRE, 10.0, 6.0)]
    found = data_of(curve, points)
    assert found == data_of(curve, [(name, size, value * 1000) for name, size, value in points])
    assert found["series"] == {THEIRS: {"x": [1, 10], "y": [1, 2]}, REQUIRE: {"x": [1, 10], "y": [0.5, 1.5]}}
    with_unit = data_of(curve, [(UNIT, 1.0, 4.0), *points])
    assert with_unit["series"] == found["series"]


def test_the_list_of_packages_is_that_of_an_installation() -> None:
    listed = [each["name"] for each in pages.load("install")["packages"]]
    assert sorted(listed) == sorted(installing.closure(*installing.OURS)), "make bench ARGS=install"


def test_whatever_is_asked_for_without_an_extra_is_used_without_one() -> None:
    root = pages.DOCS.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]} - {"web3"}  # see docs/extras.md
    aside = ("zg_core/localnet/", "zg_core/cli/", "zg_core/serve/", "zg_core/backends/opengradient/")
    paths = [
        each for each in (root / "zg_core").rglob("*.py") if not each.relative_to(root).as_posix().startswith(aside)
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    names = {name: {"pycryptodome": "Crypto"}.get(name, name.replace("-", "_")) for name in asked}
    assert [
        name for name, module in names.items() if not re.search(rf"(from|import) {module}\b|\"{module}\"", text)
    ] == []


def test_of_more_workers_than_a_row_allows_all_wait_and_rows_share_them() -> None:
    one, all_of_them = queueing.fleet(0.01, 1.99, (1, 1000))
    assert (one.wait, round(one.rate, 3)) == (0.0, 0.5)
    assert round(all_of_them.rate, 1) == 100.0
    # what is under way is either at the row or elsewhere: nobody is lost
    assert all_of_them.rate * (1.99 + 0.01 + all_of_them.wait) == pytest.approx(1000)
    (shared,) = queueing.fleet(0.01, 1.99, (1000,), shards=16)
    assert 490 < shared.rate < 500
    assert shared.wait < 0.01
