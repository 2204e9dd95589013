"""Receipts of everything that LlamaIndex does inside a ``with``: engines, agents, workflows, plain calls.

Receipts are born in `zg_core`, also those of calls that LlamaIndex never hears of again: failed ones, broken-off
streams. Which `get_zerog_receipts` they belong to is decided where a call begins, so concurrent tasks do not mix, and a
stream that is read in another thread still counts where it was asked for.
"""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from zg_core.frameworks.collected import Collected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zg_core.receipts.model import Receipt

__all__ = ["Relay", "ZeroGReceipts", "current_sinks", "get_zerog_receipts", "telling"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_SINKS: ContextVar[tuple[ZeroGReceipts, ...]] = ContextVar("zerog_llama_index_receipts", default=())


class ZeroGReceipts(Collected):
    """The receipts of the calls made inside one `get_zerog_receipts`, in the order in which they ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._receipts: dict[str, Receipt] = {}

    def add(self, receipt: Receipt) -> None:
        """Keep a receipt; each call counts once."""
        with self._lock:
            self._receipts[receipt.id] = receipt

    def bound(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """`function`, of which the calls count here whichever thread runs it: plain threads know no ``with``.

        Example:
            ```python
            with get_zerog_receipts() as receipts, ThreadPoolExecutor() as pool:
                answers = list(pool.map(receipts.bound(llm.complete), prompts))
            ```
        """
        sinks = current_sinks()
        if self not in sinks:
            sinks = (*sinks, self)

        @functools.wraps(function)
        def counted(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with telling(sinks):
                return function(*args, **kwargs)

        return counted

    def __iter__(self) -> Iterator[Receipt]:
        with self._lock:
            return iter(list(self._receipts.values()))

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """All of them."""
        return tuple(self)

    def __len__(self) -> int:
        return len(self._receipts)

    def __repr__(self) -> str:
        fees = ", ".join(map(str, self.fees.values())) or "nothing"
        more = f", {len(self.unknown)} of unknown cost" if self.unknown else ""
        return f"ZeroGReceipts({len(self)} calls, {fees}{more})"

    def _repr_html_(self) -> str:
        from zg_core.display import table
        from zg_core.receipts.model import row

        return table("Receipts", [row(receipt) for receipt in self])

    def to_pandas(self) -> Any:
        """One row for each receipt.

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        from zg_core.display import frame
        from zg_core.receipts.model import row

        return frame([row(receipt) for receipt in self])


@contextmanager
def get_zerog_receipts() -> Iterator[ZeroGReceipts]:
    """Collect the receipts of every call of a `ZeroG` or `ZeroGEmbedding` that begins inside.

    Example:
        >>> with get_zerog_receipts() as receipts:
        ...     len(receipts)
        0
    """
    made = ZeroGReceipts()
    token = _SINKS.set((*_SINKS.get(), made))
    try:
        yield made
    finally:
        _SINKS.reset(token)


def current_sinks() -> tuple[ZeroGReceipts, ...]:
    """Who is to be told of a call that begins here."""
    return _SINKS.get()


@contextmanager
def telling(sinks: tuple[ZeroGReceipts, ...]) -> Iterator[None]:
    """Have `sinks` told of the receipts that are made inside; there must be no `yield` of a generator inside."""
    token = _SINKS.set(sinks)
    try:
        yield
    finally:
        _SINKS.reset(token)


@dataclass(frozen=True, slots=True)
class Relay:
    """The `on_receipt` of a client: tells those in force, then the user's own listener."""

    listener: Callable[[Receipt], None] | None

    def __call__(self, receipt: Receipt) -> None:
        """Tell them."""
        for sink in _SINKS.get():
            sink.add(receipt)
        if self.listener is not None:
            self.listener(receipt)
