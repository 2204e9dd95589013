"""How receipts are counted and their fees worded, whatever is shown of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zg_core.receipts.model import Receipt

__all__ = ["Counted", "fee_of"]


class Counted:
    """Counts the rows that pass."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for each in self._rows:
            self.count += 1
            yield each


def fee_of(receipt: Receipt) -> str:
    """The fee of a receipt, or what it lies between."""
    fee = receipt.fee
    return str(fee.amount) if fee.exact else fee.bounds
