"""Every code that an error can have is on the page of errors, with its cause and its fix."""

from __future__ import annotations

import re

from tests.docs.pasting import ROOT
from tests.docs.test_site import generator
from zg_core.verify.verdict import Reason

PAGE = generator().pages()["reference/errors.md"]
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}


def codes_in_tests() -> set[str]:
    """Codes that some test has seen on an error."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if "localnet" in path.parts or "node_modules" in path.parts:
            continue  # the local network has errors of its own
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"\b(?:error|raised|caught|refused)(?:\.value)?\.code == \"([a-z][a-z0-9_]+)\"", text))
    return found


def test_codes_that_tests_have_seen_have_a_section() -> None:
    seen = codes_in_tests()
    assert len(seen) > 100
    assert sorted(seen - SECTIONS.keys()) == []


def test_reasons_of_verdicts_that_become_codes_have_a_section() -> None:
    assert sorted({reason.value for reason in Reason if reason.value} - SECTIONS.keys()) == []


def test_a_place_whose_code_is_not_written_there_says_what_it_can_be() -> None:
    told = generator().told()
    assert generator().unwritten() == set(told["elsewhere"]), "say in .ci/errors.toml which codes these places can make"
    assert sorted({code for codes in told["elsewhere"].values() for code in codes} - SECTIONS.keys()) == []


def test_every_code_has_a_cause_and_a_fix() -> None:
    bare = []
    for code, section in SECTIONS.items():
        rows = [
            line.split(" | ") for line in section.splitlines() if line.startswith("| ") and line != "| cause | fix |"
        ]
        if not any(cause.strip("| ") and fix.strip("| ") not in ("", "-") for cause, fix in rows):
            bare.append(code)
    assert bare == []


def test_nothing_is_told_of_a_code_that_is_nowhere() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for package in generator().PACKAGES for path in (ROOT / package).rglob("*.py")
    )
    theirs = {"access_denied", "api_key_revoked", "insufficient_scope", "pinned_provider_exceeds_max_price"}
    assert sorted(
        code
        for code in generator().told()["codes"]
        if code not in theirs and f'"{code}"' not in source and f'"{code.removeprefix("bad_")}"' not in source
        and f"{code.removeprefix('bad_')}: " not in source and f"{code.removeprefix('bad_')}=" not in source
    ) == []  # fmt: skip
