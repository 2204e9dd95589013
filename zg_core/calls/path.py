"""The one path that every call takes, written once (architecture, "One call, end to end").

Everything here is a coroutine over a `Transport`; `zg_core.client` drives it with or without an event loop.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.changes import STEP
from zg_core.calls.call import Call, Reply, Slot, Tail
from zg_core.calls.gate import gate_of, pace_of
from zg_core.calls.retries import Attempts, Retries
from zg_core.config import blot
from zg_core.errors import (
    ConfigError,
    InsufficientFunds,
    NotAcknowledged,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    StreamTruncated,
    ZeroGError,
)
from zg_core.exchange import Exchange
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.jsontext import encode_body, parse_json
from zg_core.money import Amount, Fee
from zg_core.progress import tell
from zg_core.receipts.bounds import bounded
from zg_core.receipts.model import Receipt
from zg_core.receipts.recorder import Recorder
from zg_core.sse import DONE, SSEDecoder
from zg_core.tasks.chat import for_model, streaming, text_of
from zg_core.types import Usage
from zg_core.verify.usage import USAGE_IMPLAUSIBLE, implausible
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from zg_core.backends.base import Backend, Route
    from zg_core.budget import Spending
    from zg_core.calls.limits import Limits
    from zg_core.http.messages import Response
    from zg_core.http.timeouts import Timeouts
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener
    from zg_core.receipts.memory import MemoryReceipts
    from zg_core.receipts.model import Outcome
    from zg_core.receipts.stored import ReceiptStore
    from zg_core.routing.failover import Router
    from zg_core.store import Store
    from zg_core.verify.policy import Policy

__all__ = ["Call", "Calls", "Reply", "Slot", "Tail"]

logger = logging.getLogger(__name__)

CHAT_PATH = "/chat/completions"
MAX_REPLY_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 1024 * 1024


class Calls:
    """Sends requests through a backend, and makes receipts and verdicts of what comes back.

    `create` and `stream` are whole calls. The other public methods are their parts, for a transport below somebody
    else's client (`zg_core.openai_compat`).
    """

    def __init__(
        self,
        backend: Backend,
        transport: Transport,
        *,
        policy: Policy,
        receipts: MemoryReceipts,
        payer: Callable[[], str],
        limits: Limits | None,
        retries: Retries,
        timeouts: Timeouts,
        on_receipt: Callable[[Receipt], None] | None,
        on_verdict: Callable[[Receipt], None] | None,
        on_progress: Listener | None = None,
        stored: ReceiptStore | None = None,
        keep_bytes: bool = False,
        spending: Spending | None = None,
        router: Router | None = None,
        store: Store | None = None,
    ) -> None:
        self._spending = spending
        self._router = router
        self._backend = backend
        self._transport = transport
        self.policy = policy
        self._recorder = Recorder(receipts, stored, transport)
        self._keep_bytes = keep_bytes
        self._demand = policy.to_dict()
        self._payer = payer
        self._limits = limits
        self._store = store
        self._retries = retries
        self._timeouts = timeouts
        self._on_receipt = on_receipt
        self._on_verdict = on_verdict
        self._on_progress = on_progress

    async def create(self, payload: Mapping[str, Any], path: str = CHAT_PATH) -> Reply:
        """Send `payload`, read the whole answer, judge it."""
        call = await self._open(payload, path)
        parts: list[bytes] = []
        try:
            await self._consume(call, parts)
        except BodyBroken as error:
            partial = b"".join(parts).decode("utf-8", "replace")
            raise await self.truncated(call, error.reason, partial) from error
        except BaseException:
            self.abandon(call)
            raise
        call.exchange.complete = True
        try:
            body = parse_json(b"".join(parts))
            if not isinstance(body, dict):
                raise ValueError("not an object")  # noqa: TRY004 - caught below, like other junk
        except (ValueError, RecursionError):
            raise await self._junk(call, b"".join(parts)) from None
        call.usage = Usage.parse(body.get("usage"))
        call.exchange.body_id = _id_of(body)
        receipt = await self.judge(call, "answered")
        self.policy.enforce(receipt, text_of(body))
        return Reply(body, receipt)

    async def stream(self, payload: Mapping[str, Any], slot: Slot) -> AsyncGenerator[dict[str, Any], None]:
        """Send `payload` with ``stream``, yield its events as they come, judge the whole at the end.

        The receipt is in `slot` when the generator has ended, whichever way it ended.
        """
        try:
            call = await self._open(streaming(payload), CHAT_PATH)
        except OutcomeUnknown as error:
            slot.receipt = error.receipt
            raise
        slot.receipt = call.receipt
        hold = self.policy.stream == "hold"
        held: list[dict[str, Any]] = []
        assert call.response is not None  # noqa: S101 - _open returns with one
        decoder = SSEDecoder()
        tail: Tail | None = None
        try:
            async for chunk in call.response.chunks():
                self.take(call, chunk)
                for data in decoder.feed(chunk):
                    if (event := self.event(call, data)) is None:
                        continue
                    if hold:
                        held.append(event)
                    else:
                        yield event
                if call.done:
                    tail = tail or Tail(call.exchange.size)
                    tail.check(call.exchange.size)
            for data in decoder.flush():
                if (event := self.event(call, data)) is not None:
                    if hold:
                        held.append(event)
                    else:
                        yield event
            if not (call.done or call.finished):
                raise BodyBroken("the stream ended without its end")
        except (BodyBroken, ValueError) as error:
            reason = error.reason if isinstance(error, BodyBroken) else str(error)
            raise await self.truncated(call, reason, "".join(call.text)) from error
        except RequestError as error:
            await call.response.close()
            error.receipt = await self.judge(call, "failed")
            error.text = "".join(call.text)
            raise
        except BaseException:
            self.abandon(call)  # first: closing may be broken off, too
            await call.response.close()
            raise
        await call.response.close()
        call.exchange.complete = True
        receipt = await self.judge(call, "answered")
        if hold:
            self.policy.enforce(receipt, "".join(call.text))
        for event in held:
            yield event
        if not hold:
            self.policy.enforce(receipt, "".join(call.text))

    async def _open(self, payload: Mapping[str, Any], path: str) -> Call:
        model = payload.get("model")
        if not isinstance(model, str | None):
            message = f"model is a {type(model).__name__}, not text"
            raise ConfigError(message, code="bad_request_body", hint="pass model='…', or leave it out")
        attempts, router = Attempts(self._retries), self._router
        if router is None:
            route = await self._backend.route(model)
            body = encode_body(payload if model is not None else for_model(payload, route.model))
            once = partial(self._try, path, body, attempts, route)
        else:
            wanted = self._backend.target(model)
            body = encode_body(payload if model else for_model(payload, wanted))
            once = partial(router.open, wanted, payload, partial(self._try, path, body, attempts), attempts.wait)
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                return await once()
            except OutcomeUnknown as error:
                if (wait := attempts.wait(error)) is None:
                    raise
                unknown = error
            except ZeroGError as error:
                if unknown is None:
                    raise
                raise unknown from error  # an earlier attempt may be billed, and that counts more
            await self._transport.sleep(wait)

    async def _try(self, path: str, body: bytes, attempts: Attempts, route: Route, hasty: bool = False) -> Call:
        """A call of its own, with its own receipt, whose response has begun."""
        call = self.start(route, body)
        call.hasty = hasty
        headers = await self._backend.authorise(route)
        await self.depart(call)
        try:
            response = await self._send(call, path, headers, attempts)
        except OutcomeUnknown as error:
            error.receipt = self.unanswered(call)
            raise
        except ZeroGError:  # refused or never sent: it cost nothing
            call.leave()
            await self._recorder.refused(call.receipt)
            if self._spending is not None:
                await self._transport.blocking(self._spending.release, call.receipt)
            raise
        except BaseException:
            if call.sent:  # broken off while waiting for the answer, which may be billed all the same
                self.abandon(call)
            else:
                self.refused(call)
            raise
        call.response = response
        self.answered(call, response.status, response.headers, response.certificate_sha256)
        return call

    def start(self, route: Route, body: bytes) -> Call:
        """A call that is about to send `body`; it has cost nothing yet."""
        exchange = Exchange(body)
        receipt = Receipt(
            backend=self._backend.name,
            network=self._backend.network.name,
            chain_id=self._backend.network.chain_id,
            provider=route.service.provider,
            model=route.model,
            kind=route.service.kind,
            request_sha256=exchange.request_sha256,
            input_price=route.service.input_price,
            output_price=route.service.output_price,
            fee=Fee(Amount(0), exact=False, reason="outcome_unknown"),
            attestation=None if route.attestation is None else route.attestation.summary(),
            ledger=self._backend.network.ledger,
            inference=self._backend.network.inference,
            service=route.service,
            service_block=route.block,
            policy=self._demand,
            request_bytes=len(body),
            request_body=body if self._keep_bytes else None,
        )
        receipt.fee = bounded(receipt.fee, receipt, body, route.tariff)
        return Call(route, exchange, receipt, time.monotonic(), kept=[] if self._keep_bytes else None)

    @staticmethod
    def answered(call: Call, status: int, headers: Mapping[str, str], certificate_sha256: str) -> None:
        """Note the head of the response; names in `headers` are in lower case."""
        call.exchange.status = status
        call.exchange.headers = headers
        call.receipt.certificate_sha256 = certificate_sha256
        if call.place is not None:
            call.place.heard(headers, time.monotonic() - call.started)

    def unanswered(self, call: Call) -> Receipt:
        """Record that the request was sent and nothing came back."""
        self._close(call, "unknown")
        call.receipt.settle(Verdict(Status.UNAVAILABLE, Reason.INCOMPLETE, call.route.service.kind))
        self._recorder.broken_off(call.receipt)
        self.keep(call.receipt)
        return call.receipt

    def refused(self, call: Call) -> None:
        """Record that the request was never served: it cost nothing."""
        call.leave()
        self._recorder.dropped(call.receipt)
        if self._spending is not None:
            self._transport.aside(self._spending.release, call.receipt)

    async def depart(self, call: Call) -> None:
        """Wait as the limits ask, hold what it may cost, then note that the request is on its way."""
        if self._limits is not None:
            await self.queue(call)
        try:
            call.receipt.payer = self._payer()
            if self._spending is not None:
                reserve = self._spending.reserve
                route = call.route
                await self._transport.blocking(
                    reserve, call.receipt, route.service, call.exchange.request, route.tariff
                )
            try:
                await self._recorder.opened(call.receipt)
            except BaseException:
                self.refused(call)
                raise
        except BaseException:
            if call.place is not None:
                call.place.withdraw()
            raise
        self._backend.sent(call.route, call.exchange)

    async def queue(self, call: Call, until: float | None = None) -> None:
        """Wait until the limits let the next request of `call` go, or raise if that is after `until`."""
        if self._limits is None:
            return
        call.leave()
        key = self._backend.network.chain_id, self._payer(), call.receipt.provider
        pace = pace_of(self._store, *key)
        gate, patience = gate_of(*key), self._retries.deadline
        call.place = await gate.enter(self._transport, self._limits, pace=pace, patience=patience, until=until)

    async def _send(self, call: Call, path: str, headers: Mapping[str, str], attempts: Attempts) -> Response:
        while True:
            try:
                return await self._send_once(call, path, headers)
            except (InsufficientFunds, NotAcknowledged, SessionRejected, RateLimited, ProviderUnavailable) as error:
                call.sent = False
                call.leave()
                until = None
                if await self.second_chance(call, error):
                    headers = await self._backend.authorise(call.route)
                elif not call.hasty and (wait := attempts.wait(error)) is not None:
                    await self._transport.sleep(wait)
                    call.receipt.attempts += 1
                    until = attempts.until
                else:
                    raise
                await self.queue(call, until)

    async def second_chance(self, call: Call, error: ZeroGError) -> bool:
        """Whether to send again after a refusal, which was never answered and so never billed.

        While the provider may not have seen our own last transaction yet, this waits a moment; a session that was
        rejected is signed anew once, with what the chain says now.
        """
        if not isinstance(error, InsufficientFunds | NotAcknowledged | SessionRejected):
            return False
        if not call.hasty and (patience := await self._backend.patience(call.route, error)) > 0:
            await self._wait_for_provider(call, error, patience)
            return True
        if isinstance(error, SessionRejected) and not call.renewed:
            call.renewed = await self._backend.renew(call.route)
            return call.renewed
        return False

    def refusal(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """The error for a response that is not a success; names in `headers` are in lower case."""
        error = self._backend.refusal(call.route, status, headers, body)
        if call.place is not None:
            pause = error.details.get("retry_after") if status == 429 else 0.0
            call.place.heard(headers, time.monotonic() - call.started, pause)
        return error

    async def _wait_for_provider(self, call: Call, error: ZeroGError, patience: float) -> None:
        provider, seconds = call.receipt.provider, min(patience, STEP)
        tell(
            self._on_progress,
            "waiting_for_provider",
            f"provider {provider} does not see your last transaction yet ({error.code}); this takes at most "
            f"{patience:.0f} s more",
            provider=provider,
            code=error.code,
            seconds=patience,
        )
        await self._transport.sleep(seconds)

    async def _send_once(self, call: Call, path: str, headers: Mapping[str, str]) -> Response:
        request = Request(
            "POST",
            self._backend.url(call.route, path),
            {**headers, "Content-Type": "application/json"},
            call.exchange.request,
            self._timeouts,
            once=True,
            public=not call.route.service.private,
        )
        call.started = time.monotonic()
        call.sent = True
        response = await self._transport.send(request)
        if 200 <= response.status < 300:
            return response
        call.sent = False
        try:
            body = await read_all(response, _MAX_ERROR_BYTES)
        except BodyBroken:
            body = b""
        raise self.refusal(call, response.status, response.headers, body)

    async def _consume(self, call: Call, parts: list[bytes]) -> None:
        assert call.response is not None  # noqa: S101 - _open returns with one
        try:
            async for chunk in call.response.chunks():
                self.take(call, chunk)
                parts.append(chunk)
        finally:
            await call.response.close()

    @staticmethod
    def take(call: Call, chunk: bytes) -> None:
        """Hash the next bytes of the response.

        Raises:
            BodyBroken: the response has grown too large.
        """
        if call.exchange.size == 0:
            call.receipt.first_byte_seconds = time.monotonic() - call.started
        call.exchange.feed(chunk)
        if call.kept is not None:
            call.kept.append(chunk)
        if call.exchange.size > MAX_REPLY_BYTES:
            raise BodyBroken(f"the reply is larger than {MAX_REPLY_BYTES} bytes")

    @staticmethod
    def event(call: Call, data: bytes) -> dict[str, Any] | None:
        """Parse one event and note what the receipt needs of it; None for ``[DONE]``.

        Raises:
            RequestError: it is no JSON object, or carries the provider's error.
        """
        if data == DONE:
            call.done = True
            return None
        try:
            event = parse_json(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise RequestError("the stream holds an event that is no JSON object", code="malformed_reply")
        if not call.exchange.body_id:
            call.exchange.body_id = _id_of(event)
        if event.get("usage") is not None:
            call.usage = Usage.parse(event["usage"]) or call.usage
        choices = event.get("choices")
        if choices:
            for choice in choices if isinstance(choices, list) else ():
                if not isinstance(choice, dict):
                    continue
                delta = choice.get("delta")
                content = delta.get("content") if isinstance(delta, dict) else None
                if content and isinstance(content, str):
                    call.text.append(content)
                if choice.get("finish_reason"):
                    call.finished = True
        elif (error := event.get("error")) is not None:
            message = blot(str(error.get("message") if isinstance(error, dict) else error))[:2000]
            raise RequestError(f"the provider broke off with an error: {message}", code="error_in_stream")
        return event

    async def judge(self, call: Call, outcome: Outcome) -> Receipt:
        """Close the call, keep its receipt, and make the verdict as the policy says."""
        receipt = call.receipt
        self._close(call, outcome)
        if call.exchange.complete:
            self._backend.arrived(call.route, call.exchange)
            receipt.replayed = call.exchange.replayed
        if self.policy.mode == "off":
            receipt.settle(Verdict(Status.NOT_CHECKED, Reason.POLICY_OFF, receipt.kind))
            await self._keep_closed(receipt)
            return receipt
        receipt.settle(Verdict(Status.PENDING, kind=receipt.kind))
        if self.policy.mode == "background" and call.exchange.complete:
            await self._keep_closed(receipt)
            self._transport.spawn(lambda: self._judge_later(call))
            return receipt
        try:
            await self._recorder.closed(receipt)
            receipt.settle(await self._backend.verify(call.route, call.exchange))
        except BaseException:  # broken off while checking: the store says pending, so it can be made up for
            receipt.settle(Verdict(Status.NOT_CHECKED, Reason.ABANDONED, receipt.kind))
            self.keep(receipt)
            raise
        try:
            await self._recorder.judged(receipt)
        finally:
            self.keep(receipt)
        return receipt

    async def _keep_closed(self, receipt: Receipt) -> None:
        try:
            await self._recorder.closed(receipt)
        finally:
            self.keep(receipt)

    async def _judge_later(self, call: Call) -> None:
        verdict = Verdict(Status.UNAVAILABLE, Reason.NO_SIGNATURE, call.receipt.kind)
        try:
            verdict = await self._backend.verify(call.route, call.exchange)
        except Exception:
            logger.exception("background verification of receipt %s failed", call.receipt.id)
        finally:
            call.receipt.settle(verdict)
            if self._router is not None:
                self._router.judged(call.receipt)
            await self._recorder.judged(call.receipt)
            self._tell(self._on_verdict, call.receipt)

    def _close(self, call: Call, outcome: Outcome) -> None:
        call.leave()
        receipt, exchange = call.receipt, call.exchange
        receipt.outcome = outcome
        receipt.seconds = time.monotonic() - call.started
        receipt.chat_id = exchange.chat_id
        receipt.response_sha256 = exchange.response_sha256
        receipt.response_bytes = exchange.size
        receipt.usage = call.usage
        receipt.signature_ids = exchange.chat_ids
        receipt.complete = exchange.complete
        receipt.response_body = None if call.kept is None else b"".join(call.kept)
        if outcome == "answered":
            fee = self._backend.fee(call.route, call.usage)
            receipt.fee = bounded(fee, receipt, exchange.request, call.route.tariff)
            if doubt := implausible(call.usage, exchange.request, exchange.size):
                receipt.flags = (*receipt.flags, USAGE_IMPLAUSIBLE)
                logger.warning("receipt %s: %s reports %s", receipt.id, receipt.provider, doubt)
        if self._spending is not None:
            self._transport.aside(self._settle, receipt)
        if self._router is not None:
            self._router.measured(call, outcome)

    def _settle(self, receipt: Receipt) -> None:
        assert self._spending is not None  # noqa: S101 - asked by the caller
        try:
            self._spending.settle(receipt)
        except ConfigError as error:  # must not cost the user a paid answer; the whole amount stays held
            logger.warning("receipt %s could not be settled in its budget: %s", receipt.id, error.message)

    def abandon(self, call: Call) -> None:
        """Record that the reader broke off."""
        self._close(call, "abandoned")
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

    async def _junk(self, call: Call, body: bytes) -> RequestError:
        receipt = await self.judge(call, "failed")
        return RequestError(
            f"provider {receipt.provider} answered {call.exchange.status} with a body that is no JSON object",
            code="malformed_reply",
            hint="choose another provider; error.text holds the body",
            receipt=receipt,
            text=blot(body[:10_000].decode("utf-8", "replace")),
        )

    def keep(self, receipt: Receipt) -> None:
        """Store the receipt of a call that has ended and tell the listener."""
        self._recorder.kept(receipt)
        if self._router is not None:
            self._router.judged(receipt)
        self._tell(self._on_receipt, receipt)

    @staticmethod
    def _tell(listener: Callable[[Receipt], None] | None, receipt: Receipt) -> None:
        if listener is None:
            return
        try:
            listener(receipt)
        except Exception:  # a listener must not cost the user a paid answer
            logger.exception("a receipt listener failed for receipt %s", receipt.id)


def _id_of(body: Mapping[str, Any]) -> str:
    value = body.get("id")
    return value if isinstance(value, str) else ""
