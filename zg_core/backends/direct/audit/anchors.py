"""The provider's records on chain as the anchor of a receipt, and verdicts that are made late."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from zg_core.backends.direct.backend import DirectBackend
from zg_core.backends.direct.services import DirectRoute
from zg_core.crypto import same_address
from zg_core.errors import ChainError, ConfigError
from zg_core.receipts.anchors import Anchor
from zg_core.receipts.checking import rebuilt
from zg_core.receipts.plain import DIRECT
from zg_core.verify.policy import Policy, renames_in
from zg_core.verify.replay import ReplayGuard
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.contracts.reader import ChainReader
    from zg_core.http.transport import Transport
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore
    from zg_core.types import ServiceRecord

__all__ = ["chain_anchor", "resolve_late"]

_LATER_BLOCKS = 5
_LATE = (Reason.NO_SIGNATURE, Reason.RECORD_UNREADABLE)


async def chain_anchor(receipt: Receipt, chain: ChainReader) -> Anchor:
    """The records of the receipt's provider on chain: now, and at the block where the client read it.

    The contract is that of the reader's network, never the one that the receipt names.

    Raises:
        ConfigError: the receipt is of another chain or contract (code ``other_network``).
        ChainError: the chain cannot be read.
    """
    network = chain.network
    routed = (
        receipt.backend == "router" and receipt.evidence.scheme == "sealed"
    )  # its provider is on chain all the same
    if receipt.backend != DIRECT and not routed:
        raise ConfigError(
            f"receipt {receipt.id} is of the backend {receipt.backend[:40]!r}, whose services are on no chain of 0G's",
            code="other_network",
            hint="anchor it with --signer or --pins",
        )
    if (receipt.chain_id != network.chain_id and not routed) or not same_address(
        receipt.inference or "0x", network.inference
    ):
        raise ConfigError(
            f"receipt {receipt.id} is of chain {receipt.chain_id}, contract {receipt.inference or 'unknown'}; "
            f"{network.name} is chain {network.chain_id}, contract {network.inference}",
            code="other_network",
            hint="choose its network (--network, --rpc)",
        )
    records = await _Records(receipt, chain).read()
    facts: dict[str, str | int] = {"backend": receipt.backend, "realm": f"eip155:{network.chain_id}"}
    facts |= {"inference": network.inference, "ledger": network.ledger, "provider": receipt.provider}
    if routed:  # what only the Router says
        facts = {"inference": network.inference, "provider": receipt.provider}
    services, complete = records
    if not services:
        return Anchor("the chain, where the provider is not registered", complete=complete, facts=facts)
    return Anchor("the chain", tuple(each.signer for each in services), tuple(services), complete, facts)


class _Records:
    """The records of a receipt's provider that can have been in force during the call."""

    def __init__(self, receipt: Receipt, chain: ChainReader) -> None:
        self._receipt = receipt
        self._chain = chain

    async def read(self) -> tuple[list[ServiceRecord], bool]:
        """The records, and whether these are all."""
        receipt = self._receipt
        services: list[ServiceRecord] = []
        unchanged = False
        try:
            now = await self._chain.service(receipt.provider, fresh=True)
            services.append(now)
            unchanged = await self._is_older(now)
        except ConfigError:  # the provider has left
            pass
        known = unchanged
        if receipt.service_block is not None:
            try:
                services += await self._about(receipt.service_block)
                # A key that is not the record's was read later, at a moment that the receipt does not name.
                known |= receipt.service is not None and same_address(
                    receipt.verdict.expected_signer, receipt.service.signer
                )
            except ChainError:  # nodes forget old state
                pass
        return list(dict.fromkeys(services)), known

    async def _about(self, block: int) -> list[ServiceRecord]:
        """The record at `block`; that is the newest one before it was read, so a few later ones if it is another."""
        found: list[ServiceRecord] = []
        for number in range(block, block + _LATER_BLOCKS):
            try:
                found.append(await self._chain.service_at(self._receipt.provider, number))
            except ConfigError:  # it was not registered then
                pass
            except ChainError:
                if number == block:
                    raise
                break  # the chain is not that long yet
            if self._receipt.service in found:
                break
        return found

    async def _is_older(self, now: ServiceRecord) -> bool:
        """Whether the newest record was there already when the receipt's was read."""
        block = self._receipt.service_block
        if block is None:
            return False
        try:
            return now.updated_at <= await self._chain.time_of(block)
        except ChainError:
            return False


async def resolve_late(stored: ReceiptStore, chain: ChainReader, transport: Transport) -> list[Receipt]:
    """Make the verdicts that are still pending in the store, as far as providers have the signatures.

    A verdict that found no signature, or could not read the chain, is tried again, too. Of a receipt, only what was
    exchanged is believed: signer and URL are read from the chain.

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
        before = each.verdict
        each.settle(await _late_verdict(each, chain, transport, guard))
        if each.verdict != before:
            await transport.blocking(stored.append, each)
    return waiting


async def _late_verdict(receipt: Receipt, chain: ChainReader, transport: Transport, guard: ReplayGuard) -> Verdict:
    backend = DirectBackend(
        network=chain.network,
        credential=cast("Any", None),  # signatures are public, and nothing is sent that costs
        chain=chain,
        transport=transport,
        policy=Policy(accept_models=renames_in(receipt.policy)),
        guard=guard,
    )
    nothing = Verdict(Status.UNAVAILABLE, Reason.RECORD_UNREADABLE, receipt.kind)
    try:
        now = await chain.service(receipt.provider, fresh=True)
    except (ConfigError, ChainError):  # the provider may have left: nobody says where to ask
        return nothing
    then = await _record_then(receipt, chain)
    # Signer and kind are those of then, where they can be known; where to ask is what the chain says now.
    record = now if then is None else replace(then, url=now.url)
    try:
        verdict = await backend.judge(DirectRoute.to(record, receipt.model, chain.network), rebuilt(receipt))
    except ConfigError:  # its URL is none that may be used
        return nothing
    if verdict.status is Status.FAILED and then is None and now != receipt.service:
        return nothing  # it may have been another key's, or another kind's, in its time
    return verdict


async def _record_then(receipt: Receipt, chain: ChainReader) -> ServiceRecord | None:
    if receipt.service_block is None:
        return None
    try:
        return await chain.service_at(receipt.provider, receipt.service_block)
    except (ConfigError, ChainError):  # it was not there yet, or the node has forgotten
        return None


def _unresolved(stored: ReceiptStore, chain: ChainReader) -> Sequence[Receipt]:
    # One row that is no receipt keeps no other call from its verdict.
    return stored.select(chain_id=chain.network.chain_id, unresolved=True, readable=True)


def _is_late(receipt: Receipt) -> bool:
    verdict = receipt.verdict
    if receipt.backend != DIRECT or receipt.service is None or not receipt.complete:
        return False
    return verdict.status is Status.PENDING or (verdict.status is Status.UNAVAILABLE and verdict.reason in _LATE)
