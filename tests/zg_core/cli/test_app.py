"""The commands as a whole: which there are, what all of them have, and that what hints name exists."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

import zg_core
from tests.zg_core.cli.running import COMMAND
from zg_core.cli.terminal.failures import CommandError
from zg_core.cli.terminal.placing import placed

ROOT = Path(zg_core.__file__).resolve().parent.parent
ADDRESS = "0x" + "11" * 20
SPENDING = {
    "deposit", "transfer", "retrieve", "refund", "acknowledge", "keys revoke", "keys revoke-all", "keys rotate",
    "compare", "opengradient approve", "router keys revoke",
}  # fmt: skip
COMMANDS = SPENDING | {
    "providers", "verify", "account", "settlements", "token", "chat", "keys create", "keys list", "localnet up", "demo",
    "pending", "receipts list", "receipts show", "receipts export", "receipts verify", "receipts audit", "budget show",
    "budget reconcile", "budget release", "serve keys create", "serve keys list", "serve keys revoke",
    "image", "transcribe", "check", "adapters list", "adapters status", "adapters deploy",
    "models", "login", "logout", "status", "network", "receipts bundle",
    "opengradient balance", "opengradient doctor", "opengradient settlement",
    "notebooks list", "notebooks copy",
    "router balance", "router usage", "router audit", "router models", "router keys list", "router keys create",
    "router keys update",
}  # fmt: skip


def leaves(group, path=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


ALL = dict(leaves(COMMAND))


def options_of(command):
    return {word for parameter in command.params for word in parameter.opts}


def test_the_commands_are_those_of_the_documentation():
    assert set(ALL) == COMMANDS


def test_the_table_of_the_documentation_has_every_command():
    table = (ROOT / "docs/cli.md").read_text().partition("| command | does |")[2].partition("\n\n")[0]
    missing = [name for name in sorted({each.partition(" ")[0] for each in COMMANDS}) if f"`zerog {name}" not in table]
    assert missing == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_the_common_options(name):
    assert {"--json", "--network", "--rpc-url", "--ca-file"} <= options_of(ALL[name])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_only_spending_commands_ask(name):
    asks = SPENDING | {"login", "logout"}  # before a key is replaced or deleted
    assert ("--yes" in options_of(ALL[name])) is (name in asks)


def texts(path):
    """The string constants of a module; what is put into an f-string stands there as ``{expression}``."""
    tree = ast.parse(path.read_text())
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
                for part in node.values
                if isinstance(part, ast.Constant | ast.FormattedValue)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


@functools.cache
def mentions():
    """Every command line between backticks in the package and its documentation, with where it stands."""
    found = []
    for path in sorted((ROOT / "zg_core").rglob("*.py")):
        if "localnet/contracts" in path.as_posix() or "zerog " not in path.read_text():
            continue
        for text in texts(path):
            found += [f"{path.relative_to(ROOT).as_posix()}: {line}" for line in re.findall(r"`(zerog [^`]+)`", text)]
    for name in ("README.md", "docs/cli.md"):
        text = (ROOT / name).read_text()
        for line in [*re.findall(r"`(zerog [^`]+)`", text), *re.findall(r"^(?:    )?(zerog .+)$", text, re.MULTILINE)]:
            found.append(f"{name}: {line}")
    return sorted(set(found))


def parse(line):
    """Parse a command line; the name of a command alone need only exist."""
    line = line.partition("#")[0].partition("|")[0].partition(">")[0]
    line = re.sub(r"\{[^}]*(id|number)[^}]*\}", "3", re.sub(r"\{[^}]*provider[^}]*\}|0x…", ADDRESS, line))
    words = shlex.split(re.sub(r"\{[^}]*\}", "1.5", line))[1:]
    words = placed(COMMAND, words)
    command, path = COMMAND, []
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        path.append(words.pop(0))
        assert path[-1] in command.commands, f"there is no `zerog {' '.join(path)}`"
        command = command.commands[path[-1]]
    if "--install-completion" in words:
        return  # would do it
    if words:
        command.make_context("zerog " + " ".join(path), words)


@pytest.mark.parametrize("mention", mentions())
def test_a_command_that_is_named_somewhere_parses(mention):
    line = mention.partition(": ")[2]
    try:
        parse(line)
    except typer.Exit:
        pass  # --help
    except CommandError as error:
        pytest.fail(f"{mention}: {error.format_message()}", pytrace=False)


@pytest.mark.parametrize(
    "line", ["zerog transfer {provider}", "zerog deposits 3", "zerog keys make", "zerog deposit 3 --now"]
)
def test_the_check_of_mentions_is_not_blind(line):
    with pytest.raises((CommandError, AssertionError)):
        parse(line)


def test_the_hints_of_the_library_are_among_them():
    found = {line.partition(": ")[2] for line in mentions() if "cli/" not in line}
    assert {"zerog deposit 3", "zerog account", "zerog providers", "zerog retrieve"} <= found
    assert any(line.startswith("zerog transfer {") for line in found)
    assert any(line.startswith("zerog keys create {") for line in found)


def test_version(nobody):
    assert nobody("--version").out == f"zerog {zg_core.__version__}\n"


def test_shells_can_complete_commands_and_networks():
    from typer.testing import CliRunner

    def completed(words, at):
        environ = {"_ZEROG_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        with CliRunner().isolation(env=environ) as (out, *_):
            with pytest.raises(SystemExit):
                COMMAND.main([], prog_name="zerog")
            sys.stdout.flush()
            return out.getvalue().decode().split()

    assert "settlements" in completed("zerog sett", 1)
    assert {"testnet", "mainnet", "local"} <= set(completed("zerog providers --network ", 3))
