"""How receipts, verdicts and audits look: HTML for notebooks, and tables for pandas.

Models, chat ids and vendor names are written by strangers, so every text is escaped (`zg_core.shown.escaping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.shown.escaping import html

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


__all__ = ["facts", "frame", "table"]

_LONGEST = 300
_MOST_ROWS = 50


def frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A pandas DataFrame of `rows`.

    Raises:
        ImportError: pandas is not installed; the extra ``notebooks`` brings it.
    """
    try:
        import pandas as pd  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError("to_pandas() needs pandas: pip install 'zerog-integrations[notebooks]'") from error
    return pd.DataFrame([dict(each) for each in rows])


def facts(title: str, values: Mapping[str, Any]) -> str:
    """Names and values of one thing as an HTML table.

    Example:
        >>> facts("T", {"a": "<b>"})
        '<table><caption>T</caption><tr><th>a</th><td>&lt;b&gt;</td></tr></table>'
    """
    lines = "".join(
        f"<tr><th>{html(name)}</th><td>{_cell(value)}</td></tr>"
        for name, value in values.items()
        if value not in (None, "")
    )
    return f"<table><caption>{html(title)}</caption>{lines}</table>"


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Many things as an HTML table, the newest 50."""
    shown = rows[-_MOST_ROWS:]
    names = list(shown[0]) if shown else []
    head = "".join(f"<th>{html(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{_cell(each.get(name))}</td>" for name in names) + "</tr>" for each in shown)
    more = f" (the newest {_MOST_ROWS} of {len(rows)})" if len(rows) > _MOST_ROWS else ""
    return f"<table><caption>{html(title + more)}</caption><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return html(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
