"""The provider's records on chain as the anchor of a receipt, and verdicts that are made late."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from zg_core.backends.base import Route
from zg_core.backends.direct.backend import DirectBackend
from zg_core.crypto import same_address
from zg_core.errors import ChainError, ConfigError
from zg_core.receipts.checking import Anchor, rebuilt
from zg_core.verify.policy import Policy, renames_in
from zg_core.verify.replay import ReplayGuard
from zg_core.verify.verdict import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.backends.direct.contracts.reader import ChainReader
    from zg_core.http.transport import Transport
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore
    from zg_core.types import Service

__all__ = ["chain_anchor", "resolve_late"]

_LATE = (Reason.NO_SIGNATURE, Reason.RECORD_UNREADABLE)


async def chain_anchor(receipt: Receipt, chain: ChainReader) -> Anchor:
    """The records of the receipt's provider on chain: now, and at the block where the client read it.

    The contract is that of the reader's network, never the one that the receipt names.

    Raises:
        ConfigError: the receipt is of another chain or contract (code ``other_network``).
        ChainError: the chain cannot be read.
    """
    network = chain.network
    if receipt.chain_id != network.chain_id or not same_address(receipt.inference or "0x", network.inference):
        raise ConfigError(
            f"receipt {receipt.id} is of chain {receipt.chain_id}, contract {receipt.inference or 'unknown'}; "
            f"{network.name} is chain {network.chain_id}, contract {network.inference}",
            code="other_network",
            hint="choose its network (--network, --rpc)",
        )
    services: list[Service] = []
    # Whether the records read here are all that can have been in force during the call.
    complete = receipt.service_block is not None and (
        receipt.service is not None and same_address(receipt.verdict.expected_signer, receipt.service.signer)
    )
    unchanged = False
    try:
        now = await chain.service(receipt.provider, fresh=True)
        unchanged = now.updated_at <= receipt.started_at.timestamp()
        services.append(now)
    except ConfigError:  # the provider has left
        services = []
    if receipt.service_block is not None:
        try:
            services.append(await chain.service_at(receipt.provider, receipt.service_block))
        except ConfigError:  # it was not registered then
            pass
        except ChainError:  # nodes forget old state
            complete = False
    complete = complete or unchanged
    if not services:
        return Anchor("the chain, where the provider is not registered", complete=complete)
    return Anchor("the chain", tuple(each.signer for each in services), tuple(services), complete)


async def resolve_late(stored: ReceiptStore, chain: ChainReader, transport: Transport) -> list[Receipt]:
    """Make the verdicts that are still pending in the store, as far as providers have the signatures.

    A verdict that found no signature, or could not read the chain, is tried again, too.

    Returns:
        The receipts that were looked at, with their latest verdicts.

    Raises:
        ConfigError: the store cannot be used.
    """
    waiting = [each for each in await transport.blocking(_unresolved, stored, chain) if _is_late(each)]
    guard = ReplayGuard()
    for each in waiting:
        guard.sent(each.provider, each.request_sha256)
    for each in waiting:
        backend = DirectBackend(
            network=chain.network,
            credential=cast("Any", None),  # signatures are public, and nothing is sent that costs
            chain=chain,
            transport=transport,
            policy=Policy(accept_models=renames_in(each.policy)),
            guard=guard,
        )
        service = each.service
        assert service is not None  # noqa: S101 - see _is_late
        before = each.verdict
        service = replace(service, private=chain.network.private_providers)  # what a receipt says of it does not count
        each.settle(await backend.verify(Route(service, each.model), rebuilt(each)))
        if each.verdict != before:
            await transport.blocking(stored.append, each)
    return waiting


def _unresolved(stored: ReceiptStore, chain: ChainReader) -> Sequence[Receipt]:
    return stored.select(chain_id=chain.network.chain_id, unresolved=True)


def _is_late(receipt: Receipt) -> bool:
    verdict = receipt.verdict
    if receipt.service is None or not receipt.complete:
        return False
    return verdict.status is Status.PENDING or (verdict.status is Status.UNAVAILABLE and verdict.reason in _LATE)
