"""Services as Direct knows them: the record on chain beside the words that every backend shares."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from zg_core.backends.direct.status_api import STATUS
from zg_core.backends.service import Correction, Offer, Route, Service
from zg_core.errors import ChainError, ConfigError
from zg_core.money import either
from zg_core.pricing import Tariff, fee_of
from zg_core.receipts.plain import record_to_dict
from zg_core.tasks.base import task_of
from zg_core.verify.reach import reach_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.backends.direct.catalogue import Catalogue
    from zg_core.backends.direct.contracts.reader import ChainReader
    from zg_core.backends.direct.records import Records
    from zg_core.backends.direct.status_api import StatusApi
    from zg_core.config import Network
    from zg_core.http.transport import Transport
    from zg_core.money import Fee
    from zg_core.types import Service as Record
    from zg_core.types import Usage
    from zg_core.verify.reach import Answering
    from zg_core.verify.verdict import Status

__all__ = ["DirectRoute", "Listed", "Listing", "Watch", "listed", "on_chain", "unregistered"]


@dataclass(frozen=True, slots=True)
class Listed(Service):
    """A service of the chain.

    Attributes:
        on_chain: Its record.
    """

    on_chain: Record = field(kw_only=True)


def listed(
    record: Record, model: str, network: Network, *, tariff: Tariff | None, reach: Status, block: int | None
) -> Listed:
    """The record in the words that every backend shares."""
    return Listed(
        record.provider,
        model,
        task_of(record.service_type),
        record.endpoint,
        record.kind,
        tariff,
        reach,
        "USD" if record.usd_priced else "0G",
        private=record.private,
        record=_plain(record, network, block),
        on_chain=record,
    )


def _plain(record: Record, network: Network, block: int | None) -> Mapping[str, Any]:
    """What receipts keep of it."""
    return {
        **record_to_dict(record),
        "chain_id": network.chain_id,
        "ledger": network.ledger,
        "inference": network.inference,
        "block": block,
        "signer": record.signer,
    }


def on_chain(service: Answering) -> Record:
    """The record of a service of ours; a record is one already."""
    return service.on_chain if isinstance(service, Listed) else cast("Record", service)


def unregistered(record: Record) -> Record:
    """The record of a provider that has left the chain: nothing acknowledges its key any more."""
    return replace(record, acknowledged=False)


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
        if record == before:
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

        def told(record: Record) -> None:
            after = self._with(record)
            signer = record.signer if record.acknowledged else ""
            changed(Correction(replace(after, earlier=before).fee(usage), record.kind, signer, after.service.tariff))

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
