"""Receipts kept in memory: the newest ones of one client."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.receipts.model import Receipt

__all__ = ["MemoryReceipts"]


class MemoryReceipts:
    """The newest `capacity` receipts, in the order of their calls' ends; safe from many threads.

    Example:
        >>> receipts = MemoryReceipts()
        >>> len(receipts), receipts.last
        (0, None)
    """

    def __init__(self, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()

    def add(self, receipt: Receipt) -> None:
        """Keep `receipt`, dropping the oldest beyond the capacity."""
        with self._lock:
            self._receipts[receipt.id] = receipt
            while len(self._receipts) > self._capacity:
                self._receipts.popitem(last=False)

    def get(self, receipt_id: str) -> Receipt | None:
        """The receipt with this id, if it is still kept."""
        with self._lock:
            return self._receipts.get(receipt_id)

    @property
    def last(self) -> Receipt | None:
        """The newest receipt."""
        with self._lock:
            return next(reversed(self._receipts.values()), None)

    def __iter__(self) -> Iterator[Receipt]:
        with self._lock:
            return iter(list(self._receipts.values()))

    def _repr_html_(self) -> str:
        from zg_core import display
        from zg_core.receipts.model import row

        return display.table("Receipts", [row(each) for each in self])

    def to_pandas(self) -> Any:
        """The receipts as a DataFrame, one a row.

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        from zg_core import display
        from zg_core.receipts.model import row

        return display.frame(map(row, self))

    def __len__(self) -> int:
        return len(self._receipts)
