"""How a request is sent: the route, the attempts, the place in the queue, the session, the budget held."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from zg_core.backends.service import Grant
from zg_core.calls import observing
from zg_core.calls.budgets import budgets_of
from zg_core.calls.call import Call
from zg_core.calls.extra_headers import beside
from zg_core.calls.gate import gate_of, pace_of
from zg_core.calls.pace import Word
from zg_core.calls.retries import Attempts
from zg_core.config import Secret, SecretHeaders
from zg_core.errors import (
    BudgetExceeded,
    ChainError,
    ConfigError,
    InsufficientFunds,
    NotAcknowledged,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    SessionRejected,
    ZeroGError,
)
from zg_core.exchange import Exchange
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.provider_requests import provider_url
from zg_core.jsontext import encode_body
from zg_core.pricing import Asked
from zg_core.receipts.bounds import bounded, capped
from zg_core.receipts.opening import begun
from zg_core.shown.redaction import holds_token
from zg_core.tasks.base import CHAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from zg_core.backends.base import Backend, Body, Route
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
    from zg_core.receipts.recorder import Recorder
    from zg_core.routing.failover import Chooser
    from zg_core.routing.target import Target
    from zg_core.store import Store
    from zg_core.tasks.base import Task
    from zg_core.verify.policy import Policy

__all__ = ["Sending"]

_MENDED = (InsufficientFunds, NotAcknowledged, PaymentRequired, SessionRejected)
"""Refusals that a moment, a new session or a payment may mend: the backend is asked."""
_SECRET_HEADERS = frozenset({"authorization", "payment-signature", "x-api-key", "x-payment", "x-upto-session"})
_SECRET_LENGTH = 32  # with its scheme: what is shorter opens nothing, and may be a word
_UNSEEN = "the provider does not see your last transaction yet"
_STEP = 5.0  # seconds between two attempts while the other side may not see our own change yet
_MAX_ERROR_BYTES = 1024 * 1024
_LONG = 256 * 1024  # bytes of a request: what is longer is words, and looking through the rest costs less
_WORDS = frozenset({"file", "image", "input", "messages", "prompt"})
"""What people write as they like, others' keys among it; parameters are ours to look through."""
_REFUSAL_SECONDS = 10.0  # for its words; the status counts without them


