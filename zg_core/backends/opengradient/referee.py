"""The chain as referee of a budget: what a permit could take is counted until the chain says what it took.

The first call of a permit answers for all that the permit allows. Before a budget refuses a call, the permits that it
still counts whole are looked up: one that was settled counts what was taken, one that ended unused counts nothing.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from zg_core.backends.opengradient import settlement
from zg_core.errors import ChainError, ConfigError
from zg_core.money import Amount

if TYPE_CHECKING:
    from zg_core.backends.service import Service
    from zg_core.budget import Spending
    from zg_core.chain.rpc import JsonRpc
    from zg_core.receipts.model import Receipt

__all__ = ["Permits", "Referee"]

logger = logging.getLogger(__name__)

_MOST = 10_000
_DONE = ("settled", "unused")


class Permits:
    """The permits of one client that are not known to be settled, by the receipt of the call that brought each."""

    def __init__(self) -> None:
        self._brought: OrderedDict[str, Receipt] = OrderedDict()

    def brought(self, receipt: Receipt) -> None:
        """A call is about to be sent with a permit."""
        self._brought[receipt.id] = receipt
        while len(self._brought) > _MOST:
            self._brought.popitem(last=False)

    def of(self, receipt_id: str) -> Receipt | None:
        """The receipt of a call that brought a permit; None for any other."""
        return self._brought.get(receipt_id)

    def forget(self, receipt_id: str) -> None:
        """It is known what the permit took."""
        self._brought.pop(receipt_id, None)


class Referee:
    """See `zg_core.calls.budgets.Referee`.

    Args:
        spending: The budget.
        permits: Those of the client.
        rpc: The payment chain.
    """

    def __init__(self, spending: Spending, permits: Permits, rpc: JsonRpc) -> None:
        self._spending = spending
        self._permits = permits
        self._rpc = rpc

    async def before(self, service: Service, began: float) -> None:
        """Nothing: a permit bounds what can be taken without a look at the chain."""

    def refused(self, provider: str, units: int) -> None:
        """Nothing: a permit that was refused stays counted whole (`Grant.stands`)."""

    async def again(self, service: Service) -> bool:  # noqa: ARG002 - permits of all gateways count against one budget
        """Whether less may be counted now: permits that are held as unknown were settled, or ended unused."""
        less = False
        for held in self._spending.held():
            receipt = self._permits.of(held.receipt)
            if held.state != "unknown" or receipt is None or "nonce" not in receipt.grant:
                continue
            try:
                since = receipt.started_at.timestamp()
                found = await settlement.find(self._rpc, receipt.grant, since=since, now=time.time())
            except ChainError as error:
                logger.info("the permit of receipt %s could not be looked up: %s", receipt.id, error.message)
                return less
            if found.status not in _DONE:
                continue
            taken = 0 if found.amount is None else found.amount.units  # by all calls under the permit
            try:
                self._spending.release_held(held.receipt, Amount(taken, self._spending.currency))
            except ConfigError:  # somebody else has released it
                continue
            receipt.grant = {**receipt.grant, "settlement": found.to_dict()}
            self._permits.forget(held.receipt)
            less = True
        return less
