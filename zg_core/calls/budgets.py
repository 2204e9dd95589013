"""The budgets that a call is held to: its client's, and those of whoever runs it (`held_to`)."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zg_core.backends.service import Service
    from zg_core.money import Amount, Fee
    from zg_core.pricing import Asked
    from zg_core.receipts.model import Receipt
    from zg_core.store import Store

__all__ = ["Counts", "Referee", "budgets_of", "held_to", "is_held"]


class Referee(Protocol):
    """Compares what was charged on chain with receipts (`zg_core.backends.direct.audit.referee`)."""

    async def before(self, service: Service, began: float) -> None:
        """A call to `service`, begun at unix time `began`, is about to be held for."""
        ...

    def refused(self, provider: str, units: int) -> None:
        """A request that can have cost `units` neuron was refused."""
        ...

    async def again(self, service: Service) -> bool:
        """A budget is about to refuse; whether less may be counted now."""
        ...


class Counts(Protocol):
    """What counts calls: `zg_core.budget.Spending`, and what stands for several."""

    def reserve(
        self,
        receipt: Receipt,
        service: Service,
        request: bytes | Asked,
        most: Amount | None = None,
        *,
        earlier: int = 0,
    ) -> int:
        """See `Spending.reserve`."""
        ...

    def settle(self, receipt: Receipt, fee: Fee) -> None:
        """See `Spending.settle`."""
        ...

    def recount(self, receipt: Receipt, before: Fee, after: Fee) -> None:
        """See `Spending.recount`."""
        ...

    def release(self, receipt: Receipt) -> None:
        """See `Spending.release`."""
        ...

    def fits_call(self, units: int) -> bool:
        """See `Spending.fits_call`."""
        ...

    @property
    def stores(self) -> tuple[Store, ...]:
        """Where it is counted."""
        ...

    @property
    def referee(self) -> Referee | None:
        """See `Spending.referee`."""


_HELD_TO: ContextVar[tuple[Counts, ...]] = ContextVar("zerog_budgets", default=())


@contextmanager
def held_to(budget: Counts) -> Iterator[None]:
    """Hold every call that is made in this block to `budget`, too, whatever client makes it.

    What asks for a call may be a thread or task of the block's, as long as it has its context.
    """
    token = _HELD_TO.set((*_HELD_TO.get(), budget))
    try:
        yield
    finally:
        _HELD_TO.reset(token)


def is_held() -> bool:
    """Whether a call that is made here is held to a budget beside its client's."""
    return bool(_HELD_TO.get())


def budgets_of(client: Counts | None) -> Counts | None:
    """All that a call made here is held to, as one; None if it is free."""
    others = _HELD_TO.get()
    if not others:
        return client
    every = others if client is None else (client, *others)
    return every[0] if len(every) == 1 else _Several(every)


class _Several:
    """Several budgets: a call has to fit into each."""

    def __init__(self, budgets: Sequence[Counts]) -> None:
        self._budgets = budgets

    def reserve(
        self,
        receipt: Receipt,
        service: Service,
        request: bytes | Asked,
        most: Amount | None = None,
        *,
        earlier: int = 0,
    ) -> int:
        held: list[Counts] = []
        units = 0
        try:
            for each in self._budgets:
                units = max(units, each.reserve(receipt, service, request, most, earlier=earlier))
                held.append(each)
        except BaseException:
            for each in held:
                each.release(receipt)
            raise
        return units

    def settle(self, receipt: Receipt, fee: Fee) -> None:
        for each in self._budgets:
            each.settle(receipt, fee)

    def recount(self, receipt: Receipt, before: Fee, after: Fee) -> None:
        for each in self._budgets:
            each.recount(receipt, before, after)

    def release(self, receipt: Receipt) -> None:
        for each in self._budgets:
            each.release(receipt)

    def fits_call(self, units: int) -> bool:
        return all(each.fits_call(units) for each in self._budgets)

    @property
    def stores(self) -> tuple[Store, ...]:
        return tuple(store for each in self._budgets for store in each.stores)

    @property
    def referee(self) -> Referee | None:
        return next((each.referee for each in self._budgets if each.referee is not None), None)
