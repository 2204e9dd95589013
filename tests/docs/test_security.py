"""The table of SECURITY.md: every claim names its attacker and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def rows() -> list[list[str]]:
    """Claim, attacker and what shows it, of each row."""
    table = PAGE.partition("| claim | attacker | shown by |\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def places(shown_by: str) -> list[Path]:
    """The files and folders of a cell; a name without a folder stands in that of the one before it."""
    found: list[Path] = []
    for name in re.findall(r"`([^`]+)`", shown_by):
        found.append(ROOT / name if "/" in name else found[-1].parent / name)
    return found


def test_there_is_a_table() -> None:
    assert len(rows()) > 20


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:50])
def test_a_claim_names_who_attacks_it_and_tests_that_show_it(row: list[str]) -> None:
    claim, attacker, shown_by = row
    assert claim
    assert attacker
    named = places(shown_by)
    assert named
    for place in named:
        files = sorted(place.rglob("test_*.py")) if place.is_dir() else [place]
        assert files, place
        for file in files:
            assert re.search(r"^ *(?:async )?def test_", file.read_text(encoding="utf-8"), re.MULTILINE), file


def test_no_attack_of_the_suite_is_without_a_claim() -> None:
    named = {file for row in rows() for place in places(row[2]) for file in ([place] if place.is_file() else [])}
    folders = [place for row in rows() for place in places(row[2]) if place.is_dir()]
    suite = set((ROOT / "tests/adversarial").glob("test_*.py"))
    missing = {file.name for file in suite - named if not any(file.is_relative_to(folder) for folder in folders)}
    assert sorted(missing) == []
