"""Commands that are loaded when they are asked for; until then their names, places and lines of help are known."""

from __future__ import annotations

import importlib
from collections import UserDict
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand
from typer.main import get_command

from zg_core.cli.terminal.failures import Commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Later", "LaterCommands"]


class Later(NamedTuple):
    """What is known of a command before it is loaded; a test holds it to what is loaded then."""

    module: str
    """The module of `zg_core.cli` that has it, under its own name."""
    panel: str
    """The panel of the help in which it stands."""
    help: str
    """The first paragraph of its help."""

    def load(self, name: str) -> Any:
        """The parser's command."""
        found = getattr(importlib.import_module(f"zg_core.cli.{self.module}"), name)
        alone = typer.Typer(add_completion=False)
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=name, rich_help_panel=self.panel)
            command: Any = get_command(alone).commands[name]  # type: ignore[attr-defined] # a group has them
        else:
            alone.command(name, rich_help_panel=self.panel)(found)
            command = get_command(alone)
        _quicken(command)
        return command


class _Loaded(UserDict[str, Any]):
    """The commands: whoever takes one by its name has it loaded."""

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, Later):
            found = self.data[name] = found.load(name)
        return found


class LaterCommands(Commands):
    """A root command that loads only the one that is asked for."""

    later: ClassVar[Mapping[str, Later]]
    """Its commands by name, in the order of the help."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.commands: Any = _Loaded(self.later)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The names, with nothing loaded."""
        return [*self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command; of one that is not loaded, what lists of commands show of it."""
        found = self.commands.data.get(cmd_name)
        if isinstance(found, Later):
            return TyperCommand(cmd_name, help=found.help, rich_help_panel=found.panel)
        return found

    def get_params(self, ctx: Any) -> Any:
        """Its own options."""
        return _unasked(super().get_params, ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is run or completed, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if command is None else self.commands[name], rest


def _quicken(command: Any) -> None:
    for inner in getattr(command, "commands", {}).values():
        _quicken(inner)
    command.get_params = partial(_unasked, command.get_params)


def _unasked(parameters: Callable[[Any], list[Any]], context: Any) -> list[Any]:
    """The parameters; text and what was not typed are taken as they are: the parser would load pydantic to look."""
    found = parameters(context)
    for parameter in found:
        described = getattr(parameter, "type_descriptor", None)  # newer parsers only; the others load nothing
        if described is not None and not isinstance(parameter.process_value, partial):
            parameter.process_value = partial(_process, parameter, described, parameter.process_value)
    return found


def _process(parameter: Any, described: Any, usual: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    if value is None and not parameter.required:
        value = () if parameter.multiple or parameter.nargs == -1 else None
        return value if parameter.callback is None else parameter.callback(context, parameter, value)
    if parameter.callback is not None:
        return usual(context, value)
    if type(value) is int and value == parameter.default:
        return value
    if type(value) is str and described.annotation is str:
        parse = described.parameter_info.parser
        try:
            return value if parse is None else parse(value)
        except ValueError:  # told in the parser's own words
            pass
    return usual(context, value)
