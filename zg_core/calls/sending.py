"""How a request is sent: the route, the attempts, the place in the queue, the session, the budget held."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from zg_core.backends.direct.changes import STEP
from zg_core.calls import observing
from zg_core.calls.budgets import budgets_of
from zg_core.calls.call import Call
from zg_core.calls.gate import gate_of, pace_of
from zg_core.calls.pace import Word
from zg_core.calls.retries import Attempts
from zg_core.errors import (
    BudgetExceeded,
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
from zg_core.money import Amount, Fee
from zg_core.pricing import Asked
from zg_core.progress import tell
from zg_core.receipts.bounds import bounded
from zg_core.receipts.model import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.backends.former import Backend, Route
    from zg_core.budget import Spending
    from zg_core.calls.budgets import Counts
    from zg_core.calls.call import Ask
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
_REFUSAL_SECONDS = 10.0  # for its words; the status counts without them


class Sending:
    """Sends the requests of one client.

    Args:
        backend: Routes, sessions and refusals.
        transport: HTTP, time, locks.
        recorder: Where receipts are kept.
        closing: Ends calls that were not answered.
        replays: Knows the requests that were ours.
        spending: The client's budget, None without one; who runs a call may hold it to further ones.
        router: Chooses the provider of each call, None where one is chosen once and kept.
        demand: The policy as plain data, for receipts.
        payer: Asked for the account that pays when a request departs.
        limits: How fast, and how many at once; None without limits.
        later: Limits for a provider whose replies name a rate (`Gate.rated`), where there are no `limits`.
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
        later: Limits | None,
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
        self._later = later
        self._store = store
        self._retries = retries
        self._timeouts = timeouts
        self._on_progress = on_progress
        self._keep_bytes = keep_bytes
        self._headers = headers
        self._gives_away = gives_away

    async def open(self, ask: Ask) -> Call:
        """A call for `ask` whose response has begun.

        Raises:
            ConfigError, BudgetExceeded, ChainError: nothing was sent.
            RequestError: it was refused, or its outcome is unknown; each request that left has its receipt.
        """
        attempts, router = Attempts(ask.options.retries or self._retries), self._router
        if router is None:
            once = partial(self._unrouted, ask, attempts)
        else:
            wanted = self._backend.target(ask.model)
            body = _body(ask, wanted)
            once = partial(router.open, wanted, ask.payload, partial(self._try, ask, body, attempts), attempts.wait)
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                return await once()
            except OutcomeUnknown as error:
                if not _fits(budgets_of(self._spending), attempts) or (wait := attempts.wait(error)) is None:
                    raise
                unknown = error
            except ZeroGError as error:
                if unknown is not None:
                    raise unknown from error  # an earlier attempt may be billed, and that counts more
                if isinstance(error, BudgetExceeded) and attempts.refusal is not None:
                    raise _unaffordable(attempts.refusal, error.details["limit"]) from error
                # A read of the chain before anything was sent; what a router reports of all candidates has waited.
                again = isinstance(error, ChainError) and error.code != "all_failed"
                if not again or (wait := attempts.wait(error)) is None:
                    raise
            await self._transport.sleep(wait)

    async def _unrouted(self, ask: Ask, attempts: Attempts) -> Call:
        route = await self._backend.route(ask.model)
        return await self._try(ask, _body(ask, route.model), attempts, route)

    async def _try(
        self, ask: Ask, body: tuple[bytes, Asked], attempts: Attempts, route: Route, hasty: bool = False
    ) -> Call:
        """A call along `route` whose response has begun; each request of it has its own receipt."""
        renewed, until = False, None
        while True:
            call = self.start(route, *body)
            call.streamed, call.hasty = ask.streamed, hasty
            attempts.tries += 1
            call.receipt.attempts = attempts.tries
            headers = await self._backend.authorise(route)
            await self._depart(call, ask, until, earlier=attempts.held)
            try:
                return await self._once(call, ask, headers, attempts)
            except (InsufficientFunds, NotAcknowledged, SessionRejected, RateLimited, ProviderUnavailable) as error:
                if not _fits(call.budget, attempts) and not hasty:
                    if await self._would_repeat(call, error, attempts, renewed=renewed):
                        _unaffordable(error, "per_call")
                    raise
                chance = await self._second_chance(call, error, attempts, renewed=renewed)
                if chance is not None:
                    renewed, until = renewed or chance == "renewed", None
                elif not hasty and (wait := attempts.wait(error)) is not None:
                    await self._transport.sleep(wait)
                    until = attempts.until
                else:
                    raise

    async def _once(self, call: Call, ask: Ask, headers: Mapping[str, str], attempts: Attempts) -> Call:
        """Send the one request of `call`."""
        try:
            response = await self._send(call, ask, headers)
        except OutcomeUnknown as error:
            attempts.left(call.held)
            error.receipt = self._closing.unanswered(call)
            raise
        except ZeroGError as error:
            if call.sent:
                attempts.left(call.held, error)
                error.receipt = await self._closing.refused(call)
            else:
                await self._closing.unsent(call)
            raise
        except BaseException:
            if call.sent:  # broken off while waiting for the answer, which may be billed all the same
                self._closing.abandon(call)
            else:
                self._closing.dropped(call)
            raise
        call.response = response
        call.exchange.status, call.exchange.headers = response.status, response.headers
        call.receipt.certificate_sha256 = response.certificate_sha256
        if call.place is not None:
            call.place.heard(response.headers, time.monotonic() - call.started)
        if self._later is not None:
            word = Word.of(response.headers)
            gate_of(*self._key(call)).rated = word is not None and word.per_minute > 0
        return call

    def _key(self, call: Call) -> tuple[int, str, str]:
        """Where requests queue: chain, payer, provider."""
        return self._backend.network.chain_id, self._payer(), call.receipt.provider

    def start(self, route: Route, body: bytes, asked: Asked) -> Call:
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
        receipt.fee = bounded(receipt.fee, receipt, asked, route.tariff)
        call = Call(route, exchange, receipt, asked, time.monotonic(), kept=[] if self._keep_bytes else None)
        call.budget = budgets_of(self._spending)
        return call

    async def _depart(self, call: Call, ask: Ask, until: float | None, *, earlier: int) -> None:
        """Wait as the limits ask, hold what it may cost, then note that the request is on its way.

        Args:
            call: The call.
            ask: What is asked.
            until: When to give up waiting.
            earlier: What earlier requests of the same call may have cost, in neuron.

        Raises:
            ConfigError: it would give a secret of ours away (code ``secret_in_request``).
        """
        sent = (call.exchange.request, *(value.encode() for value in ask.options.headers.values()))
        if any(map(self._gives_away, sent)):
            raise ConfigError(
                "the request holds the key that pays; nothing was sent",
                code="secret_in_request",
                hint="look for it in the messages, parameters and headers of this call",
            )
        await self._queue(call, until)
        try:
            call.receipt.payer = self._payer()
            if call.budget is not None:
                reserve = partial(call.budget.reserve, earlier=earlier)
                route = call.route
                referee = call.budget.referee
                if referee is not None:
                    await referee.before(route.service, call.receipt.started_at.timestamp())
                held = call.receipt, route.service, call.asked, route.tariff
                try:
                    call.held = await self._transport.blocking(reserve, *held)
                except BudgetExceeded:
                    if referee is None or not await referee.again(route.service):
                        raise
                    call.held = await self._transport.blocking(reserve, *held)
            try:
                await self._recorder.opened(call.receipt)
            except BaseException:
                self._closing.dropped(call)
                raise
        except BaseException:
            if call.place is not None:
                call.place.withdraw()
            raise
        self._replays.sent(call)
        self._backend.sent(call.route, call.exchange)

    async def _queue(self, call: Call, until: float | None) -> None:
        if self._limits is None and self._later is None:
            return
        key = self._key(call)
        gate, patience = gate_of(*key), self._retries.deadline
        if (limits := self._limits or (self._later if gate.rated else None)) is None:
            return
        pace = pace_of(self._store, *key)
        call.place = await gate.enter(self._transport, limits, pace=pace, patience=patience, until=until)

    async def _would_repeat(self, call: Call, error: ZeroGError, attempts: Attempts, *, renewed: bool) -> bool:
        """Whether the request would be sent again, if one call might cost as much."""
        if attempts.wait(error) is not None or (isinstance(error, SessionRejected) and not renewed):
            return True
        mended = isinstance(error, InsufficientFunds | NotAcknowledged)
        if not mended or (patience := await self._backend.patience(call.route, error)) <= 0:
            return False
        error.hint = f"the provider does not see your last transaction yet; try again in at most {patience:.0f} s"
        return True

    async def _second_chance(
        self, call: Call, error: ZeroGError, attempts: Attempts, *, renewed: bool
    ) -> Literal["waited", "renewed"] | None:
        """Whether to send again after a refusal that a moment, or a new session, may mend.

        While the provider may not have seen our own last transaction yet, this waits a moment; a session that was
        rejected is signed anew once, with what the chain says now.
        """
        if not isinstance(error, InsufficientFunds | NotAcknowledged | SessionRejected):
            return None
        if not call.hasty and (patience := await self._backend.patience(call.route, error)) > 0:
            await self._wait_for_provider(call, error, patience, _pause(call.budget, attempts, patience))
            return "waited"
        again = isinstance(error, SessionRejected) and not renewed and await self._backend.renew(call.route)
        return "renewed" if again else None

    async def _wait_for_provider(self, call: Call, error: ZeroGError, patience: float, seconds: float) -> None:
        provider = call.receipt.provider
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

    async def _send(self, call: Call, ask: Ask, headers: Mapping[str, str]) -> Response:
        request = Request(
            "POST",
            self._backend.url(call.route, ask.path),
            {**self._headers, **ask.options.headers, **headers, "Content-Type": "application/json"},
            call.exchange.request,
            ask.options.timeouts or self._timeouts,
            once=True,
            public=not call.route.service.private,
        )
        call.started = time.monotonic()
        call.sent = True
        observing.tell("sent", call)
        try:
            response = await self._transport.send(request)
        except OutcomeUnknown:
            raise
        except ZeroGError:
            call.sent = False  # no connection: it never left
            observing.tell("unsent", call.receipt)
            raise
        if 200 <= response.status < 300:
            return response
        call.exchange.status, call.exchange.headers = response.status, response.headers
        response.hurry(_REFUSAL_SECONDS)
        try:
            body = await read_all(response, _MAX_ERROR_BYTES)
        except BodyBroken:
            body = b""
        call.exchange.feed(body)
        if call.kept is not None:
            call.kept.append(body)
        raise self._refusal(call, response.status, response.headers, body)

    def _refusal(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """The error for a response that is not a success; names in `headers` are in lower case."""
        error = self._backend.refusal(call.route, status, headers, body)
        pause, age = error.details.get("retry_after") if status == 429 else 0.0, time.monotonic() - call.started
        if call.place is not None:
            call.place.heard(headers, age, pause)
        elif status == 429 and self._later is not None:
            self._rated(call, self._later, Word.of(headers, pause), age)
        return error

    def _rated(self, call: Call, limits: Limits, word: Word | None, age: float) -> None:
        """Believe a provider that refuses and names its rate; what its replies say counts more."""
        key = self._key(call)
        gate = gate_of(*key)
        if word is None or not word.per_minute or gate.rated is False:
            return
        gate.rated = True
        pace = pace_of(self._store, *key) or gate.pace
        said = replace(word, remaining=0, pause=0.0)  # the repeat waits
        if pace.blocking:
            self._transport.aside(pace.heard, said, age, limits)
        else:
            pace.heard(said, age, limits)


def _fits(budget: Counts | None, attempts: Attempts) -> bool:
    """Whether one more request like the last fits what one call may cost."""
    return budget is None or budget.fits_call(attempts.held + attempts.last)


def _pause(budget: Counts | None, attempts: Attempts, patience: float) -> float:
    """Seconds between two attempts: a moment, or so many that those which one call may cost last to the end.

    Else who waits for his own deposit would have used them up, each held at what it might cost, before it is seen.
    """
    most = math.ceil(patience / STEP)
    units = (attempts.held + number * attempts.last for number in range(1, most + 1))
    fitting = most if budget is None else sum(map(budget.fits_call, units))
    return min(patience, STEP) if fitting == most else patience / max(fitting, 1)


def _body(ask: Ask, model: str) -> tuple[bytes, Asked]:
    """The bytes of a request, and what they say that bears on its cost."""
    data = ask.body(model)
    return data, Asked.of(ask.payload, len(data))


def _unaffordable(refusal: ZeroGError, limit: str) -> ZeroGError:
    """`refusal`, with the reason why the request is not sent again."""
    reason = f"it is not sent again, because each attempt may be billed and counts against the budget's {limit}"
    if reason not in refusal.hint:
        refusal.hint = f"{refusal.hint}; {reason}" if refusal.hint else reason
    return refusal
