"""Tables for people: a cell is never cut, so an address, a number or a hash can be copied from any of them.

What does not fit is left out whole, the least important column first; where even the important ones do not fit side by
side, every row becomes a block of lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Laid", "laid_out"]

NARROWEST = 60
"""Columns of a terminal below which there is no table, only blocks."""
_GAP = 2
_PROSE = 20  # room that sentences need before they go on


@dataclass(frozen=True)
class Laid:
    """A table as lines."""

    lines: list[str]
    left_out: list[str]
    """The headings of the columns for which there was no room."""
    headed: bool
    """Whether the first line is the headings."""


def laid_out(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    rank: Sequence[str] = (),
    prose: str = "",
) -> Laid:
    """The rows under their headings, in at most `width` cells where that can be without cutting anything.

    Args:
        headings: One for each column.
        rows: Their cells, each on one line.
        width: Cells of a line; None for as many as it takes.
        rank: Headings in the order of their importance; the others come after them, from left to right.
        prose: The last heading, if its cells are sentences: they may go on in the next line of the terminal.

    Example:
        >>> laid_out(["provider", "model"], [["0x1", "llama"]], 80).lines
        ['provider  model', '0x1       llama']
    """
    columns = range(len(headings))
    widths = [max(map(cell_len, [headings[at], *(row[at] for row in rows)])) for at in columns]
    needed = [min(each, _PROSE) if heading == prose else each for each, heading in zip(widths, headings, strict=True)]
    by_rank = sorted(columns, key=lambda at: rank.index(headings[at]) if headings[at] in rank else len(rank) + at)
    kept = list(by_rank)
    if width is not None:
        while kept and sum(needed[at] + _GAP for at in kept) - _GAP > width:
            kept.pop()
        if width < NARROWEST or len(kept) < min(2, len(headings)):
            return Laid(_blocks(headings, rows), [], headed=False)
    shown = [at for at in columns if at in kept]
    lines = [_line([row[at] for at in shown], [widths[at] for at in shown]) for row in (headings, *rows)]
    return Laid(lines, [headings[at] for at in columns if at not in kept], headed=True)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(
        cell + " " * (width + _GAP - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)
    ).rstrip()


def _blocks(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    wide = max(map(cell_len, headings)) + _GAP
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        for heading, cell in zip(headings, row, strict=True):
            lines.append(f"{heading}{' ' * (wide - cell_len(heading))}{cell}".rstrip())
    return lines
