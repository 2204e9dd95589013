"""docs/guides/attestation.md: its examples run, and its tables say what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.cli.running import COMMAND
from tests.zg_core.verify.attestation.test_local import EXPECTED
from zg_core.verify.attestation import AttestationOptions, Level, Outcome

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "guides" / "attestation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """The table under a heading, without its own."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines[1:]]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_runs(number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZEROG_HOME", str(tmp_path))
    monkeypatch.setattr("zg_core.verify.attestation.pccs._kept", {})
    exec(compile(BLOCKS[number], "attestation.md", "exec"), {})


def test_there_are_examples() -> None:
    assert len(BLOCKS) == 2


def test_every_fault_is_in_the_table_with_what_comes_of_it() -> None:
    said = {name.strip("`"): (int(level), outcome) for name, level, outcome in rows("What was tried against it")}
    assert said == {str(fault): (level, outcome) for fault, (level, outcome, _) in EXPECTED.items()}


def test_every_level_and_outcome_is_explained() -> None:
    named = [row[0].strip("`") for row in rows("What each level shows")]
    assert named == [*(f"{int(level)} {level.name.lower()}" for level in Level), "outcome", *map(str, Outcome)]


def test_every_option_is_explained_and_there() -> None:
    first = " ".join(row[0] for row in rows("What is accepted"))
    named = re.findall(r"`([^`]+)`", first)
    assert {name for name in named if name[0] != "-"} == {field.name for field in fields(AttestationOptions)}
    command: Any = COMMAND
    there = {word for option in command.commands["verify"].params for word in (*option.opts, *option.secondary_opts)}
    assert {name for name in named if name[0] == "-"} <= there
