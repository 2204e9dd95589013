"""Receipts as CSV for spreadsheets, which run what looks like a formula: such cells are marked as text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from zg_core.receipts.model import row
from zg_core.shown import escaping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zg_core.receipts.model import Receipt

__all__ = ["HEADINGS", "cells", "lines_of", "to_csv"]

_SHOWN = (
    "id", "started_at", "network", "provider", "model", "kind", "outcome", "status", "reason", "prompt_tokens",
    "completion_tokens", "fee", "fee_exact", "fee_upper", "unit", "chat_id", "seconds", "flags",
)  # fmt: skip
_MORE = (
    "payer", "chain_id", "inference", "request_sha256", "response_sha256", "input_price", "output_price",
    "certificate_sha256", "backend", "realm", "task", "run",
)  # fmt: skip
HEADINGS = (*_SHOWN, *_MORE)
"""The columns, in their order."""
_PIECE = 1 << 16  # characters


def to_csv(receipts: Iterable[Receipt]) -> str:
    """One line a receipt, with a heading; amounts are in the smallest unit, times ISO 8601 in UTC."""
    return "".join(lines_of(map(cells, receipts)))


def lines_of(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """The lines for cells that are escaped already, with a heading before the first; nothing of nothing."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    for number, each in enumerate(rows):
        if not number:
            writer.writerow(HEADINGS)
        writer.writerow(each)
        if out.tell() > _PIECE:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def cells(receipt: Receipt) -> list[Any]:
    """What one line says of a receipt, in the order of `HEADINGS`, safe for a spreadsheet."""
    values = row(receipt)
    values["started_at"] = receipt.started_at.isoformat()
    values |= {name: getattr(receipt, name) for name in _MORE}
    return [escaping.csv(values[name]) for name in HEADINGS]
