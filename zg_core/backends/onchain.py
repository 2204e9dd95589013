"""Services as 0G's chain records them, beside the words that every backend shares: for both backends of 0G."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from zg_core.backends.service import Service
from zg_core.receipts.plain import record_to_dict
from zg_core.tasks.base import task_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.config import Network
    from zg_core.pricing import Tariff
    from zg_core.types import ServiceRecord as Record
    from zg_core.verify.reach import Answering
    from zg_core.verify.verdict import Status

__all__ = ["RECORD_AGE", "Listed", "listed", "on_chain", "unregistered"]

RECORD_AGE = 10.0
"""Seconds for which a record is used as it is, where the user says nothing else."""


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
