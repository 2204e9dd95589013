"""Transactions: one intention is one transaction, whatever nodes answer on the way.

A transaction is first run locally (``eth_call``), so that one which would revert is never sent. Its nonce comes from
the store (`zg_core.chain.nonces`), its price stays under the caps of `Sending`, and no two are alike: a few random
units of gas make its hash proof of who signed it. Another nonce is taken only once nothing that was signed for the
first can be mined any more (`zg_core.chain.traces`); any answer to a broadcast that is not a known, final refusal ends,
at the latest after `Sending.timeout`, as ``transaction_pending``. Whoever asks for the same again then is told of the
first.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from zg_core.chain.earlier import Earlier
from zg_core.chain.encoding import Unsigned
from zg_core.chain.failures import RpcFailure
from zg_core.chain.fees import Lid
from zg_core.chain.flights import Desk, Flight, Handed
from zg_core.chain.heartbeat import beating
from zg_core.chain.intentions import Intention, Intentions
from zg_core.chain.nonces import Nonces
from zg_core.chain.preflight import Preflight
from zg_core.chain.results import AnyContract, TransactionResult, refusal, result_of
from zg_core.chain.rpc import JsonRpc, quantity
from zg_core.chain.sending import Sending
from zg_core.chain.telling import told_by_now, told_soon
from zg_core.chain.traces import Traces
from zg_core.chain.waiting import Watch
from zg_core.chain.words import Meaning, minimum
from zg_core.errors import ChainError, ConfigError, ZeroGError
from zg_core.progress import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.chain.encoding import Fees
    from zg_core.chain.intentions import Record
    from zg_core.chain.nonces import Lease
    from zg_core.chain.results import Contracts
    from zg_core.chain.traces import Seen
    from zg_core.config import Network
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener
    from zg_core.store import Store
    from zg_core.wallet import Wallet

__all__ = ["Handed", "Intention", "Sender", "Sending", "TransactionResult"]

logger = logging.getLogger(__name__)

_ATTEMPTS = 20
_PRICE_STEPS = 5


class Sender:
    """Sends transactions of one wallet.

    Args:
        network: The chain.
        transport: HTTP.
        wallet: Who signs and pays.
        store: Where nonces and intentions are kept; shared by all who use the wallet.
        sending: How patient to be, and at what price at most.
        contracts: What the contracts that are called mean.
        on_progress: Told what happens.
    """

    def __init__(
        self,
        network: Network,
        transport: Transport,
        wallet: Wallet,
        *,
        store: Store,
        sending: Sending | None = None,
        contracts: Contracts | None = None,
        on_progress: Listener | None = None,
    ) -> None:
        self.network = network
        self.wallet = wallet
        self.store = store
        self.sending = sending or Sending()
        """How patiently, and at what price at most."""
        self._transport = transport
        self._contracts = contracts or AnyContract()
        self._listener = on_progress
        self._rpc = JsonRpc(network.rpc_url, transport)
        self._preflight = Preflight(network, transport, self._rpc, sending=self.sending, contracts=self._contracts)

    async def send(
        self, what: str, to: str, data: str, value: int = 0, *, again: bool = False, handed: Handed | None = None
    ) -> TransactionResult:
        """Send a transaction and wait until it is mined.

        Args:
            what: The function's name, for messages.
            to: The contract.
            data: Calldata, 0x.
            value: Neuron sent along.
            again: Send even if the same was asked for before and its end was unclear.
            handed: Filled with what may have reached a node, also when this fails.

        Raises:
            TransactionReverted: the contract refuses; nothing was sent unless ``details["transaction"]`` is set.
            InsufficientFunds: the wallet cannot pay value and gas.
            ChainError: the chain cannot be reached, or gas is above the caps (``gas_too_expensive``): nothing was sent.
                It was not seen mined in time, or the same was asked for before and may still be mined
                (``transaction_pending``, ``details["transaction"]``). The same is mined since, and its caller was not
                told (``transaction_mined``), or its nonce is in use (``transaction_busy``); nothing was sent now.
            WrongChain: the RPC answers for another chain; nothing was sent.
        """
        account = _Account(self)
        call = {"from": self.wallet.address, "to": to, "data": data, "value": hex(value)}
        flight = Flight(what, call, Handed() if handed is None else handed)
        await self._transport.blocking(told_by_now, self.store)
        hidden: list[Record] = []
        if again:
            await self._transport.blocking(account.intentions.acknowledge, to, data, value)
        else:
            hidden = await account.earlier.refuse_repetition(what, to, data, value)
        gas, fees = await self._preflight.check(what, call)
        with beating(self.store):
            lease = await self._nonce_of(account, flight, hidden) if hidden else None
            flight.id = await self._transport.blocking(account.intentions.begin, what, to, data, value)
            if lease is not None:
                await self._transport.blocking(account.intentions.adopt, flight.id, [each.shown.id for each in hidden])
                flight.handed.forms.extend(form for each in reversed(hidden) for form in each.forms)
                flight.left = True
                fees = self._outbidding(flight, gas, fees)
            return await self._see_through(account, flight, gas, fees, lease)

    async def unsettled(self, to: str = "", data: str = "") -> list[Intention]:
        """What was asked for and had no clear end, as one look shows it now. Sends nothing.

        Args:
            to: Only calls of this contract.
            data: Only calls whose data begins so, 0x.

        Raises:
            ChainError: the chain cannot be read.
        """
        return await _Account(self).earlier.unsettled(to, data)

    async def resume(self, id_: str) -> TransactionResult:
        """Wait on for an intention whose end was unclear, and hand over the same transaction where a node lacks it.

        Nothing is signed that could be mined beside what was signed for it.

        Raises:
            ConfigError: there is none with this id (``unknown_intention``).
            TransactionReverted: it was mined and did nothing.
            ChainError: it was dropped (``nonce_taken``), its nonce is in use (``transaction_busy``), or it is still not
                seen mined (``transaction_pending``).
        """
        account = _Account(self)
        record = await self._transport.blocking(account.intentions.find, id_)
        if record is None or not record.forms:
            hint = "see `zerog pending` (Broker.pending())"
            raise ConfigError(f"nothing was sent under {id_!r}", code="unknown_intention", hint=hint)
        shown, last = record.shown, record.forms[-1]
        call = {"from": self.wallet.address, "to": shown.to, "data": record.data, "value": hex(shown.value.units)}
        flight = Flight(shown.what, call, Handed(list(record.forms)), id_, left=True, resumed=True)
        now, seen = await account.earlier.look(record)
        if seen is not None and seen.receipt is not None:
            return await self._result(account, flight, seen)
        if now.state == "dropped":
            raise self._dropped(flight)
        lease = await self._transport.blocking(partial(account.nonces.claim, used=True), last.nonce)
        if lease is None:
            raise ChainError(
                f"{shown.what}: nonce {last.nonce} of {self.wallet.address} is in use",
                code="transaction_busy",
                hint="look again with `zerog pending` in a moment",
                retryable=True,
                **flight.named(),
            )
        with beating(self.store):
            await self._transport.blocking(account.intentions.resume, id_)
            return await self._see_through(account, flight, last.gas, last.fees, lease)

    async def _see_through(
        self, account: _Account, flight: Flight, gas: int, fees: Fees, lease: Lease | None = None
    ) -> TransactionResult:
        """Send it and wait for it; however that ends, the store is told."""
        try:
            seen = await self._carry(account, flight, gas, fees, lease)
            result = await self._result(account, flight, seen)
        except ZeroGError as error:
            if flight.left:
                for name, fact in flight.named().items():
                    error.details.setdefault(name, fact)
            await self._transport.blocking(self._close, account, flight)
            raise
        except BaseException:  # broken off: what was sent may be mined
            self._transport.aside(self._close, account, flight)
            raise
        await self._transport.blocking(self._close, account, flight)
        told_soon(self.store, flight.id)
        return result

    def _close(self, account: _Account, flight: Flight) -> None:
        if not flight.left and flight.outcome is None:
            flight.handed.forms.clear()
        outcome = flight.outcome or ("unclear" if flight.handed.forms else None)
        try:
            account.intentions.close(flight.id, outcome)
            if flight.lease is None:
                return
            if outcome in ("mined", "reverted"):
                account.nonces.used(flight.lease)
            elif outcome == "unclear":
                account.nonces.let_go(flight.lease)
            else:
                account.nonces.give_back(flight.lease)
        except ConfigError:  # must not hide how the transaction itself has ended
            logger.exception("the store could not note how %s has ended", flight.what)

    async def _carry(self, account: _Account, flight: Flight, gas: int, fees: Fees, lease: Lease | None) -> Seen:
        """What is seen of it once it is mined."""
        resumed = flight.resumed
        for _ in range(_ATTEMPTS):
            flight.begin(lease or await self._lease(account))
            lease = None
            unsigned = Unsigned(
                self.network.chain_id,
                flight.nonce,
                flight.call["to"],
                int(flight.call["value"], 16),
                bytes.fromhex(flight.call["data"][2:]),
                gas,
                fees,
            )
            if not await account.desk.sign(flight, unsigned):
                if resumed:
                    break
                continue  # this process slept too long, and somebody else has the nonce now
            await self._broadcast(account, flight)
            sent, name, state = flight.handed.hashes[-1], "sent", "is on its way"
            if not flight.accepted:
                name, state = "handed_over", f"was handed over; whether the node has it is unclear ({flight.said})"
            message = f"{flight.what}: transaction {sent} {state}"
            tell(self._listener, name, message, transaction=sent, nonce=flight.nonce)
            seen = await account.watch.until_mined(flight)
            if seen is not None:
                return seen
            # Another transaction has its nonce, so that nothing of it can be mined any more. If a node had taken ours,
            # somebody has replaced it on purpose, unless it was one of our own that was taken for dead.
            forms = await self._transport.blocking(account.nonces.forms, flight.nonce)
            if resumed or (flight.accepted and all(form.hash != flight.taker for form in forms)):
                raise self._dropped(flight)
            if flight.lease is not None:
                await self._transport.blocking(account.nonces.used, flight.lease)
            flight.lease = None
        flight.outcome = None if resumed else "dropped"
        raise ChainError(
            f"{flight.what}: no free nonce was found in {_ATTEMPTS} attempts",
            code="nonce_contention",
            hint="another program sends with this wallet; share one ZEROG_STORE, or use one wallet each",
            retryable=True,
        )

    async def _nonce_of(self, account: _Account, flight: Flight, hidden: Sequence[Record]) -> Lease:
        """The nonce of what was asked for before and is seen nowhere: at most one of both can be mined then.

        Raises:
            ChainError: somebody uses it now (``transaction_busy``).
        """
        nonce = hidden[0].forms[-1].nonce
        for pause in (0.0, 0.2, 0.4, 0.8, 1.6):
            if pause:
                await self._transport.sleep(pause)
            lease = await self._transport.blocking(partial(account.nonces.claim, used=True), nonce)
            if lease is not None:
                return lease
        shown = hidden[0].shown
        raise ChainError(
            f"{flight.what}: nonce {nonce} of {self.wallet.address} is in use, and the same as now was asked for with "
            f"it at {shown.asked_at:%Y-%m-%d %H:%M:%S} UTC; nothing was sent now",
            code="transaction_busy",
            hint="try again in a moment; again=True (--again) sends another one",
            retryable=True,
            intention=shown.id,
            transaction=shown.hashes[-1],
        )

    def _outbidding(self, flight: Flight, gas: int, fees: Fees) -> Fees:
        """`fees`, high enough to take the place of what a node may keep, as far as the caps allow."""
        lid = Lid(self.sending, gas)
        for form in flight.handed.forms:
            dearer = lid.dearer(form.fees, self.sending.raise_percent)
            fees = fees if dearer is None else lid.over(fees.at_least(dearer))
        return fees

    async def _lease(self, account: _Account) -> Lease:
        """The next nonce, by what the node counts and what the store knows."""
        floor = await self._transport.blocking(account.nonces.floor)
        abandoned = await self._transport.blocking(account.nonces.abandoned)
        hashes = [(nonce, each) for nonce, listed in abandoned.items() for each in listed]
        for pause in (0.0, 0.2, 0.4, 0.8, 1.6):
            if pause:
                await self._transport.sleep(pause)
            mined, pending, *known = await self._preflight.read(
                [
                    *[("eth_getTransactionCount", [self.wallet.address, tag]) for tag in ("latest", "pending")],
                    *[("eth_getTransactionByHash", [each]) for _, each in hashes],
                ]
            )
            count = quantity(mined, "eth_getTransactionCount")
            if count >= floor:  # otherwise this node lags behind the one that told us before
                break
        else:
            await self._transport.blocking(account.nonces.rewind, count)
        waiting = quantity(pending, "eth_getTransactionCount")
        # An error is not "null": what the node does not tell may be there.
        alive = {nonce for (nonce, _), found in zip(hashes, known, strict=True) if found is not None}
        return await self._transport.blocking(account.nonces.take, count, waiting, alive)

    async def _broadcast(self, account: _Account, flight: Flight) -> None:
        """Hand over the first form with a nonce; dearer ones while the node finds it too cheap and the caps allow it.

        Raises:
            ChainError, InsufficientFunds: the node refuses for good, and is not seen to have it.
        """
        found = await account.desk.hand_over(flight)
        for _ in range(_PRICE_STEPS):
            old = flight.unsigned
            if found is not Meaning.TOO_CHEAP or old is None:
                break
            fees = Lid(self.sending, old.gas).dearer(old.fees, 50, minimum=minimum(flight.failure))
            if fees is None or not await account.desk.sign(flight, replace(old, fees=fees)):
                break
            found = await account.desk.hand_over(flight)
        if found not in (Meaning.REFUSED, Meaning.TOO_POOR) or flight.failure is None:
            return
        for pause in (0.0, 0.2, 0.4):  # the last node's word is not the first one's
            await self._transport.sleep(pause)
            try:
                seen = await account.traces.look(flight.handed.hashes, known=True)
            except ChainError:
                return
            if seen.known or seen.inconclusive or seen.mined > flight.nonce:
                return
        flight.outcome = "refused"
        raise self._refusal(flight.what, flight.failure)

    async def _result(self, account: _Account, flight: Flight, seen: Seen) -> TransactionResult:
        result = result_of(flight, seen, self._contracts)
        if isinstance(result, TransactionResult):
            message = f"{flight.what}: {result.hash} is in block {result.block}"
            tell(self._listener, "mined", message, transaction=result.hash, block=result.block)
            return result
        gas = next(form.gas for form in flight.handed.forms if form.hash == seen.hash)
        try:
            denied = await account.traces.contradicts(flight.call, seen.receipt or {}, gas)
        except ChainError:
            denied = False
        if denied:
            flight.outcome = None
            raise ChainError(
                f"{flight.what}: the RPC endpoint says that {seen.hash} was reverted in block {result['block']}, and "
                "would carry out the same after that block; whether it was done is unclear",
                code="rpc_junk",
                hint="ask another RPC endpoint what has changed; again=True (--again) sends another one",
                transaction=seen.hash,
                block=result["block"],
            )
        tell(self._listener, "reverted", f"{flight.what}: {seen.hash} was mined and reverted", **result)
        try:
            (why,) = await self._rpc.batch([("eth_call", [flight.call, hex(result["block"])])])
        except ChainError:
            why = None
        failure = why if isinstance(why, RpcFailure) else RpcFailure(3, "execution reverted", "0x")
        raise self._refusal(flight.what, failure, **result)

    def _refusal(self, what: str, failure: RpcFailure, **details: Any) -> ChainError:
        return refusal(what, failure, self._contracts, self.wallet.address, self.network, **details)

    def _dropped(self, flight: Flight) -> ChainError:
        flight.outcome = "dropped"
        last, taker = flight.handed.forms[-1], f" ({flight.taker})" if flight.taker else ""
        return ChainError(
            f"{flight.what}: another transaction of {self.wallet.address} took nonce {last.nonce}{taker}; this one "
            f"({last.hash}) was dropped",
            code="nonce_taken",
            hint="another program sends with this wallet; look at its transactions, then try again",
            **{**flight.named(), "taker": flight.taker},
        )


class _Account:
    """The parts that work for one account, made for each intention: they are cheap, and hold no state."""

    def __init__(self, sender: Sender) -> None:
        address, chain, store = sender.wallet.address, sender.network.chain_id, sender.store
        rpc, transport = sender._rpc, sender._transport  # noqa: SLF001 - a part of it
        self.nonces = Nonces(store, chain, address)
        self.intentions = Intentions(store, chain, address)
        self.traces = Traces(rpc, address)
        self.earlier = Earlier(transport, self.intentions, self.nonces, self.traces)
        self.desk = Desk(transport, rpc, sender.wallet, self.nonces)
        self.watch = Watch(
            transport,
            rpc,
            desk=self.desk,
            nonces=self.nonces,
            traces=self.traces,
            chain_id=chain,
            address=address,
            sending=sender.sending,
            listener=sender._listener,  # noqa: SLF001
        )
