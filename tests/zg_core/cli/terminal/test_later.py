"""Commands that are not loaded yet look as they do when they are, and one that runs loads no other."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tests.patience import PATIENCE
from zg_core.cli.app import cli

HEAVY = ["web3", "sqlalchemy", "pydantic", "rich", "httpx", "httpx2", "openai", "eth_account", "eth_abi", "starlette"]
PROGRAM = """
import json, sys
from zg_core.cli import main
sys.argv[1:] = {words!r}
try:
    main()
except SystemExit as end:
    code = end.code
heavy = [name for name in {heavy!r} if name in sys.modules]
commands = [name for name in sys.modules if name.startswith("zg_core.cli.") and ".terminal" not in name]
print("\\n" + json.dumps([code, heavy, sorted(commands)]))
"""


@pytest.fixture
def fresh() -> Any:
    """The root command with nothing loaded."""
    return get_command(cli)


def run(command: Any, *words: str) -> str:
    with CliRunner().isolation(env={"COLUMNS": "120"}) as (out, err, *_):
        with pytest.raises(SystemExit):
            command.main(list(words), prog_name="zerog")
        sys.stdout.flush()
        sys.stderr.flush()
        return out.getvalue().decode() + err.getvalue().decode()


def test_the_help_is_the_same_whether_commands_are_loaded_or_not(fresh: Any) -> None:
    before = run(fresh, "--help")
    assert {type(each).__name__ for each in fresh.commands.data.values()} == {"Later"}  # nothing was
    loaded = dict(fresh.commands.items())
    assert {type(each).__name__ for each in loaded.values()} == {"TyperCommand", "TyperGroup"}
    assert run(fresh, "--help") == before
    assert "List the providers on chain" in before


def test_what_is_known_of_every_command_is_what_it_says_itself(fresh: Any) -> None:
    for name, known in list(fresh.commands.data.items()):
        command = fresh.commands[name]
        paragraph = inspect.cleandoc(command.help).split("\n\n")[0].replace("\n", " ")
        assert (known.help, known.panel) == (paragraph, command.rich_help_panel), name


def test_a_misspelt_command_is_told_which_it_may_be(fresh: Any) -> None:
    assert "No such command 'recipts'. Did you mean 'receipts'?" in run(fresh, "recipts")
    assert "No such command 'lst'. Did you mean 'list'?" in run(fresh, "receipts", "lst")


def test_what_is_typed_wrong_is_told_in_the_parsers_words(fresh: Any) -> None:
    assert "'x' is none of" in run(fresh, "receipts", "list", "--network", "x")
    assert "--provider" in run(fresh, "receipts", "list", "--provider", "x")
    assert "--limit" in run(fresh, "receipts", "list", "--limit", "0")
    assert "--limit" in run(fresh, "receipts", "list", "--limit", "many")
    assert "--since" in run(fresh, "receipts", "list", "--since", "soon")
    assert "RECEIPT" in run(fresh, "receipts", "show")


@pytest.mark.parametrize(
    ("words", "code", "module"),
    [
        ("receipts list", 0, "receipts.commands"),
        ("receipts list --run r --network local --json", 0, "receipts.commands"),
        ("receipts show 00000000", 1, "receipts.commands"),
        ("budget show", 0, "budget"),
        ("status", 0, "wallet"),
    ],
)
def test_a_command_that_reads_the_store_loads_nothing_else(words: str, code: int, module: str, tmp_path: Any) -> None:
    environ = {name: value for name, value in os.environ.items() if "ZEROG" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(words=words.split(), heavy=HEAVY)],
        env={**environ, "ZEROG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    ended, heavy, commands = json.loads(done.stdout.splitlines()[-1])
    assert (ended, heavy) == (code, []), done.stderr
    own = (f"zg_core.cli.{module}", f"zg_core.cli.{module.partition('.')[0]}", "zg_core.cli.receipts.shown")
    assert f"zg_core.cli.{module}" in commands
    assert set(commands) <= {"zg_core.cli.app", *own}
