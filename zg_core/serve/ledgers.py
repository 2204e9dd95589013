"""What stands on chain, for the console: accounts and providers to look at, and anchors to check receipts against.

It reads only; whoever wants to move money is shown the command.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.audit.anchors import chain_anchor, resolve_late
from zg_core.backends.direct.money.broker import AsyncBroker
from zg_core.backends.opengradient.anchors import registry_anchor
from zg_core.backends.opengradient.backend import OpenGradientBackend
from zg_core.backends.opengradient.funds import funds_of
from zg_core.chain.rpc import quantity
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.receipts.checking import check
from zg_core.receipts.model import Receipt
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from zg_core.backends.base import Service
    from zg_core.client import AsyncChatClient
    from zg_core.receipts.anchors import Anchor
    from zg_core.receipts.checking import Check

__all__ = ["account_of", "amount_json", "anchors_of", "checked_again", "service_json"]

_PER_PIECE = {"text-to-image": "image", "image-editing": "image", "speech-to-text": "second", "video": "second"}
_MILLION = 10**6
_OPEN = (Status.PENDING, Status.UNAVAILABLE)


@asynccontextmanager
async def _reader(client: AsyncChatClient, ca_file: str | None) -> AsyncIterator[AsyncBroker]:
    user = client.backend.payer if client.backend.name == "direct" else None  # of others it is no address of 0G's chain
    async with AsyncBroker.read_only(user=user, network=client.network, ca_file=ca_file) as broker:
        yield broker


async def account_of(client: AsyncChatClient, ca_file: str | None) -> dict[str, Any]:
    """The wallet that pays, its ledger and its sub-accounts; of OpenGradient, its token; of others, who pays.

    Raises:
        ChainError: the chain cannot be read.
    """
    backend = client.backend
    if backend.name != "direct":
        told = {"backend": backend.name, "payer": backend.payer, "realm": backend.realm}
        if isinstance(backend, OpenGradientBackend):
            found = await funds_of(backend.rpc, backend.options.token, backend.options.chain_id, backend.payer)
            facts = [("Balance", amount_json(found.balance)), ("Payments may take", amount_json(found.allowance))]
            return {**told, "facts": facts, "fund": "zerog opengradient approve 5"}
        return {**told, "facts": [], "fund": "zerog router balance"}
    async with _reader(client, ca_file) as broker:
        owner = broker.address
        (coins,) = await broker.core.chain.rpc.batch([("eth_getBalance", [owner, "latest"])])
        ledger = await broker.ledger()
        accounts = await broker.accounts()
        models = {each.provider: each.model for each in await broker.services()} if accounts else {}
        return {
            "backend": "direct",
            "network": broker.network.name,
            "chain_id": broker.network.chain_id,
            "wallet": owner,
            "balance": amount_json(Amount(quantity(coins, "eth_getBalance"))),
            "ledger": None
            if ledger is None
            else {"available": amount_json(ledger.available), "locked": amount_json(ledger.locked)},
            "accounts": [
                {
                    "provider": each.provider,
                    "model": models.get(each.provider),
                    "usable": amount_json(each.usable),
                    "pending_refund": amount_json(each.pending_refund),
                    "acknowledged": each.acknowledged,
                    "fund": f"zerog transfer {each.provider} 1",
                }
                for each in accounts
            ],
            "deposit": "zerog deposit 3",
        }


async def checked_again(client: AsyncChatClient, receipt: Receipt, ca_file: str | None) -> Check:
    """Check a receipt as an auditor would: from what it holds, against the chain as it is now.

    A verdict that is pending or unavailable is tried again first, while the provider keeps its signature.

    Raises:
        ChainError: the chain cannot be read.
        ConfigError: the receipt is of another chain (code ``other_network``).
    """
    if receipt.backend == "direct" and client.stored is not None and receipt.verdict.status in _OPEN:
        async with _reader(client, ca_file) as broker:
            for each in await resolve_late(client.stored, broker.core.chain, broker.transport):
                if each.id == receipt.id:
                    receipt.settle(each.verdict)
    return check(receipt.to_dict(), await _anchor_of(client, receipt, ca_file))


async def _anchor_of(client: AsyncChatClient, receipt: Receipt, ca_file: str | None) -> Anchor | None:
    """Who says whose key it must be; None where nobody does: what the Router passes on unsealed is its word alone.

    Raises:
        ChainError: the chain, or the registry, cannot be read.
        ConfigError: the receipt is of another one (code ``other_network``).
    """
    if receipt.backend == "opengradient":
        if not isinstance(client.backend, OpenGradientBackend):
            message = "nothing that is served here asks OpenGradient, so its registry is not known"
            raise ConfigError(message, code="other_network", hint="zerog receipts verify FILE --rpc REGISTRY_RPC_URL")
        return await registry_anchor(receipt, client.backend.registry)
    if receipt.backend == "router" and receipt.evidence.scheme != "sealed":
        return None
    async with _reader(client, ca_file) as broker:
        return await chain_anchor(receipt, broker.core.chain)


async def anchors_of(
    client: AsyncChatClient, documents: Sequence[dict[str, Any]], ca_file: str | None
) -> dict[str, Anchor]:
    """What the chain says of who must have signed, for each of these receipts that it knows of, by their ids.

    Raises:
        ChainError: the chain cannot be read.
        ConfigError: a document is no receipt (code ``bad_receipt``).
    """
    found: dict[str, Anchor] = {}
    for document in documents:
        receipt = Receipt.from_dict(document)
        try:
            anchor = await _anchor_of(client, receipt, ca_file)
        except ConfigError:  # of another chain: nothing here vouches for it
            continue
        if anchor is not None:
            found[receipt.id] = anchor
    return found


def prices_of(service: Service) -> tuple[int, int]:
    """Units that a token of an answer and one of a prompt cost; 0 where that is not known."""
    tariff = service.tariff
    return (0, 0) if tariff is None else (tariff.output_price, tariff.input_price)


def service_json(service: Service, attested: int | None) -> dict[str, Any]:
    """What the console shows of a service; `attested` is the level that its newest receipts show."""
    piece, record = _PER_PIECE.get(service.record.get("service_type", "")), service.record
    output, spent = prices_of(service)
    factor = 1 if piece else _MILLION
    direct = "service_type" in record  # as the chain has it
    return {
        "provider": service.provider,
        "model": service.model,
        "type": record.get("service_type", service.task),
        "kind": str(service.kind),
        "prompt": str(service.kind.prompt),
        "acknowledged": record.get("acknowledged", True),
        "signer": record.get("signer", ""),
        "input_price": amount_json(Amount(spent * factor, service.currency)),
        "output_price": amount_json(Amount(output * factor, service.currency)),
        "price_for": piece or "million tokens",
        "usd": service.currency == "USD",
        "attested": attested,
        "attest": f"zerog verify {service.provider} --level 2" if direct else "",
        "fund": f"zerog transfer {service.provider} 1" if direct else "",
    }


def amount_json(amount: Amount) -> dict[str, str]:
    """An amount as text: whole units for people, the smallest for programs."""
    return {"text": str(amount), "units": str(amount.units), "unit": amount.unit}
