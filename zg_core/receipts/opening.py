"""What a receipt says of the service that answers, as its backend has read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.money import Amount, Fee
from zg_core.receipts.model import Receipt

if TYPE_CHECKING:
    from zg_core.backends.service import Route, Service

__all__ = ["begun", "served"]


def begun(route: Route, *, backend: str, realm: str, network: str, **facts: Any) -> Receipt:
    """The receipt of a call along `route` that is about to be sent, and has cost nothing that is known yet.

    Args:
        route: Where it goes.
        backend: Name of the backend.
        realm: Whose money it is.
        network: Name of the network.
        facts: Further fields of the receipt.
    """
    service = route.service
    receipt = Receipt(
        backend=backend,
        network=network,
        chain_id=0,
        realm=realm,
        provider=service.provider,
        model=route.model,
        kind=service.kind,
        input_price=0,
        output_price=0,
        fee=Fee(Amount(0, service.currency), exact=False, reason="outcome_unknown"),
        attestation=None if route.attestation is None else route.attestation.summary(),
        ledger=str(service.record.get("ledger", "")),
        inference=str(service.record.get("inference", "")),
        **facts,
    )
    served(receipt, service)
    return receipt


def served(receipt: Receipt, service: Service) -> None:
    """Note who has answered, as it was read last."""
    record = getattr(service, "on_chain", None)
    receipt.service, receipt.service_block = record or service, service.record.get("block")
    receipt.kind = service.kind
    if record is not None:  # of those that bill a list of their own, too
        receipt.input_price, receipt.output_price = record.input_price, record.output_price
    elif service.tariff is not None:
        receipt.input_price, receipt.output_price = service.tariff.input_price, service.tariff.output_price
