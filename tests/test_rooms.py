"""The rooms: no circle of imports, no crowded folder, every folder says what belongs in it, tests stand beside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.test_imports import PACKAGES, ROOT, Import, all_imports, module_name

MOST_MODULES = 20
MARK = "# circle: "
"""A comment on the line of an import says why a circle stays: two things that need each other by their nature."""

OPENING = ("zg_core.http.",)
"""Circles that are being opened."""
Graph = dict[str, dict[str, Import]]


@cache
def packages() -> tuple[Path, ...]:
    """Every folder of the three packages that holds modules."""
    found = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    return tuple(sorted(folder for folder in found if "node_modules" not in folder.parts))


def is_excused(one: Import) -> bool:
    """Whether the line of an import names the reason of a circle."""
    path, _, line = one.place.rpartition(":")
    return MARK in (ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1]


def graph(imports: tuple[Import, ...], modules: set[str]) -> Graph:
    """Which module of ours names which, lazily and for type checkers too."""
    found: Graph = {name: {} for name in sorted(modules)}
    for one in imports:
        home = one.imported
        while home and home not in modules:
            home = home.rpartition(".")[0]
        if home and home != one.importer:
            found[one.importer].setdefault(home, one)
    return found


def circles(edges: Graph) -> Iterator[list[Import]]:
    """The imports of every strongly connected part with more than one module (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[set[str]]:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges[name]:
            if other not in index:
                yield from visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            part = set(stack[at:])
            del stack[at:]
            if len(part) > 1:
                yield part

    for name in edges:
        if name not in index:
            for part in visit(name):
                yield [one for each in sorted(part) for other, one in edges[each].items() if other in part]


def test_the_search_finds_a_circle_of_three_and_no_more() -> None:
    def one(importer: str, imported: str) -> Import:
        return Import(importer, imported, f"{importer}.py:1", lazy=False)

    imports = (one("a", "b.name"), one("b", "c"), one("c", "a.x"), one("d", "a"), one("c", "e"))
    (found,) = circles(graph(imports, {"a", "b", "c", "d", "e"}))
    assert {(each.importer, each.imported) for each in found} == {("a", "b.name"), ("b", "c"), ("c", "a.x")}


def test_no_imports_run_in_circles() -> None:
    modules = {module_name(path) for folder in packages() for path in folder.glob("*.py")}
    imports = tuple(one for one in all_imports() if not is_excused(one))
    found = [
        ["a circle:", *map(str, circle)]
        for circle in circles(graph(imports, modules))
        if not all(one.importer.startswith(OPENING) for one in circle)
    ]
    if found:
        pytest.fail("\n".join("\n  ".join(circle) for circle in found), pytrace=False)


@pytest.mark.parametrize("folder", [folder.relative_to(ROOT).as_posix() for folder in packages()])
def test_a_folder_is_small_and_says_in_two_lines_what_belongs_in_it(folder: str) -> None:
    modules = [path for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"]
    # The top of the core holds what every folder uses.
    assert len(modules) <= MOST_MODULES, f"{folder} has {len(modules)} modules: {sorted(path.name for path in modules)}"
    init = ROOT / folder / "__init__.py"
    words = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    lines = [line for line in words.splitlines() if line.strip()]
    assert len(lines) >= 2, f"{folder}/__init__.py says only {words!r}"


def test_folders_of_tests_mirror_the_packages() -> None:
    tests = {path.parent for path in (ROOT / "tests" / "zg_core").rglob("test_*.py")}
    strays = [folder for folder in tests if not (ROOT / folder.relative_to(ROOT / "tests")).is_dir()]
    assert not strays, f"no package has the name of {sorted(map(str, strays))}"
