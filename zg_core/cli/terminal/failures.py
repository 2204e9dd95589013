"""How a command fails: one line and a hint on stderr (or one JSON object), and an exit code that says what happened."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from zg_core.cli.terminal.output import clean, plain, writer
from zg_core.cli.terminal.placing import placed
from zg_core.config import KEY_NAMES
from zg_core.errors import VerificationFailed, VerificationUnavailable, ZeroGError
from zg_core.shown.redaction import blot

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CommandError", "Commands", "Interrupted", "NotConfirmed", "Usage", "exit_code", "report"]

OK, ERROR, USAGE, NOT_VERIFIED, INTERRUPTED = 0, 1, 2, 3, 130
CommandError: type[Exception] = typer.BadParameter.__mro__[2]
"""What the argument parser raises (click's ClickException, which typer brings in versions of its own)."""

_KEY_LIKE = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class NotConfirmed(ZeroGError):
    """The user did not say yes, or could not be asked; nothing was sent."""

    default_code = "not_confirmed"


class Interrupted(ZeroGError):
    """Ctrl-C."""

    default_code = "interrupted"


class Usage(typer.BadParameter):
    """The command line is wrong, and it is known what to write instead.

    Args:
        message: What is wrong.
        param_hint: The argument it is about.
        hint: What to write.
    """

    def __init__(self, message: str, param_hint: str, *, hint: str) -> None:
        super().__init__(message, param_hint=param_hint)
        self.hint = hint


def exit_code(error: BaseException) -> int:
    """The exit code for an error."""
    if isinstance(error, NotConfirmed | CommandError):
        return USAGE
    if isinstance(error, VerificationUnavailable):
        return NOT_VERIFIED
    return INTERRUPTED if isinstance(error, Interrupted) else ERROR


def report(error: Exception, *, as_json: bool, warnings: Sequence[str] = ()) -> int:
    """Show an error on stderr.

    Returns:
        The exit code.
    """
    facts = {name: _safe(value) if isinstance(value, str) else value for name, value in _facts(error).items()}
    if as_json:
        sys.stderr.write(json.dumps({"error": {**facts, "warnings": list(warnings)}}, indent=2) + "\n")
        return exit_code(error)
    console = writer(stderr=True)
    console.print(f"error: {clean(facts['message'])}", style="red", markup=False, soft_wrap=True)
    if facts["hint"]:
        console.print(f"hint: {clean(facts['hint'])}", markup=False, soft_wrap=True)
    return exit_code(error)


def _facts(error: Exception) -> dict[str, Any]:
    facts: dict[str, Any] = {"code": "error", "message": str(error), "hint": "", "retryable": False}
    if isinstance(error, ZeroGError):
        facts |= {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}
        facts |= {"type": type(error).__name__, "details": plain(error.details)}
        if error.receipt is not None:
            facts["receipt"] = error.receipt.to_dict()
        if error.text and not isinstance(error, VerificationFailed):  # what is refused is not handed on
            facts["text"] = error.text
        if error.code == "bad_address":
            facts["message"] = _KEY_LIKE.sub("…", error.message)
    elif isinstance(error, CommandError):
        hint = getattr(error, "hint", "") or f"see `{_command_path(error)} --help`"
        facts |= {"code": "usage", "message": _usage(error), "hint": hint}
    elif isinstance(error, ImportError) and "zerog-integrations[" in str(error):
        facts |= {"code": "missing_extra"}
    elif isinstance(error, OSError):
        facts |= {"code": "system", "message": error.strerror or str(error)}
        facts["message"] += "".join(f": {name}" for name in (error.filename, error.filename2) if name)
        if str(error) != facts["message"] and not error.filename:
            facts["message"] = str(error)
    else:
        facts |= {
            "code": "bug",
            "message": f"unexpected {type(error).__name__}: {error}",
            "hint": "this is a fault of zerog; run it again with ZEROG_DEBUG=1 for the traceback, and report it",
        }
    return facts


def _usage(error: Exception) -> str:
    formatted = getattr(error, "format_message", None)
    # A key that was typed in the wrong place must not be repeated.
    return _KEY_LIKE.sub("…", str(formatted() if callable(formatted) else error))


def _command_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    path = str(getattr(context, "command_path", "") or "")
    return " ".join(["zerog", *path.split()[_words_before(path) :]])


def _words_before(path: str) -> int:
    """How many words of a command path name the program: ``python -m zg_core.cli`` has three."""
    words = path.split()
    return 3 if words[1:2] == ["-m"] else 1


def _safe(text: str) -> str:
    """`text` without tokens and without the keys of this environment."""
    for name in KEY_NAMES:
        key = os.environ.get(name, "").strip().removeprefix("0x")
        if len(key) > 16:
            text = re.sub(re.escape(key), "…", text, flags=re.IGNORECASE)
    return blot(text)


class Commands(TyperGroup):
    """The root command: ends with an exit code, however it is called."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - it always is
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit."""
        options: dict[str, Any] = {
            "prog_name": prog_name,
            "complete_var": complete_var,
            "windows_expand_args": windows_expand_args,
        }
        given = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in given[: given.index("--") if "--" in given else None]
        try:
            result = super().main(args=placed(self, given), standalone_mode=False, **options, **extra)
            code = result if isinstance(result, int) else OK
        except CommandError as error:
            if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
                sys.stderr.write(str(error))
                code = USAGE
            else:
                code = report(error, as_json=as_json)
        except typer.Abort:
            code = report(Interrupted("interrupted"), as_json=as_json)
        except Exception as error:  # noqa: BLE001 - whatever it is, people get one line
            code = unexpected(error, as_json=as_json)
        sys.exit(code)


def unexpected(error: Exception, *, as_json: bool, warnings: Sequence[str] = ()) -> int:
    """Report an error that may be a fault of ours; with ``ZEROG_DEBUG`` it is raised."""
    if os.environ.get("ZEROG_DEBUG") and not isinstance(error, ZeroGError | OSError):
        raise error
    return report(error, as_json=as_json, warnings=warnings)