class Sending:
    """Sends the requests of one client.

    Args:
        backend: Routes, bodies, grants and refusals.
        target: Who is called where nothing is routed.
        transport: HTTP, time, locks.
        recorder: Where receipts are kept.
        closing: Ends calls that were not answered.
        replays: Knows the requests that were ours.
        spending: The client's budget, None without one; who runs a call may hold it to further ones.
        chooser: Chooses the provider of each call, None where one is chosen once and kept.
        policy: What is demanded of replies.
        network: Name of the network, for receipts.
        limits: How fast, and how many at once; None without limits.
        later: Limits for a provider whose replies name a rate (`Gate.rated`), where there are no `limits`.
        store: Where turns are counted beyond this process.
        retries: What may be sent again.
        timeouts: How long a response may keep one waiting.
        keep_bytes: Whether receipts hold the bytes.
        headers: What is sent beside our own headers.
        gives_away: Whether bytes hold a key of ours; what grants let a request in with is looked for by itself.
    """

    def __init__(
        self,
        backend: Backend,
        target: Target,
        transport: Transport,
        *,
        recorder: Recorder,
        closing: Closing,
        replays: Replays,
        spending: Spending | None,
        chooser: Chooser | None,
        policy: Policy,
        network: str,
        limits: Limits | None,
        later: Limits | None,
        store: Store | None,
        retries: Retries,
        timeouts: Timeouts,
        keep_bytes: bool,
        headers: Mapping[str, str],
        gives_away: Callable[[bytes], bool],
    ) -> None:
        self._backend = backend
        self.target = target
        self._transport = transport
        self._recorder = recorder
        self._closing = closing
        self._replays = replays
        self._spending = spending
        self._chooser = chooser
        self._policy = policy
        self._demand = policy.to_dict()
        self._network = network
        self._limits = limits
        self._later = later
        self._store = store
        self._retries = retries
        self._timeouts = timeouts
        self._keep_bytes = keep_bytes
        self._headers = headers
        self._gives_away = gives_away
        self._granted: dict[str, tuple[SecretHeaders, Secret | None]] = {}  # by provider, what let a request in last

    async def open(self, ask: Ask) -> Call:
        """A call for `ask` whose response has begun.

        Raises:
            ConfigError, BudgetExceeded, ChainError: nothing was sent.
            RequestError: it was refused, or its outcome is unknown; each request that left has its receipt.
        """
        attempts, chooser = Attempts(ask.options.retries or self._retries), self._chooser
        if chooser is None:
            once = partial(self._unrouted, ask, attempts)
        else:
            wanted = self.target.model(ask.model)
            once = partial(chooser.open, wanted, ask.payload, partial(self._try, ask, attempts), attempts.wait)
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
                refusal = attempts.refusal
                asked = refusal is None or isinstance(refusal, PaymentRequired)  # a price that was told is no refusal
                if isinstance(error, BudgetExceeded) and refusal is not None and not asked:
                    raise _unaffordable(refusal, error.details["limit"]) from error
                # A read of the chain before anything was sent; what a chooser reports of all candidates has waited.
                again = isinstance(error, ChainError) and error.code != "all_failed"
                if not again or (wait := attempts.wait(error)) is None:
                    raise
            await self._transport.sleep(wait)

    async def _unrouted(self, ask: Ask, attempts: Attempts) -> Call:
        return await self._try(ask, attempts, await self.target.route(ask.model))

    async def _try(self, ask: Ask, attempts: Attempts, route: Route, hasty: bool = False) -> Call:
        """A call along `route` whose response has begun; each request of it has its own receipt."""
        self._policy.admit(route.service, route.attestation)
        body = self._backend.body(route, ask.task, ask.payload, ask.data)
        asked, grant, until = Asked.of(ask.payload, len(body.data)), None, None
        while True:
            call = self.start(route, body, asked, ask.task)
            call.streamed, call.hasty = ask.streamed, hasty
            attempts.tries += 1
            call.receipt.attempts = attempts.tries
            await self._depart(call, ask, grant, until, earlier=attempts.held)
            try:
                return await self._once(call, ask, attempts)
            except (*_MENDED, RateLimited, ProviderUnavailable) as error:
                again = await self._backend.grant(call, error) if isinstance(error, _MENDED) else None
                if not _fits(call.budget, attempts) and not hasty:
                    if isinstance(again, float):
                        error.hint = f"{_UNSEEN}; try again in at most {again:.0f} s"
                    if again is not None or attempts.wait(error) is not None:
                        _unaffordable(error, "per_call")
                    raise
                if isinstance(again, Grant):
                    grant, until = again, None
                elif again is not None:
                    await self._transport.sleep(_pause(call.budget, attempts, again))
                    grant, until = call.grant, None
                elif not hasty and (wait := attempts.wait(error)) is not None:
                    await self._transport.sleep(wait)
                    grant, until = None, attempts.until
                else:
                    raise
                if body.key is not None:  # each attempt is sealed anew, and perhaps to a new key
                    body = self._backend.body(route, ask.task, ask.payload, ask.data)

    async def _once(self, call: Call, ask: Ask, attempts: Attempts) -> Call:
        """Send the one request of `call`."""
        try:
            try:
                response = await self._send(call, ask)
            finally:  # also of a refusal, whose headers may say something
                _told(call, call.exchange.headers if call.exchange.status else None)
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
        call.receipt.certificate_sha256 = response.certificate_sha256
        if call.place is not None:
            call.place.heard(response.headers, time.monotonic() - call.started)
        if self._later is not None:
            word = Word.of(response.headers)
            gate_of(*self._key(call)).rated = word is not None and word.per_minute > 0
        return call

    def _key(self, call: Call) -> tuple[str, str, str]:
        """Where requests queue: realm, payer, provider."""
        return self._backend.realm, self._backend.payer, call.receipt.provider

    def start(self, route: Route, body: Body, asked: Asked, task: Task = CHAT) -> Call:
        """A call that is about to send `body`; it has cost nothing yet."""
        exchange = Exchange(body.data)
        receipt = begun(
            route,
            backend=self._backend.name,
            realm=self._backend.realm,
            network=self._network,
            task=task.name,
            request_sha256=exchange.request_sha256,
            policy=self._demand,
            request_bytes=len(body.data),
            request_body=body.data if self._keep_bytes and isinstance(body.data, bytes) else None,
        )
        receipt.fee = bounded(receipt.fee, receipt, asked, route.service.tariff)
        kept: list[bytes] | None = [] if self._keep_bytes else None
        call = Call(route, exchange, receipt, asked, time.monotonic(), kept=kept, task=task, body=body)
        call.budget = budgets_of(self._spending)
        return call

    async def _depart(self, call: Call, ask: Ask, grant: Grant | None, until: float | None, *, earlier: int) -> None:
        """Wait as the limits ask, get what lets the request in, hold what it may cost, note that it is on its way.

        Args:
            call: The call.
            ask: What is asked.
            grant: What lets the request in, where that is had already.
            until: When to give up waiting.
            earlier: What earlier requests of the same call may have cost, in units of the budget.

        Raises:
            ConfigError: it would give a secret of ours away (code ``secret_in_request``).
        """
        await self._queue(call, until)
        try:
            call.grant = grant or await self._grant(call)
            call.receipt.grant = call.grant.facts
            call.receipt.fee = capped(call.receipt.fee, call.grant.most)
            self._refuse_secrets(call, ask)
            call.receipt.payer = self._backend.payer
            await self._note(call, earlier)
        except BaseException:
            _told(call, None)
            if call.place is not None:
                call.place.withdraw()
            raise
        self._replays.sent(call)

    async def _grant(self, call: Call) -> Grant:
        granted = await self._backend.grant(call)
        if not isinstance(granted, Grant):
            message = f"backend {self._backend.name} grants nothing, and nothing was refused yet; nothing was sent"
            raise ConfigError(message, code="no_grant", hint="this is a fault of the backend")
        return granted

    def _refuse_secrets(self, call: Call, ask: Ask) -> None:
        assert call.grant is not None  # noqa: S101 - the caller has one
        provider, granted = call.receipt.provider, call.grant.headers
        before = self._granted.get(provider)
        if before is None or before[0] is not granted:
            self._granted[provider] = granted, _secret_in(granted) or (before and before[1])
        sent = call.exchange.sent
        written = sent if isinstance(sent, bytes) else sent.in_memory()
        sealed = call.body is not None and call.body.key is not None
        meant = (
            (encode_body(ask.payload),) if sealed and call.task.form == "json" else ()
        )  # what was written before it was sealed
        given = (*self._headers.items(), *ask.options.headers.items())
        headers = "\n".join(f"{name}: {value}" for name, value in given)
        for said in (written, *meant, headers.encode()):
            if self._gives_away(said) or any(
                each is not None and each.reveal().encode() in said for _, each in list(self._granted.values())
            ):
                raise ConfigError(
                    "the request holds the key that pays; nothing was sent",
                    code="secret_in_request",
                    hint="look for it in messages, parameters and headers of this call, and in headers of the client",
                )
        if holds_token(headers) or (
            any(len(said) > _LONG or b"app-sk-" in said for said in (written, *meant))
            and any(map(holds_token, _beside_words(ask.payload)))
        ):
            raise ConfigError(
                "a parameter or header of the request holds an API key or session token (app-sk-…); nothing was sent",
                code="secret_in_request",
                hint="take it out; a key is given where the client or model is made: api_key=…",
            )

    async def _note(self, call: Call, earlier: int) -> None:
        """Hold what the call may cost, and note that its request is on its way."""
        budget, grant, service = call.budget, call.grant, call.route.service
        assert grant is not None  # noqa: S101 - the caller has one
        if budget is None and not self._recorder.keeps:
            return
        referee = None if budget is None else budget.referee
        if referee is not None:
            await referee.before(service, call.receipt.started_at.timestamp())
        held = left = False

        def hold() -> None:
            nonlocal held
            if budget is not None:
                call.held = budget.reserve(call.receipt, service, call.asked, grant.most, earlier=earlier)
            held = True

        def note() -> None:
            try:
                self._recorder.opened(call.receipt, hold, () if budget is None else budget.stores)
            finally:
                if left:  # by who waited for this thread, and may have taken back what was not there yet
                    self._closing.taken_back(call)

        try:
            try:
                await self._transport.blocking(note)
            except BudgetExceeded:
                if referee is None or not await referee.again(service):
                    raise
                await self._transport.blocking(note)
        except BaseException as error:
            left = True
            if held or not isinstance(error, ZeroGError):
                self._closing.dropped(call)
            raise

    async def pause(self, seconds: float) -> None:
        """Wait in the way of the transport."""
        await self._transport.sleep(seconds)

    async def _queue(self, call: Call, until: float | None) -> None:
        if self._limits is None and self._later is None:
            return
        key = self._key(call)
        gate, patience = gate_of(*key), self._retries.deadline
        if (limits := self._limits or (self._later if gate.rated else None)) is None:
            return
        pace = pace_of(self._store, *key)
        call.place = await gate.enter(self._transport, limits, pace=pace, patience=patience, until=until)

    async def _send(self, call: Call, ask: Ask) -> Response:
        service, sealed, grant = call.route.service, call.body, call.grant
        assert sealed is not None and grant is not None  # noqa: S101, PT018 - it has departed
        base = provider_url(service.url, service.provider, service.private)
        request = Request(
            "POST",
            (base.removesuffix("/proxy") + "/async" if ask.options.aside else base) + call.task.path,
            SecretHeaders(
                beside(self._headers, ask.options.headers), grant.headers, {"Content-Type": sealed.content_type}
            ),
            call.exchange.sent,
            (ask.options.timeouts or self._timeouts).held(sealed.held),
            once=True,
            public=not service.private,
            pin=service.certificate_sha256,
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
        call.exchange.status, call.exchange.headers = response.status, response.headers
        if 200 <= response.status < 300:
            return response
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
        error = self._backend.refusal(call, status, headers, body)
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


def _secret_in(headers: Mapping[str, str]) -> Secret | None:
    """What of the headers of a grant opens something to whoever has it."""
    found = None
    for name, value in headers.items():
        if name.lower() in _SECRET_HEADERS and len(value) >= _SECRET_LENGTH:
            found = Secret(value.rpartition(" ")[2])
    return found


def _beside_words(payload: Mapping[str, object]) -> Iterator[str]:
    """What a request says beside its words, which people write as they like."""
    return (repr((name, value)) for name, value in payload.items() if name not in _WORDS)


def _told(call: Call, headers: Mapping[str, str] | None) -> None:
    """Tell whoever granted what the request was sent with how it was answered."""
    if call.grant is not None and call.grant.heard is not None:
        call.grant.heard(headers)


def _fits(budget: Counts | None, attempts: Attempts) -> bool:
    """Whether one more request like the last fits what one call may cost."""
    return budget is None or budget.fits_call(attempts.held + attempts.last)


def _pause(budget: Counts | None, attempts: Attempts, patience: float) -> float:
    """Seconds between two attempts: a moment, or so many that those which one call may cost last to the end.

    Else who waits for his own deposit would have used them up, each held at what it might cost, before it is seen.
    """
    most = math.ceil(patience / _STEP)
    units = (attempts.held + number * attempts.last for number in range(1, most + 1))
    fitting = most if budget is None else sum(map(budget.fits_call, units))
    return min(patience, _STEP) if fitting == most else patience / max(fitting, 1)


def _unaffordable(refusal: ZeroGError, limit: str) -> ZeroGError:
    """`refusal`, with the reason why the request is not sent again."""
    reason = f"it is not sent again, because each attempt may be billed and counts against the budget's {limit}"
    if reason not in refusal.hint:
        refusal.hint = f"{refusal.hint}; {reason}" if refusal.hint else reason
    return refusal
