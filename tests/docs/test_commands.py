"""Every command line, file and form in the documents is one that the programs take."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pasting import ROOT, Block, blocks, pages
from tests.zg_core.cli.running import COMMAND

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
EVERY = [block for page in pages() for block in blocks(page)]
OTHERS = {"", "python", "text"}  # run by test_blocks and the tests it names; shown, not run
IN_NODE = {"js", "ts"}
PROGRAMS = {
    ".", "cd", "createdb", "createuser", "curl", "do", "done", "export", "for", "git", "jupyter", "make", "npm",
    "pgbouncer", "pip", "opentelemetry-instrument", "printf", "psql", "pytest", "python", "source", "uv",
}  # fmt: skip
_PARTS = re.compile(r"\|\||&&|[|;\n]|\$\(|\)")
_SET = re.compile(r"^(?:[A-Z_]+=\S*\s+)*")


def commands(text: str) -> list[list[str]]:
    """The words of each command of a block, without redirections and comments."""
    joined = text.replace("\\\n", " ")
    lines = [re.sub(r"(^|\s)#\s.*$", "", line) for line in joined.splitlines()]
    found = []
    for line in lines:
        kept: list[str] = []

        def keep(match: re.Match[str], kept: list[str] = kept) -> str:
            kept.append(match[0])
            return f" \x00{len(kept) - 1}\x00 " if match[0][0] == "'" else match[0]

        for part in _PARTS.split(re.sub(r"'[^']*'", keep, line)):
            whole = re.sub(r"\s?\x00(\d+)\x00\s?", lambda each, kept=kept: kept[int(each[1])], part)  # type: ignore[misc]
            bare = _SET.sub("", whole.strip())
            if bare and not re.match(r"^[A-Z_]+=", bare) and bare not in ('"', "'"):
                found.append(
                    shlex.split(bare.replace("$(", "("), posix=True) if bare.count('"') % 2 == 0 else bare.split()
                )
    return found


def fits(words: list[str]) -> str:
    """What is wrong with a command line of `zerog`; nothing if it would be taken."""
    command: Any = COMMAND
    words = [word for word in words if not re.match(r"^(2?>|<)", word)]
    rest = words[1:]
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    if hasattr(command, "commands"):
        ours = {name for option in command.params for name in option.opts}
        if not rest or rest[0] in ours or getattr(command, "invoke_without_command", False):
            return ""
        return f"there is no {' '.join(words)}"
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    if any(each.name == "provider" and each.param_type_name == "argument" for each in command.params):
        rest = [word for word in rest if word != "--provider"]  # a provider is named in its place or so
    given = 0
    while rest:
        word, _, value = rest.pop(0).partition("=")
        if not word.startswith("-") or word == "-":
            given += 1
        elif word not in options and word != "--help":
            return f"{' '.join(words)} has no {word}"
        elif word != "--help" and not options[word].is_flag and not value:
            if not rest:
                return f"{word} of {' '.join(words)} needs a value"
            rest.pop(0)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if given > len(arguments) and not any(each.nargs == -1 for each in arguments):
        return f"{' '.join(words)} takes {len(arguments)} arguments"
    return ""


def test_what_does_not_fit_is_seen() -> None:
    for wrong in (
        "zerog chatt hello", "zerog chat --modell x hello", "zerog deposit 1 2", "zerog chat --model",
        "zerog serve keys made",
    ):  # fmt: skip
        assert fits(shlex.split(wrong)), wrong
    assert not fits(shlex.split("zerog chat --model x --hold 'a question'"))
    assert commands("A=b zerog x 'a | b' | python -c 'c' # d") == [["zerog", "x", "a | b"], ["python", "-c", "c"]]


def shells() -> list[Block]:
    return [block for block in EVERY if block.language in ("sh", "bash")]


@pytest.mark.parametrize("block", shells(), ids=str)
def test_a_block_of_commands_is_one_that_a_shell_and_the_programs_take(block: Block) -> None:
    read = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    for words in commands(block.text):
        if words[0] == "zerog":
            assert not fits(words), f"{block}: {fits(words)}"
        elif words[0] == "make":
            assert words[1] in TARGETS, f"{block}: make {words[1]}"
        else:
            assert words[0].startswith(("-", ".venv/", "(")) or words[0] in PROGRAMS, f"{block}: {words}"
        if words[0] == "pip":
            asked = {name for each in re.findall(r"\[([a-z,-]+)\]", " ".join(words)) for name in each.split(",")}
            assert asked <= set(PROJECT["optional-dependencies"]), f"{block}: {asked}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_inside_sentences_are_there(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for said in re.findall(r"`(zerog [^`]+)`", prose):
        words = said.replace("…", "x").replace("[", "").replace("]", "").replace("\n", " ").split()
        words = [word for word in words if word not in ("'x'", "COMMAND")]
        wrong = fits(words)
        assert not wrong or "needs a value" in wrong or "arguments" in wrong or "|" in said, f"{page.name}: {wrong}"
    for target in re.findall(r"`make ([a-z0-9-]+)", prose):
        assert target in TARGETS, f"{page.name}: make {target}"


def test_every_block_says_its_language_and_is_held_by_something() -> None:
    known = {*OTHERS, *IN_NODE, "sh", "bash", "json", "toml", "yaml"}
    assert [f"{block} {block.language}" for block in EVERY if block.language not in known] == []
    assert {block.page for block in EVERY if block.language in IN_NODE} == {
        "README.md",  # which shows those of the guide (test_site.py)
        "docs/guides/openai.md",
    }
    assert "docs/guides/openai.md" in (ROOT / "tests/interop/test_serve.py").read_text(encoding="utf-8")


def test_nothing_is_set_in_by_spaces_where_no_test_would_see_it() -> None:
    for page in pages():
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert re.findall(r"\n\n(    \S[^\n]*)", prose) == [], page.name


def test_files_shown_in_the_documents_can_be_read() -> None:
    read = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
    shown = [block for block in EVERY if block.language in read]
    assert shown
    for block in shown:
        assert read[block.language](block.text), str(block)
