"""Services as Direct knows them: routes that rest on records of the chain, and offers that are watched."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.status_api import STATUS
from zg_core.backends.onchain import Listed, listed, unregistered
from zg_core.backends.service import Correction, Offer, Route
from zg_core.errors import ChainError, ConfigError
from zg_core.money import either
from zg_core.pricing import Tariff, fee_of
from zg_core.verify.reach import reach_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.backends.direct.catalogue import Catalogue
    from zg_core.backends.direct.records import Records
    from zg_core.backends.direct.status_api import StatusApi
    from zg_core.config import Network
    from zg_core.contracts.reader import ChainReader
    from zg_core.http.transport import Transport
    from zg_core.money import Fee
    from zg_core.types import ServiceRecord as Record
    from zg_core.types import Usage

__all__ = ["DirectRoute", "Listing", "Watch"]


class Watch:
    """What the network's status API says, asked beside calls.

    Args:
        transport: HTTP.
        network: Where it is.
        status: What this process has heard.
    """

    def __init__(self, transport: Transport, network: Network, status: StatusApi = STATUS) -> None:
        self._transport = transport
        self._url = network.status_url
        self._status = status

    def doubts(self, record: Record) -> bool:
        """Whether it calls the provider of `record` critical."""
        url, status, transport = self._url, self._status, self._transport
        if not url:
            return False
        if status.due(url):
            transport.spawn(lambda: status.ask(transport, url))
        return status.known(url).get((record.provider.lower(), record.model)) == "critical"

    async def look(self) -> None:
        """Ask it now, where that is due."""
        if self._url and self._status.due(self._url):
            await self._status.ask(self._transport, self._url)


@dataclass(frozen=True, slots=True)
class Listing(Offer):
    """An offer whose provider is asked what its model can do only where somebody requires it."""

    service: Listed
    catalogue: Catalogue | None = None
    watch: Watch | None = None

    async def able(self) -> frozenset[str]:
        """See `Offer.able`."""
        if self.catalogue is None:
            return self.abilities
        info = await self.catalogue.info(self.service.on_chain, self.service.model)
        return info.abilities

    @property
    def doubted(self) -> bool:
        """See `Offer.doubted`: by the network's status API."""
        return self.watch is not None and self.watch.doubts(self.service.on_chain)

    async def look(self) -> None:
        """See `Offer.look`."""
        if self.watch is not None:
            await self.watch.look()


@dataclass(frozen=True, slots=True)
class DirectRoute(Route):
    """A route, and how old what is known of it is.

    Attributes:
        service: Who will answer.
        made: When the route was made, by ``time.monotonic``: a call begins with it.
        read: When the read of the record began.
        stale: Whether the record is older than what a verdict or an exact fee may rest on.
        earlier: Another record that may have held while the call was under way.
    """

    service: Listed
    made: float = field(default_factory=time.monotonic)
    read: float = -math.inf
    stale: bool = False
    earlier: Record | None = None
    records: Records | None = field(default=None, repr=False, compare=False)
    chain: ChainReader | None = field(default=None, repr=False, compare=False)

    @classmethod
    def to(cls, record: Record, model: str, network: Network) -> DirectRoute:
        """The route to a provider by a record that somebody else vouches for."""
        reach = reach_of(record, model).status
        return cls(listed(record, model, network, tariff=Tariff.of(record), reach=reach, block=None), model)

    @property
    def record_age(self) -> int | None:
        """How many seconds before the call the record was read: 0 where it was during the call, None if not known."""
        return math.ceil(max(0.0, self.made - self.read)) if math.isfinite(self.read) else None

    async def settled(self, *, patient: bool) -> DirectRoute:
        """See `Route.settled`: verdict and fee rest on a record that is young enough."""
        records, chain, before = self.records, self.chain, self.service.on_chain
        if records is None or chain is None:
            return self
        try:
            record = await (records.patient if patient else records.young)(before.provider, self.made)
        except ConfigError:
            return self._with(unregistered(before), read=time.monotonic())
        except ChainError:
            return replace(self, stale=True)
        read = chain.read_at(before.provider)
        if record is before or record == before:
            return self if read == self.read else replace(self, read=read)
        # How the change and the request followed each other cannot be told: the provider may have billed either price.
        return replace(self._with(record, chain.block_of(before.provider)), read=read, earlier=before)

    def _with(self, record: Record, block: int | None = None, **changes: Any) -> DirectRoute:
        before = self.service
        tariff = before.tariff if before.tariff is not None and before.tariff.listed else Tariff.of(record)
        facts = {**before.record, "signer": record.signer}
        if block is not None:
            facts["block"] = block
        service = replace(before, kind=record.kind, tariff=tariff, record=facts, on_chain=record)
        return replace(self, service=service, **changes)

    def rests(self, usage: Usage | None, changed: Callable[[Correction], None]) -> None:
        """See `Route.rests`: until the record is read again."""
        if self.stale or self.records is None:
            return
        before = self.service.on_chain

        def told(record: Record, known: bool) -> None:
            after = self._with(record)
            signer = record.signer if record.acknowledged else ""
            fee = replace(after, earlier=before).fee(usage)
            if not known and not (after.service.tariff is not None and after.service.tariff.listed):
                fee = replace(fee, exact=False, reason="price_changed", lower=0, upper=None)
            changed(Correction(fee, record.kind, signer, after.service.tariff))

        self.records.rests(before.provider, before, told)

    def fee(self, usage: Usage | None) -> Fee:
        """What a call along this route cost that used so much."""
        tariff = self.service.tariff
        fee = fee_of(self.service.on_chain, usage, tariff)
        if self.earlier is not None and (tariff is None or not tariff.listed):
            before = fee_of(self.earlier, usage)
            if (before.amount, before.exact) != (fee.amount, fee.exact):
                return either(before, fee, "price_changed")
        return replace(fee, exact=False, reason="old_record", lower=0, upper=None) if self.stale and fee.exact else fee
