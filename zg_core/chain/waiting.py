"""Waiting for a transaction: whoever waits looks after the queue.

One that the node has lost is sent again, one that is stuck is replaced at a higher fee, a gap that a dead process left
is filled. What a node says or leaves out is believed only as far as it shows it (`zg_core.chain.traces`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from zg_core.chain.encoding import Unsigned
from zg_core.chain.fees import PRICES, Lid, quoted
from zg_core.chain.nonces import Form
from zg_core.chain.rpc import quantity
from zg_core.chain.traces import block_of
from zg_core.chain.words import Meaning
from zg_core.errors import ChainError
from zg_core.progress import tell

if TYPE_CHECKING:
    from zg_core.chain.flights import Desk, Flight
    from zg_core.chain.nonces import Nonces
    from zg_core.chain.rpc import JsonRpc
    from zg_core.chain.sending import Sending
    from zg_core.chain.traces import Seen, Traces
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener

__all__ = ["Watch"]

_POLL = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
_TOLD_EVERY = 20.0
_TRANSFER_GAS = 21_000


class Watch:
    """Waits for the transactions of one account."""

    def __init__(
        self,
        transport: Transport,
        rpc: JsonRpc,
        *,
        desk: Desk,
        nonces: Nonces,
        traces: Traces,
        chain_id: int,
        address: str,
        sending: Sending,
        listener: Listener | None,
    ) -> None:
        self._chain_id = chain_id
        self._transport = transport
        self._rpc = rpc
        self._address = address
        self._nonces = nonces
        self._traces = traces
        self._desk = desk
        self._sending = sending
        self._listener = listener

    async def until_mined(self, flight: Flight) -> Seen | None:
        """What is seen of it once it is mined; None if another transaction has its nonce (`Flight.taker`).

        Raises:
            ChainError: neither was seen in time (``transaction_pending``).
        """
        looks = 0
        while True:
            await self._transport.sleep(_POLL[min(looks, len(_POLL) - 1)])
            looks += 1
            trouble: ChainError | None = None
            try:
                seen = await self._traces.look(flight.handed.hashes)
                if seen.receipt is not None:
                    if await self._is_deep(seen):
                        return seen
                elif await self._care(flight, seen.mined):
                    return None
            except ChainError as error:  # a node that cannot be asked now says nothing about the transaction
                trouble = error
            now = time.monotonic()
            if now - flight.began > self._sending.timeout:
                raise late(flight, self._sending.timeout) from trouble
            if now - flight.told_at > _TOLD_EVERY:
                flight.told_at = now
                waiting = flight.handed.hashes[-1]
                message = f"{flight.what}: still waiting for {waiting}"
                tell(self._listener, "waiting", message, transaction=waiting)

    async def _is_deep(self, seen: Seen) -> bool:
        """Whether enough blocks lie on it."""
        if self._sending.confirmations == 1:
            return True
        (head,) = await self._rpc.batch([("eth_blockNumber", [])])
        block = block_of(seen.receipt or {})
        return block is not None and quantity(head, "eth_blockNumber") - block + 1 >= self._sending.confirmations

    async def _care(self, flight: Flight, mined: int) -> bool:
        """Whatever helps; whether another transaction has its nonce for good."""
        now = time.monotonic()
        if mined > flight.nonce:
            return await self._passed(flight, now)
        flight.passed = 0
        if mined == flight.nonce:
            await self._help_own(flight, now)
        else:
            await self._help_before(flight, mined, now)
        return False

    async def _passed(self, flight: Flight, now: float) -> bool:
        """The nonce is used, and no receipt of ours is there: by whom?"""
        flight.passed += 1
        # A node may know the count before the receipt.
        if flight.passed < 2 or now - flight.searched_at < self._sending.heal_after:
            return False
        flight.searched_at = now
        taker = await self._traces.taker(flight.nonce)
        ours = flight.handed.hashes
        if taker is None:  # the block cannot be found; but it may be one that we have signed for something else
            forms = await self._transport.blocking(self._nonces.forms, flight.nonce)
            others = [form.hash for form in forms if form.hash not in ours]
            taker = (await self._traces.look(others)).hash if others else None
        if taker in ours:
            flight.said = f"{taker} is in a block, and its receipt is not shown"
        if not taker or taker in ours:
            return False
        flight.taker = taker
        return True

    async def _help_own(self, flight: Flight, now: float) -> None:
        """Ours is the next one: send it again if the node has lost it, replace it if it is stuck."""
        if now - flight.signed_at > self._sending.stuck_after and not flight.occupied:
            await self._replace(flight)
            return
        seen = await self._traces.look(flight.handed.hashes, known=True)
        if seen.known:
            flight.accepted, flight.unknown_since = True, None
        elif flight.unknown_since is None:
            flight.unknown_since = now
        elif now - flight.unknown_since > self._sending.heal_after:
            flight.unknown_since = now
            await self._desk.hand_over(flight)
            tx_hash = flight.handed.hashes[-1]
            message = f"{flight.what}: the node did not know {tx_hash}; it was sent again"
            tell(self._listener, "resent", message, transaction=tx_hash)

    async def _replace(self, flight: Flight) -> None:
        """Sign the same at a higher fee, as far as the caps allow."""
        old = flight.unsigned
        assert old is not None  # noqa: S101 - one was signed
        flight.signed_at = time.monotonic()
        flight.percent += self._sending.raise_percent
        lid = Lid(self._sending, old.gas)
        asked, _ = quoted(await self._rpc.batch(PRICES))
        raised = lid.dearer(old.fees, flight.percent)
        if raised is None:
            message = f"{flight.what}: {flight.handed.hashes[-1]} is stuck, and a higher fee would be above the cap"
            tell(self._listener, "capped", message, transaction=flight.handed.hashes[-1], fee=old.fees.cap)
            return
        before = flight.handed.hashes[-1]
        new = replace(old, fees=lid.over(raised.at_least(asked)))
        if not await self._desk.sign(flight, new):
            return  # mined, as another process saw: the next look finds the receipt
        if await self._desk.hand_over(flight) is Meaning.SENT:
            flight.percent = 0
            tx_hash = flight.handed.hashes[-1]
            message = f"{flight.what}: {before} was stuck and is replaced by {tx_hash} at a higher fee"
            tell(self._listener, "replaced", message, transaction=tx_hash, replaced=before, nonce=flight.nonce)
        else:  # too cheap still, or unclear: the earlier form goes on waiting, and is what is sent and raised next time
            flight.unsigned = old
            flight.raws.append(flight.raws.pop(-2))

    async def _help_before(self, flight: Flight, missing: int, now: float) -> None:
        """An earlier nonce is missing: if nobody holds it, use it up with a transfer of nothing to ourselves."""
        if await self._transport.blocking(self._nonces.is_held, missing):
            flight.gap_since = None
            return
        if flight.gap_since is None:
            flight.gap_since = now
        if now - flight.gap_since <= self._sending.heal_after:
            return
        forms = await self._transport.blocking(self._nonces.forms, missing)
        if forms and (await self._traces.look([form.hash for form in forms], known=True)).known:
            return  # one of them waits there
        pending, *prices = await self._rpc.batch([("eth_getTransactionCount", [self._address, "pending"]), *PRICES])
        if quantity(pending, "eth_getTransactionCount") > missing:
            return  # the node has a transaction for it, of another program
        # Even one that counts as used: a node may have counted too many. If it is used, nothing comes of this.
        lease = await self._transport.blocking(partial(self._nonces.claim, used=True), missing)
        flight.gap_since = None
        if lease is None:
            return
        fees, needed = quoted(prices)
        lid = Lid(self._sending, _TRANSFER_GAS)
        # What a dead process may have sent must not win against it.
        for form in forms:
            fees = fees.at_least(form.fees)
        fees = lid.over(lid.on(fees, needed).raised(20))
        filler = Unsigned(self._chain_id, missing, self._address, 0, b"", _TRANSFER_GAS, fees)
        raw, tx_hash = self._desk.signed(filler)
        if await self._transport.blocking(self._nonces.sign, lease, Form.of(filler, tx_hash)):
            flight.handed.gaps.append(Form.of(filler, tx_hash))
            await self._desk.give(raw)
            await self._transport.blocking(self._nonces.let_go, lease)
            message = f"nonce {missing} was left unused by a failed send and is filled by {tx_hash}"
            tell(self._listener, "gap_filled", message, transaction=tx_hash, nonce=missing)


def late(flight: Flight, seconds: float) -> ChainError:
    """The error for one whose outcome is not known."""
    facts = flight.named()
    said = f"; the node's last word: {flight.said}" if flight.said else ""
    if not flight.left:
        return ChainError(
            f"{flight.what}: nothing was sent, the RPC endpoint could not be reached for {seconds:.0f} s{said}",
            code="rpc_unavailable",
            hint="check ZEROG_RPC_URL (rpc_url=…), or try again",
            retryable=True,
        )
    return ChainError(
        f"{flight.what}: transaction {facts['transaction']} is not seen mined after {seconds:.0f} s; it may still be"
        + said,
        code="transaction_pending",
        hint="look with `zerog pending` (Broker.pending()) before sending it again; it can be waited for there",
        **facts,
    )
