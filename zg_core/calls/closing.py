"""How a call ends: its receipt is closed and kept, its verdict made, its budget settled, and who listens is told."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from zg_core.calls import observing
from zg_core.crypto import same_address
from zg_core.errors import ConfigError, StreamTruncated
from zg_core.money import either
from zg_core.receipts.bounds import bounded, capped, doubted
from zg_core.receipts.opening import served
from zg_core.verify.usage import USAGE_IMPLAUSIBLE, implausible
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.backends.base import Backend, Correction
    from zg_core.calls.budgets import Counts
    from zg_core.calls.call import Call
    from zg_core.calls.replays import Replays
    from zg_core.http.transport import Transport
    from zg_core.money import Fee
    from zg_core.pricing import Asked
    from zg_core.receipts.model import Outcome, Receipt
    from zg_core.receipts.recorder import Recorder
    from zg_core.routing.failover import Chooser
    from zg_core.types import Kind
    from zg_core.verify.policy import Policy

__all__ = ["RECORD_CHANGED", "Closing"]

RECORD_CHANGED = "record_changed"
"""The flag of a receipt whose provider changed its record on chain while the call was under way."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Ended:
    """What is kept of a call that has ended, until a later read of the chain can correct its receipt no more."""

    receipt: Receipt
    asked: Asked
    budget: Counts | None = None
    held: int = 0
    counted: Fee | None = None
    written: bool = False
    counting: threading.Lock = field(default_factory=threading.Lock)
    changing: threading.Lock = field(default_factory=threading.Lock)


@cache
def _unproven(status: Status, reason: Reason, kind: Kind) -> Verdict:
    return Verdict(status, reason, kind)


def _at_most(fee: Fee, before: Fee, ended: _Ended, after: Correction) -> Fee:
    """`fee` with the bound that the prices that are known give it, where those in between are hidden.

    What is beyond is for the chain to show; a budget counts no less than before, and no less than was held.
    """
    bound = bounded(fee, ended.receipt, ended.asked, after.tariff).upper
    if fee.exact or fee.upper is not None or bound is None:
        return fee
    return replace(fee, upper=max(bound, before.most or 0, ended.held))


def _keep_images(call: Call) -> None:
    """The hashes of images are what was signed of them, so they are kept with the proof."""
    if call.exchange.images:
        evidence = call.receipt.evidence
        facts = {**evidence.facts, "images": list(call.exchange.images)}
        call.receipt.evidence = replace(evidence, facts=facts)


