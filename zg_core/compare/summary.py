"""What the rows of a comparison come to, target by target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zg_core import display
from zg_core.compare.choosing import Recommendation, recommend
from zg_core.compare.targets import NONE, TargetSummary, money
from zg_core.money import Amount
from zg_core.shown.escaping import html, line, markdown
from zg_core.types import Prompt

if TYPE_CHECKING:
    from zg_core.compare.rows import Row

__all__ = ["Summary", "TargetSummary", "percentile", "summarise", "total"]

_OPENEST = (Prompt.OPEN, Prompt.VENDOR, Prompt.DECLARED, Prompt.SEALED)


class Summary(Sequence[TargetSummary]):
    """All targets, as they were named. Shows itself as a table in a notebook, and in text as Markdown.

    Args:
        targets: They.
        note: A sentence below the table, such as the rates by which amounts were converted.
    """

    def __init__(self, targets: Sequence[TargetSummary], note: str = "") -> None:
        self._targets = tuple(targets)
        self.note = note

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, str):
            for target in self._targets:
                if target.target == which:
                    return target
            raise KeyError(which)
        return self._targets[which]

    def to_pandas(self) -> Any:
        """A DataFrame with one row per target; amounts are ints in the smallest unit of `currency` (neuron of 0G).

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        return display.frame([target.record() for target in self._targets])

    def cells(self) -> list[dict[str, str]]:
        """What a table shows, as text."""
        shown = {
            "graded": any(target.correct_rate is not None for target in self._targets),
            "unsent": any(target.unsent for target in self._targets),
            "bound": any(target.response_bound_rate for target in self._targets),
            "signer": any(target.signer_only_rate for target in self._targets),
        }
        return [_cells(target, **shown) for target in self._targets]

    def recommend(self, **bars: float) -> Recommendation:
        """Choose by these numbers, with the reasons in words; arguments as in `zg_core.compare.choosing.recommend`."""
        return recommend(self._targets, **bars)

    def to_markdown(self) -> str:
        """A table in Markdown."""
        return _table(self.cells(), markdown) + (f"\n\n{markdown(self.note)}" if self.note else "")

    def __str__(self) -> str:
        return _table(self.cells(), line) + (f"\n\n{line(self.note)}" if self.note else "")

    def __repr__(self) -> str:
        return f"Summary({len(self)} targets)"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        cells = self.cells()
        head = "".join(f"<th>{html(name)}</th>" for name in (cells[0] if cells else ()))
        body = "".join("<tr>" + "".join(f"<td>{html(cell)}</td>" for cell in row.values()) + "</tr>" for row in cells)
        note = f"<p>{html(self.note)}</p>" if self.note else ""
        return f"<table><tr>{head}</tr>{body}</table>{note}"


def _table(cells: Sequence[Mapping[str, str]], shown: Callable[[str], str]) -> str:
    """`cells` as a table of Markdown's form, each as `shown` has it."""
    if not cells:
        return "(no calls)"
    rule = ["---", "---", "---", *["---:"] * (len(cells[0]) - 3)]
    lines = [list(cells[0]), rule, *([shown(cell).replace("|", "\\|") for cell in row.values()] for row in cells)]
    return "\n".join("| " + " | ".join(each) + " |" for each in lines)


def summarise(rows: Sequence[Row], note: str = "") -> Summary:
    """One entry per target, in the order of the rows."""
    names = list(dict.fromkeys(row.target for row in rows))
    return Summary([_of([row for row in rows if row.target == name]) for name in names], note)


def total(amounts: Iterable[Amount]) -> Amount:
    """The sum, in the currency of the amounts; 0 0G of none.

    Raises:
        ConfigError: they are of several currencies (code ``mixed_currencies``).
    """
    each = list(amounts)
    return sum(each[1:], start=each[0]) if each else Amount(0)


def _of(rows: Sequence[Row]) -> TargetSummary:
    made = [row for row in rows if row.sent]
    first = [row.first_token_ms for row in made if row.first_token_ms is not None]
    whole = [row.total_ms for row in made if row.total_ms is not None]
    speed = [row.tokens_per_second for row in made if row.tokens_per_second is not None]
    cost = total(row.fee for row in made if row.fee is not None)
    readers = {row.readers for row in made if row.readers}
    tokens = sum((row.tokens_in or 0) + (row.tokens_out or 0) for row in made)
    graded = [row.correct for row in made if row.correct is not None]
    right = sum(graded)
    return TargetSummary(
        target=rows[0].target,
        kind=rows[0].kind,
        calls=len(made),
        unsent=len(rows) - len(made),
        verified_rate=_share(sum(row.proven for row in made), len(made)),
        response_bound_rate=_share(sum(row.bound for row in made), len(made)),
        failure_rate=_share(sum(bool(row.error) for row in made), len(made)),
        first_token_ms=percentile(first, 50),
        first_token_p95_ms=percentile(first, 95),
        total_ms=percentile(whole, 50),
        total_p95_ms=percentile(whole, 95),
        tokens_per_second=percentile(speed, 50),
        cost=cost,
        cost_exact=all(row.fee_exact for row in made),
        cost_per_1000_tokens=Amount(cost.units * 1000 // tokens, cost.currency) if tokens else None,
        correct_rate=_share(right, len(graded)),
        cost_per_correct=Amount(cost.units // right, cost.currency) if right else None,
        signer_only_rate=_share(sum(row.signer_known for row in made), len(made)),
        readers=next((each for each in _OPENEST if each in readers), ""),
    )


def percentile(values: Sequence[float], rank: float) -> float | None:
    """The value below which `rank` percent lie, interpolated; None of nothing.

    Example:
        >>> percentile([1.0, 2.0, 4.0], 50), percentile([0.0, 100.0], 95)
        (2.0, 95.0)
    """
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * rank / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _cells(target: TargetSummary, *, graded: bool, unsent: bool, bound: bool, signer: bool) -> dict[str, str]:
    about, currency = "" if target.cost_exact else "≥ ", target.cost.currency
    cells = {
        "target": target.target,
        "kind": target.kind,
        "prompt": target.readers or NONE,
        "calls": str(target.calls),
        **({"not sent": str(target.unsent)} if unsent else {}),
        "verified": _percent(target.verified_rate),
        **({"answer bound only": _percent(target.response_bound_rate)} if bound else {}),
        **({"signer known only": _percent(target.signer_only_rate)} if signer else {}),
        "failed": _percent(target.failure_rate),
        "first token (ms), median": _whole(target.first_token_ms),
        "p95": _whole(target.first_token_p95_ms),
        "total (ms), median": _whole(target.total_ms),
        "total p95": _whole(target.total_p95_ms),
        "tokens/s": _whole(target.tokens_per_second),
        f"cost ({currency})": about + money(target.cost),
        f"per 1,000 tokens ({currency})": money(target.cost_per_1000_tokens),
    }
    if graded:
        cells["correct"] = _percent(target.correct_rate)
        cells[f"per correct answer ({currency})"] = money(target.cost_per_correct)
    return cells


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.0f} %"


def _whole(number: float | None) -> str:
    return NONE if number is None else f"{number:,.0f}"
