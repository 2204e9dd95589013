"""The result of a comparison: one row per call, and what can be made of them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zg_core import display
from zg_core.compare.summary import Summary, summarise, total
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.shown import escaping

if TYPE_CHECKING:
    from zg_core.compare.inputs import Prompt
    from zg_core.compare.rows import Row
    from zg_core.receipts.model import Receipt

__all__ = ["Comparison"]

logger = logging.getLogger(__name__)
Grader = Callable[["Prompt", str], bool]
_SHOWN = (
    "target",
    "kind",
    "prompt",
    "repeat",
    "verdict",
    "first_token_ms",
    "total_ms",
    "tokens_out",
    "fee",
    "error",
)


class Comparison:
    """Rows of calls, in the order they were planned.

    Args:
        rows: The calls.
        grader: Says whether an answer is right.
        prompts: The prompt of each row, for the grader.
        note: A sentence for tables and pictures, such as the rates by which amounts were converted (`together`).
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        grader: Grader | None = None,
        prompts: Sequence[Prompt] | None = None,
        note: str = "",
    ) -> None:
        self.note = note
        asked: Sequence[Prompt | None] = [None] * len(rows) if prompts is None else prompts
        self.rows: tuple[Row, ...] = tuple(
            _graded(row, prompt, grader) for row, prompt in zip(rows, asked, strict=True)
        )
        """One per call."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts of all calls that have one."""
        return [row.receipt for row in self.rows if row.receipt is not None]

    @property
    def spent(self) -> Amount:
        """What this run cost; known calls of earlier runs cost nothing."""
        return total(self._no_fee if row.cached else row.fee for row in self.rows if row.fee is not None)

    @property
    def cost(self) -> Amount:
        """What all rows cost, those of earlier runs included."""
        return total(row.fee for row in self.rows if row.fee is not None)

    @property
    def _no_fee(self) -> Amount:
        return Amount(0, next(row.fee.currency for row in self.rows if row.fee is not None))

    def summary(self) -> Summary:
        """Medians, rates and costs of every target."""
        return summarise(self.rows, self.note)

    def to_pandas(self) -> Any:
        """A DataFrame with one row per call (`Row.record`); fees are ints in the smallest unit of their `currency`.

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        return display.frame([row.record() for row in self.rows])

    def to_csv(self, path: str | Path) -> None:
        """Write the rows to a file. What a spreadsheet would take for a formula begins with an apostrophe.

        Raises:
            ConfigError: it cannot be written.
        """
        records = [{name: escaping.csv(value) for name, value in row.record().items()} for row in self.rows]
        try:
            with Path(path).open("w", encoding="utf-8", newline="") as file:
                names = list(records[0]) if records else []
                writer = csv.DictWriter(file, names, quoting=csv.QUOTE_NONNUMERIC)
                writer.writeheader()
                writer.writerows(records)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}", code="bad_file") from None

    def plot(self, *which: str) -> Any:
        """Pictures of the rows as a matplotlib figure, two in a line.

        Args:
            *which: ``"price"`` (of tokens, what was proven as marker), ``"answers"`` (how many were right, wrong,
                refused, and what a right one cost), ``"latency"`` and ``"throughput"`` (distributions), ``"cost"``
                (against latency), ``"spend"`` (fees added up); by default the first four.

        Raises:
            ConfigError: there is no picture of that name.
            ImportError: matplotlib is not installed; the extra ``notebooks`` brings it.
        """
        from zg_core.compare.plots import figure

        return figure(self.rows, which, self.note)

    def __repr__(self) -> str:
        targets = len({row.target for row in self.rows})
        return f"Comparison({len(self.rows)} calls, {targets} targets, spent={self.spent})"

    def _repr_html_(self) -> str:
        records = [
            {**{name: row.record()[name] for name in _SHOWN}, "fee": "" if row.fee is None else str(row.fee)}
            for row in self.rows
        ]
        return display.table(repr(self), records)


def _graded(row: Row, prompt: Prompt | None, grader: Grader | None) -> Row:
    """`row` with what the grader says; an answer that ended in an error is not right, whatever it says."""
    if prompt is None or not row.sent or (grader is None and prompt.expected is None):
        return row
    if row.error:
        return replace(row, correct=False)
    try:
        return replace(row, correct=bool((grader or _contains)(prompt, row.answer)))
    except Exception:  # the answers are paid for and must not be lost to it
        logger.exception("the grader failed for prompt %s", prompt.id)
        return row


def _contains(prompt: Prompt, answer: str) -> bool:
    return (prompt.expected or "").casefold() in answer.casefold()
