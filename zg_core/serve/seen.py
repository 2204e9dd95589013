"""What the server has seen since it began: the newest calls, and sums of all of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zg_core.serve.access import caller_of
from zg_core.serve.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.receipts.model import Receipt
    from zg_core.serve.access import Caller
    from zg_core.serve.settings import Entry

__all__ = ["Seen", "Sighting"]

_MOST = 2000


@dataclass(slots=True)
class Sighting:
    """A call that was seen.

    Attributes:
        number: Counts up with every news of any call, so that whoever looks asks for what is newer.
        receipt: Its receipt.
        caller: Who asked, by name; "" where nobody knows any more, or another program did.
        entry: What was asked for, by name.
        own: Whether this server made it; others' are known from the store.
    """

    number: int
    receipt: Receipt
    caller: str
    entry: str
    own: bool = True


class Seen:
    """Keeps the newest calls, and counts all; safe from many threads.

    Args:
        most: How many calls are kept.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Sighting] = OrderedDict()
        self._number = 0
        self.metrics = Metrics()
        """Sums of all calls."""

    def receipt(self, receipt: Receipt, caller: Caller, entry: Entry) -> None:
        """A request that left has ended."""
        self._put(receipt, caller.name, entry.name)
        self.metrics.call(receipt)

    def verdict(self, receipt: Receipt) -> None:
        """The verdict of a call came, or changed, after its end."""
        with self._lock:
            known = self._kept.get(receipt.id)
        if known is not None:
            self._put(receipt, known.caller, known.entry)
        self.metrics.late(receipt)

    def _put(self, receipt: Receipt, caller: str, entry: str) -> None:
        with self._lock:
            self._kept[receipt.id] = Sighting(self._next(), receipt, caller, entry)
            self._kept.move_to_end(receipt.id)
            self._shrink()

    def earlier(self, receipts: Iterable[Receipt]) -> None:
        """Show calls of earlier times, too, oldest first."""
        with self._lock:
            known, self._kept = self._kept, OrderedDict()
            for receipt in receipts:
                if receipt.id not in known:
                    self._kept[receipt.id] = self._of_store(receipt)
            for sighting in known.values():
                sighting.number = self._next()
                self._kept[sighting.receipt.id] = sighting
            self._shrink()

    def others(self, receipts: Iterable[Receipt]) -> None:
        """Show what other programs have written to the store, or judged later, oldest first."""
        with self._lock:
            for receipt in receipts:
                known = self._kept.get(receipt.id)
                if known is None or (not known.own and known.receipt.verdict != receipt.verdict):
                    self._kept[receipt.id] = self._of_store(receipt)
                    self._kept.move_to_end(receipt.id)
            self._shrink()

    def _of_store(self, receipt: Receipt) -> Sighting:
        return Sighting(self._next(), receipt, caller_of(receipt), receipt.model, own=False)

    def _shrink(self) -> None:
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def after(self, number: int) -> list[Sighting]:
        """What is newer than `number`, oldest first."""
        with self._lock:
            return [each for each in self._kept.values() if each.number > number]

    def get(self, receipt_id: str) -> Sighting | None:
        """The call with this receipt, if it is still kept."""
        with self._lock:
            return self._kept.get(receipt_id)
