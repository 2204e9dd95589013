"""What a command prints: tables and lines for people, or one JSON document; progress and warnings on stderr.

With ``--json``, stdout holds exactly one document, and stderr nothing but the error, if there is one.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zg_core.money import Amount
from zg_core.shown.escaping import line, terminal
from zg_core.shown.redaction import blot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.status import Status

    from zg_core.progress import Progress

__all__ = ["Output", "clean", "money", "plain", "shown_store", "writer"]

_WIDE = 240  # columns where there is no terminal: addresses and hashes are never cut
_LABEL = 14
# Steps of a transaction that stay on the screen; the others only change the line that moves.
_LASTING = {"sent", "handed_over", "replaced", "resent", "gap_filled"}
_LASTING_ONCE = {"waiting_for_provider"}
# Steps that say something the user should know afterwards, too.
_WARNINGS = {"service_not_acknowledged", "left_out"}


class Output:
    """Where one command writes.

    Args:
        as_json: One JSON document instead of text.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.warnings: list[str] = []
        """What `warn` was told."""
        self.sent = ""
        """Hash of the last transaction that was sent and is not known to be mined."""
        self._status: Status | None = None
        self._said: set[str] = set()

    @cached_property
    def _out(self) -> Console | _Plain:
        return writer(stderr=False)

    @cached_property
    def _err(self) -> Console | _Plain:
        return writer(stderr=True)

    # stdout

    def document(self, data: Mapping[str, Any]) -> None:
        """Print the JSON document, with the warnings in it; nothing without ``--json``."""
        if self.as_json:
            sys.stdout.write(json.dumps({**data, "warnings": self.warnings}, indent=2) + "\n")
            sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """Print a line for people."""
        if not self.as_json:
            self._out.print(clean(text), markup=False, soft_wrap=True)

    def facts(self, *facts: tuple[str, object]) -> None:
        """Print names and values, one pair a line; values that are None are left out."""
        for name, value in facts:
            if value is not None:
                self.line(f"{name:<{_LABEL}}{value}")

    def table(
        self, headings: Sequence[str], rows: Sequence[Sequence[object]], rank: Sequence[str] = (), prose: str = ""
    ) -> None:
        """Print a table for people; see `laid_out` for what happens where the terminal is narrow."""
        if self.as_json:
            return
        from zg_core.cli.terminal.tables import laid_out

        width = None if isinstance(self._out, _Plain) else self._out.width
        laid = laid_out(headings, [[clean(str(cell)) for cell in row] for row in rows], width, rank, prose)
        for number, text in enumerate(laid.lines):
            bold = "bold" if laid.headed and not number else None
            self._out.print(text, markup=False, soft_wrap=True, style=bold)
        if laid.left_out:
            self.note(f"no room for {', '.join(laid.left_out)}: a wider terminal or --json shows them")

    def raw(self, text: str) -> None:
        """Write a stranger's `text` at once, without what could command the terminal that it may end at."""
        sys.stdout.write(terminal(text))
        sys.stdout.flush()

    # stderr

    def note(self, text: str) -> None:
        """Tell people something beside the result."""
        if not self.as_json:
            self._err.print(clean(text), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Warn: on stderr, or in the JSON document."""
        self.warnings.append(clean(text))
        if not self.as_json:
            self._err.print(f"warning: {clean(text)}", style="yellow", markup=False, soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something is under way; `step` changes what is shown."""
        if isinstance(self._err, _Plain):
            yield
            return
        with self._err.status(text) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None

    def step(self, progress: Progress) -> None:
        """Show a step of something that takes time; a listener for ``on_progress``."""
        if progress.name in ("sent", "handed_over", "replaced"):
            self.sent = str(progress.details.get("transaction", ""))
        elif progress.name in ("mined", "reverted"):
            self.sent = ""
        if progress.name in _WARNINGS:
            self.warn(progress.message)
        elif progress.name in _LASTING or (progress.name in _LASTING_ONCE and progress.name not in self._said):
            self._said.add(progress.name)
            self.note(progress.message)
        if self._status is not None:
            from rich.markup import escape

            self._status.update(escape(clean(progress.message)))


class _Plain:
    """Writes lines where no terminal is; rich, which takes longer to load than most commands, is not needed there."""

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    def print(self, text: str, **_: Any) -> None:
        """Write `text` as a line."""
        stream = sys.stderr if self._stderr else sys.stdout
        stream.write(f"{text}\n")
        stream.flush()


def writer(*, stderr: bool) -> Console | _Plain:
    """What writes lines to stdout or stderr, with colours where they are shown."""
    stream = sys.stderr if stderr else sys.stdout
    if not stream.isatty() and not os.environ.get("FORCE_COLOR") and os.environ.get("TTY_COMPATIBLE") != "1":
        return _Plain(stderr=stderr)
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _WIDE)
    return found if found.is_terminal else _Plain(stderr=stderr)


def shown_store(url: str) -> str:
    """The URL of a store without its password."""
    from zg_core.config import shown_url

    return url if url.startswith(("sqlite:", "memory:")) else shown_url(url)


def money(amount: Amount | None) -> dict[str, str] | None:
    """An amount in a JSON document: whole units and smallest units, both as text."""
    if amount is None:
        return None
    return {
        "amount": str(amount).removesuffix(f" {amount.currency}"),
        "currency": amount.currency,
        amount.unit: str(amount.units),
    }


def plain(value: Any) -> Any:
    """`value` as JSON data without secrets; what is neither plain nor an amount is left out (None)."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, str):
        return blot(str(value))
    if isinstance(value, Amount):
        return money(value)
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return None


def clean(text: str) -> str:
    """`text` on one line, without characters that could command a terminal."""
    return line(text)