class Closing:
    """Ends the calls of one client.

    Args:
        backend: Knows fees and verdicts.
        transport: How background and blocking work is done.
        recorder: Where receipts are kept.
        policy: What is done with a verdict.
        replays: Knows old answers.
        chooser: Learns how calls end, None where nothing is routed.
        on_receipt: Told of every receipt.
        on_verdict: Told when a background check has ended.
    """

    def __init__(
        self,
        backend: Backend,
        transport: Transport,
        recorder: Recorder,
        policy: Policy,
        replays: Replays,
        *,
        chooser: Chooser | None,
        on_receipt: Callable[[Receipt], None] | None,
        on_verdict: Callable[[Receipt], None] | None,
    ) -> None:
        self._backend = backend
        self._transport = transport
        self._recorder = recorder
        self._policy = policy
        self._replays = replays
        self._chooser = chooser
        self._on_receipt = on_receipt
        self._on_verdict = on_verdict

    def unanswered(self, call: Call) -> Receipt:
        """Record that the request was sent and nothing came back."""
        self._counted_aside(self._close(call, "unknown"))
        call.receipt.settle(Verdict(Status.UNAVAILABLE, Reason.INCOMPLETE, call.route.service.kind))
        self._recorder.broken_off(call.receipt)
        self.keep(call.receipt)
        return call.receipt

    async def refused(self, call: Call) -> Receipt:
        """Record that the request was answered with a refusal.

        Whoever refused says that nothing was served, and that is not proven: what it can have cost at most stays on
        the receipt, to be disputed, and is not held in the budget; but where he was given a permit, he can be paid.
        """
        call.leave()
        receipt, exchange = call.receipt, call.exchange
        receipt.outcome = "refused"
        receipt.seconds = time.monotonic() - call.started
        receipt.chat_id, receipt.signature_ids = exchange.chat_id, exchange.chat_ids
        receipt.response_sha256, receipt.response_bytes = exchange.response_sha256, exchange.size
        receipt.response_body = None if call.kept is None else b"".join(call.kept)
        fee = receipt.fee
        upper = call.held if fee.upper is None and call.held and fee.amount.currency == "0G" else fee.upper
        receipt.fee = replace(fee, reason="refused", upper=upper)
        receipt.settle(Verdict(Status.NOT_CHECKED, Reason.REFUSED, receipt.kind))
        ended = _Ended(receipt, call.asked)  # a budget holds nothing for it any more
        call.route.rests(None, lambda after: self._raised(ended, after))
        try:
            if call.budget is not None:
                if call.budget.referee is not None:
                    call.budget.referee.refused(receipt.provider, receipt.fee.upper or 0)
                if call.grant is not None and call.grant.stands:
                    await self._surely(call.budget.settle, receipt, receipt.fee)
                else:
                    await self._surely(call.budget.release, receipt)
        finally:
            await self._keep_closed(receipt)
        return receipt

    async def unsent(self, call: Call) -> None:
        """Take back a call whose request never left: it cost nothing."""
        call.leave()
        try:
            await self._recorder.unsent(call.receipt)
        finally:
            if call.budget is not None:
                await self._surely(call.budget.release, call.receipt)

    async def _surely(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do `work`, which may be done twice, in a thread: though who waits for it goes before it is begun."""
        try:
            await self._transport.blocking(work, *arguments)
        except BaseException as error:
            if not isinstance(error, Exception):
                self._transport.aside(work, *arguments)
            raise

    def dropped(self, call: Call) -> None:
        """`unsent`, where nobody may wait."""
        call.leave()
        self.taken_back(call)

    def taken_back(self, call: Call) -> None:
        """Nothing is kept and held any more for a call whose request never left; again has no effect."""
        self._recorder.dropped(call.receipt)
        if call.budget is not None:
            self._transport.aside(call.budget.release, call.receipt)

    async def judge(self, call: Call, outcome: Outcome) -> Receipt:
        """Close the call, keep its receipt, and make the verdict as the policy says."""
        receipt = call.receipt
        call.leave()
        try:  # a verdict and an exact fee rest on a young record of who answered
            patient = self._policy.mode not in ("off", "background")
            call.route = await call.route.settled(patient=patient)
        except BaseException:
            self.abandon(call)
            raise
        ended, mode = self._close(call, outcome), self._policy.mode
        said = (Status.NOT_CHECKED, Reason.POLICY_OFF) if mode == "off" else (Status.PENDING, Reason.NONE)
        receipt.settle(_unproven(*said, receipt.kind))
        if mode == "off" or (mode == "background" and call.exchange.complete):
            try:
                await self._end(call, ended)
            finally:
                self.keep(receipt)
            if mode != "off":
                self._transport.spawn(lambda: self._judge_later(call), receipt.provider)
            return receipt
        try:
            await self._end(call, ended)
            receipt.settle(await self._verdict(call))
        except BaseException:  # broken off while checking: the store says pending, so it can be made up for
            receipt.settle(Verdict(Status.NOT_CHECKED, Reason.ABANDONED, receipt.kind))
            self.keep(receipt)
            raise
        try:
            await self._recorder.judged(receipt)
        finally:
            self.keep(receipt)
        return receipt

    async def _end(self, call: Call, ended: _Ended) -> None:
        """Count what the call cost, note the marks of its reply, and write that it has ended."""
        marks = self._replays.arrived(call)
        if not self._recorder.keeps:
            self._counted_aside(ended)
            return
        await self._surely(self._write_end, call, ended, marks)

    def _write_end(self, call: Call, ended: _Ended, marks: frozenset[bytes]) -> None:
        receipt, budget = ended.receipt, ended.budget
        with ended.counting:
            if ended.written:
                return
            fee = receipt.fee
            self._recorder.ended(
                receipt,
                lambda: self._settle(ended, fee),
                () if budget is None else budget.stores,
                marks,
                lambda old: self._replays.known(call, old),
            )
            ended.counted, ended.written = fee, True

    async def _verdict(self, call: Call) -> Verdict:
        verdict = await self._backend.verify(call)
        _keep_images(call)
        self._replays.judged(call, verdict)
        if not call.exchange.cut:
            return verdict
        if verdict.reason is Reason.CONTENT_MISMATCH:  # what is missing may be the difference
            return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.INCOMPLETE)
        if verdict.satisfies(Status.RESPONSE_BOUND):  # the signature says that nothing is missing
            call.receipt.complete = True
            await self._recorder.closed(call.receipt)
        return verdict

    async def _keep_closed(self, receipt: Receipt) -> None:
        try:
            await self._recorder.closed(receipt)
        finally:
            self.keep(receipt)

    async def _judge_later(self, call: Call) -> None:
        verdict = Verdict(Status.UNAVAILABLE, Reason.NO_SIGNATURE, call.receipt.kind)
        try:
            verdict = await self._verdict(call)
        except Exception:
            logger.exception("background verification of receipt %s failed", call.receipt.id)
        finally:
            call.receipt.settle(verdict)
            if self._chooser is not None:
                self._chooser.judged(call.receipt)
            await self._recorder.judged(call.receipt)
            observing.tell("judged", call.receipt)
            self._tell(self._on_verdict, call.receipt)

    def _close(self, call: Call, outcome: Outcome) -> _Ended:
        """What the call has come to is on its receipt; it is to be counted and written."""
        call.leave()
        receipt, exchange = call.receipt, call.exchange
        receipt.outcome = outcome
        receipt.seconds = time.monotonic() - call.started
        receipt.chat_id = exchange.chat_id
        receipt.response_sha256 = exchange.response_sha256
        receipt.response_bytes = exchange.size
        receipt.usage = call.usage
        receipt.signature_ids = exchange.chat_ids
        receipt.complete = exchange.complete and not exchange.cut
        _keep_images(call)
        receipt.response_body = None if call.kept is None else b"".join(call.kept)
        if outcome == "answered":
            self._price(call)
        ended = _Ended(receipt, call.asked, call.budget, call.held or 0)
        changed = self._changed if outcome == "answered" else self._raised
        call.route.rests(call.usage, lambda after: changed(ended, after))
        if self._chooser is not None:
            self._chooser.measured(call, outcome)
        return ended

    async def elsewhere(self, call: Call) -> Verdict:
        """The verdict on an exchange that was made elsewhere: nothing is kept of it, since it is no call of ours."""
        receipt, exchange = call.receipt, call.exchange
        receipt.outcome = "answered"
        receipt.chat_id, receipt.signature_ids = exchange.chat_id, exchange.chat_ids
        receipt.response_sha256, receipt.response_bytes = exchange.response_sha256, exchange.size
        receipt.usage, receipt.complete = call.usage, exchange.complete and not exchange.cut
        receipt.response_body = None if call.kept is None else b"".join(call.kept)
        _keep_images(call)
        self._price(call)
        verdict = await self._backend.verify(call)
        _keep_images(call)
        if exchange.cut and verdict.reason is Reason.CONTENT_MISMATCH:
            return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.INCOMPLETE)
        receipt.complete = receipt.complete or verdict.satisfies(Status.RESPONSE_BOUND)
        return verdict

    def _price(self, call: Call) -> None:
        """What an answered call cost."""
        receipt, exchange = call.receipt, call.exchange
        served(receipt, call.route.service)
        doubt = implausible(call.usage, exchange.request, exchange.size, call.asked)
        doubt = doubt or ("counts that are none" if call.odd_usage else "")
        fee = self._backend.fee(call)
        if doubt and call.usage is not None:
            fee = doubted(fee, receipt, call.asked, call.route.service.tariff)
        receipt.fee = bounded(fee, receipt, call.asked, call.route.service.tariff)
        if call.grant is not None:
            receipt.fee = capped(receipt.fee, call.grant.most)
        if doubt:
            receipt.flags = (*receipt.flags, USAGE_IMPLAUSIBLE)
            logger.warning("receipt %s: %s reports %s", receipt.id, receipt.provider, doubt)

    def _changed(self, ended: _Ended, after: Correction) -> None:
        """The record that an answered call rests on may have changed before it ended: take back what is doubtful.

        What it cost lies between both prices then, and a key that the record no longer names proves nothing; whether
        it did when it signed cannot be told, so nobody is accused.
        """
        with ended.changing:
            self._change(ended, after)

    def _change(self, ended: _Ended, after: Correction) -> None:
        receipt = ended.receipt
        fee, known, before = after.fee, receipt.verdict, receipt.fee
        verdict = known
        named = bool(after.signer) and same_address(verdict.recovered_signer, after.signer)
        if verdict.recovered_signer and verdict.status is not Status.FAILED and not named:
            verdict = replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_CHANGED)
        if fee.reason != "price_changed" and verdict is known and after.kind is receipt.kind:
            return  # a change that this receipt says nothing of
        if fee.reason != "price_changed" or USAGE_IMPLAUSIBLE in receipt.flags:
            fee = before
        elif before.reason == "price_changed":  # there was more than one change
            fee = either(before, fee, "price_changed")
        fee = _at_most(fee, before, ended, after)
        if RECORD_CHANGED in receipt.flags and fee == before and verdict == known:
            return
        if RECORD_CHANGED not in receipt.flags:
            receipt.flags = (*receipt.flags, RECORD_CHANGED)
        if fee != before:
            receipt.fee = fee
            self._counted_aside(ended)
        if verdict is not known:  # else the verdict may have come meanwhile, and must not be taken back
            receipt.settle(verdict)
        logger.warning(
            "receipt %s: the record of %s changed while the call was under way; verdict %s, fee %s",
            receipt.id,
            receipt.provider,
            receipt.verdict.status,
            "exact" if receipt.fee.exact else "not exact",
        )
        self._transport.spawn(lambda: self._corrected(receipt))

    def _raised(self, ended: _Ended, after: Correction) -> None:
        """The record may have changed before a call without an answer ended: its bound follows a raised price."""
        receipt = ended.receipt
        fee = bounded(replace(receipt.fee, upper=None), receipt, ended.asked, after.tariff)
        if receipt.fee.upper is None or fee.upper is None or fee.upper <= receipt.fee.upper:
            return
        receipt.fee = replace(receipt.fee, upper=fee.upper)
        if RECORD_CHANGED not in receipt.flags:
            receipt.flags = (*receipt.flags, RECORD_CHANGED)
        self._counted_aside(ended)
        self._transport.spawn(lambda: self._corrected(receipt))

    async def _corrected(self, receipt: Receipt) -> None:
        async with self._transport.lock("corrections"):  # of two of one receipt, the later is written last
            await self._recorder.closed(receipt)  # fee and flags, too
            if receipt.verdict.status is not Status.PENDING:  # one that is yet to come is written when it does
                await self._recorder.judged(receipt)
        if self._chooser is not None:
            self._chooser.judged(receipt)
        observing.tell("judged", receipt)
        self._tell(self._on_verdict, receipt)

    def _counted_aside(self, ended: _Ended) -> None:
        if ended.budget is not None:
            self._transport.aside(self._count, ended)

    def _count(self, ended: _Ended) -> None:
        """Count what the call cost; a fee that was corrected since, by its difference."""
        receipt = ended.receipt
        with ended.counting:
            fee = receipt.fee
            try:
                self._settle(ended, fee)
            except ConfigError as error:  # must not cost the user a paid answer; the whole amount stays held
                logger.warning("receipt %s could not be settled in its budget: %s", receipt.id, error.message)
            ended.counted = fee

    @staticmethod
    def _settle(ended: _Ended, fee: Fee) -> None:
        budget, before = ended.budget, ended.counted
        if budget is None:
            return
        if before is None:
            budget.settle(ended.receipt, fee)
        elif before != fee:
            budget.recount(ended.receipt, before, fee)

    def abandon(self, call: Call) -> None:
        """Record that the reader broke off."""
        self._counted_aside(self._close(call, "abandoned"))
        self._replays.left(call)
        call.receipt.settle(Verdict(Status.NOT_CHECKED, Reason.ABANDONED, call.receipt.kind))
        self._recorder.broken_off(call.receipt)
        self.keep(call.receipt)

    async def truncated(self, call: Call, reason: str, text: str) -> StreamTruncated:
        """Record that the reply ended before its end; the error to raise."""
        if call.response is not None:
            await call.response.close()
        receipt = await self.judge(call, "truncated")
        return StreamTruncated(
            f"the reply of {receipt.provider} ended before its end: {reason}",
            hint="error.text holds what arrived; the provider may bill it",
            receipt=receipt,
            text=text,
        )

    def keep(self, receipt: Receipt) -> None:
        """Store the receipt of a call that has ended and tell the listener."""
        self._recorder.kept(receipt)
        if self._chooser is not None:
            self._chooser.judged(receipt)
        observing.tell("ended", receipt)
        self._tell(self._on_receipt, receipt)

    @staticmethod
    def _tell(listener: Callable[[Receipt], None] | None, receipt: Receipt) -> None:
        if listener is None:
            return
        try:
            listener(receipt)
        except Exception:  # a listener must not cost the user a paid answer
            logger.exception("a receipt listener failed for receipt %s", receipt.id)
