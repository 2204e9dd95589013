"""Receipts as CSV for spreadsheets, which run what looks like a formula: such cells are marked as text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from zg_core.receipts.model import row
from zg_core.shown import escaping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.receipts.model import Receipt

__all__ = ["to_csv"]

_COLUMNS = (
    "payer", "chain_id", "inference", "request_sha256", "response_sha256", "input_price", "output_price",
    "certificate_sha256",
)  # fmt: skip


def to_csv(receipts: Iterable[Receipt]) -> str:
    """One line a receipt, with a heading; amounts are neuron, times ISO 8601 in UTC."""
    rows = [_row(each) for each in receipts]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    if rows:
        writer.writerow(rows[0])
    writer.writerows([escaping.csv(value) for value in each.values()] for each in rows)
    return out.getvalue()


def _row(receipt: Receipt) -> dict[str, Any]:
    values = row(receipt)
    values["started_at"] = receipt.started_at.isoformat()
    return values | {name: getattr(receipt, name) for name in _COLUMNS}
