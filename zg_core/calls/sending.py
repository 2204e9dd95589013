"""How a request is sent: the route, the attempts, the place in the queue, the session, the budget held."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.changes import STEP
from zg_core.calls.call import Call, Options
from zg_core.calls.gate import gate_of, pace_of
from zg_core.calls.retries import Attempts
from zg_core.errors import (
    ChainError,
    ConfigError,
    InsufficientFunds,
    NotAcknowledged,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    SessionRejected,
    ZeroGError,
)
from zg_core.exchange import Exchange
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.jsontext import encode_body
from zg_core.money import Amount, Fee
from zg_core.progress import tell
from zg_core.receipts.bounds import bounded
from zg_core.receipts.model import Receipt
from zg_core.tasks.chat import for_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.backends.base import Backend, Route
    from zg_core.budget import Spending
    from zg_core.calls.closing import Closing
    from zg_core.calls.limits import Limits
    from zg_core.calls.replays import Replays
    from zg_core.calls.retries import Retries
    from zg_core.http.messages import Response
    from zg_core.http.timeouts import Timeouts
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener
    from zg_core.receipts.recorder import Recorder
    from zg_core.routing.failover import Router
    from zg_core.store import Store

__all__ = ["Sending"]

_MAX_ERROR_BYTES = 1024 * 1024


class Sending:
    """Sends the requests of one client.

    Args:
        backend: Routes, sessions and refusals.
        transport: HTTP, time, locks.
        recorder: Where receipts are kept.
        closing: Ends calls that were not answered.
        replays: Knows the requests that were ours.
        spending: The budget, None without one.
        router: Chooses the provider of each call, None where one is chosen once and kept.
        demand: The policy as plain data, for receipts.
        payer: Asked for the account that pays when a request departs.
        limits: How fast, and how many at once; None without limits.
        store: Where turns are counted beyond this process.
        retries: What may be sent again.
        timeouts: How long a response may keep one waiting.
        on_progress: Told when a call waits for the provider.
        keep_bytes: Whether receipts hold the bytes.
        headers: What is sent beside our own headers.
        gives_away: Whether bytes hold a secret of ours.
    """

    def __init__(
        self,
        backend: Backend,
        transport: Transport,
        recorder: Recorder,
        closing: Closing,
        replays: Replays,
        *,
        spending: Spending | None,
        router: Router | None,
        demand: dict[str, Any],
        payer: Callable[[], str],
        limits: Limits | None,
        store: Store | None,
        retries: Retries,
        timeouts: Timeouts,
        on_progress: Listener | None,
        keep_bytes: bool,
        headers: Mapping[str, str],
        gives_away: Callable[[bytes], bool],
    ) -> None:
        self._backend = backend
        self._transport = transport
        self._recorder = recorder
        self._closing = closing
        self._replays = replays
        self._spending = spending
        self._router = router
        self._demand = demand
        self._payer = payer
        self._limits = limits
        self._store = store
        self._retries = retries
        self._timeouts = timeouts
        self._on_progress = on_progress
        self._keep_bytes = keep_bytes
        self._headers = headers
        self._gives_away = gives_away

    async def open(self, payload: Mapping[str, Any], path: str, options: Options | None = None) -> Call:
        """A call for `payload` whose response has begun."""
        model = payload.get("model")
        if not isinstance(model, str | None):
            message = f"model is a {type(model).__name__}, not text"
            raise ConfigError(message, code="bad_request_body", hint="pass model='…', or leave it out")
        attempts, router, options = Attempts(self._retries), self._router, options or Options()
        if router is None:
            once = partial(self._try_route, path, payload, options, attempts)
        else:
            wanted = self._backend.target(model)
            body = encode_body(payload if model else for_model(payload, wanted))
            attempt = partial(self._try, path, body, options, attempts)
            once = partial(router.open, wanted, payload, attempt, attempts.wait)
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                return await once()
            except OutcomeUnknown as error:
                if (wait := attempts.wait(error)) is None:
                    raise
                unknown = error
            except ZeroGError as error:
                if unknown is not None:
                    raise unknown from error  # an earlier attempt may be billed, and that counts more
                # The chain is read before a request leaves, or after one was refused.
                pause = attempts.wait(error) if isinstance(error, ChainError) else None
                if pause is None:
                    raise
                wait = pause
            await self._transport.sleep(wait)

    async def _try_route(self, path: str, payload: Mapping[str, Any], options: Options, attempts: Attempts) -> Call:
        model = payload.get("model")
        route = await self._backend.route(model)
        body = encode_body(payload if model is not None else for_model(payload, route.model))
        return await self._try(path, body, options, attempts, route)

    async def _try(  # noqa: PLR0917 - the first are the same for every attempt
        self, path: str, body: bytes, options: Options, attempts: Attempts, route: Route, hasty: bool = False
    ) -> Call:
        """A call of its own, with its own receipt, whose response has begun."""
        call = self.start(route, body)
        call.hasty, call.options = hasty, options
        headers = await self._backend.authorise(route)
        await self.depart(call)
        try:
            response = await self._send(call, path, headers, attempts)
        except OutcomeUnknown as error:
            error.receipt = self._closing.unanswered(call)
            raise
        except ZeroGError:  # refused or never sent: it cost nothing
            call.leave()
            await self._recorder.refused(call.receipt)
            if self._spending is not None:
                await self._transport.blocking(self._spending.release, call.receipt)
            raise
        except BaseException:
            if call.sent:  # broken off while waiting for the answer, which may be billed all the same
                self._closing.abandon(call)
            else:
                self._closing.refused(call)
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

    async def depart(self, call: Call) -> None:
        """Wait as the limits ask, hold what it may cost, then note that the request is on its way.

        Raises:
            ConfigError: it would give a secret of ours away (code ``secret_in_request``).
        """
        sent = (call.exchange.request, *(value.encode() for value in call.options.headers.values()))
        if any(map(self._gives_away, sent)):
            raise ConfigError(
                "the request holds the key that pays; nothing was sent",
                code="secret_in_request",
                hint="look for it in the messages, parameters and headers of this call",
            )
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
                self._closing.refused(call)
                raise
        except BaseException:
            if call.place is not None:
                call.place.withdraw()
            raise
        self._replays.sent(call)
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
            {**self._headers, **call.options.headers, **headers, "Content-Type": "application/json"},
            call.exchange.request,
            call.options.timeouts or self._timeouts,
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
