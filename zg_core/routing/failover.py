"""Chooses the provider of each call, and goes on to the next one where nothing was served.

How candidates are ranked: `zg_core.routing.candidates`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from zg_core.errors import (
    AttestationError,
    ChainError,
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    NotAcknowledged,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    VerificationUnavailable,
    ZeroGError,
    never_served,
)
from zg_core.routing.candidates import Candidate, Explanation, Standing, failover, ranked
from zg_core.routing.health import BOOK
from zg_core.routing.market import Market
from zg_core.verify.usage import USAGE_IMPLAUSIBLE
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from zg_core.backends.base import Backend, Offer, Route, Service
    from zg_core.calls.call import Call
    from zg_core.http.transport import Transport
    from zg_core.receipts.model import Outcome, Receipt
    from zg_core.routing.health import Health, HealthBook
    from zg_core.routing.routing import Routing
    from zg_core.tasks.base import Task

    Attempt = Callable[[Route, bool], Awaitable[Call]]

__all__ = ["Chooser", "Pins"]

REFUSED = 60.0
"""Seconds for which a provider comes last that has refused this payer, or whose attestation was refused."""
_BEST = {"price": "the lowest price", "latency": "the lowest latency", "throughput": "the highest throughput"}


class Pins:
    """Which provider a conversation is at; the oldest are forgotten. Safe from many threads.

    Example:
        >>> pins = Pins(most=1)
        >>> pins.put("a", "0x1"); pins.put("b", "0x2")
        >>> pins.get("a"), pins.get("b")
        (None, '0x2')
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._pins: OrderedDict[object, str] = OrderedDict()

    def get(self, key: object) -> str | None:
        """The provider, None if it is not known."""
        return self._pins.get(key)

    def put(self, key: object, provider: str) -> None:
        """The conversation is at `provider` now."""
        with self._lock:
            self._pins[key] = provider
            self._pins.move_to_end(key)
            while len(self._pins) > self._most:
                self._pins.popitem(last=False)


_PINS = Pins()


class Chooser:
    """The candidates of one client.

    Args:
        routing: What the user asks for; None only explains what is chosen without.
        backend: Says what there is, and makes routes.
        task: What is asked for.
        transport: HTTP, time, locks.
        model: The model that the client was made with.
        network: Name of the network, for messages.
        sources: Of settings that come from the environment, the variable.
        book: How providers have been doing.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        routing: Routing | None,
        backend: Backend,
        task: Task,
        transport: Transport,
        *,
        model: str | None = None,
        network: str | None = None,
        sources: Mapping[str, str] | None = None,
        book: HealthBook = BOOK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routing = routing
        self._sort = "price" if routing is None else routing.sort
        self._backend = backend
        self._transport = transport
        self._market = Market(
            routing, backend, task, transport, clock=clock, model=model, network=network, sources=sources
        )
        self._book = book
        self._clock = clock
        self._refused: dict[str, tuple[float, ZeroGError]] = {}
        self._unmeasured: tuple[list[Offer], list[Standing]] | None = None  # of the newest offers, until they are asked

    # calls

    async def open(
        self, model: str, payload: Mapping[str, Any], attempt: Attempt, wait: Callable[[ZeroGError], float | None]
    ) -> Call:
        """The call at the first candidate that begins to answer.

        Args:
            model: The model; no other is ever asked.
            payload: The request, for its conversation and whether it is a stream.
            attempt: Sends it along a route; told whether there are others, so that refusals need not be waited for.
            wait: Seconds until the next round when all have failed with errors like this one; None to give up.

        Raises:
            ZeroGError: the only candidate's own; or one whose cause is a group with that of each candidate.
        """
        key, stream = self._conversation(model, payload), payload.get("stream") is True
        failed: dict[str, ZeroGError] = {}
        while True:
            pinned = None if key is None else _PINS.get(key)
            standings = self._standings(await self._market.of(model))
            order = failover(standings, self._sort, stream=stream, pinned=pinned)
            call = await self._round(model, order, attempt, failed)
            if call is not None:
                if key is not None:
                    _PINS.put(key, call.receipt.provider)
                return call
            soonest = min(filter(never_served, failed.values()), key=_retry_after, default=None)
            pause = None if len(order) == 1 or soonest is None else wait(soonest)
            if pause is None:
                raise _all_failed(model, failed)
            await self._transport.sleep(pause)

    async def first(self, model: str) -> Route:
        """The route that a call would take now; errors as in `open`."""
        failed: dict[str, ZeroGError] = {}
        for one in self._upright(failover(self._standings(await self._market.of(model)), self._sort)):
            if (route := await self._route(one, model, failed)) is not None:
                return route
        raise _all_failed(model, failed)

    async def choose(self, model: str) -> Service:
        """The service that every call goes to where nothing is routed: by kind, then price, then address.

        Raises:
            ZeroGError: as in `open`; what speaks against the first where several were tried.
        """
        failed: dict[str, ZeroGError] = {}
        for one in ranked(self._standings(await self._market.of(model)), None):
            if await self._route(one, model, failed) is not None:
                return one.service
        raise next(iter(failed.values()))

    async def _round(
        self, model: str, order: list[Standing], attempt: Attempt, failed: dict[str, ZeroGError]
    ) -> Call | None:
        """The first of `order` that begins to answer.

        Those that are left alone are tried all the same where nobody else has served, the one due first before others.
        """
        left: list[Standing] = []
        hasty = len(order) > 1
        for one in order:
            provider = one.service.provider
            if self._refusal(provider) is not None or not self._health(provider).admit():
                left.append(one)
            elif (call := await self._try(one, model, attempt, failed, hasty=hasty)) is not None:
                return call
        for one in self._upright(left):
            if (call := await self._try(one, model, attempt, failed, hasty=hasty)) is not None:
                return call
        return None

    async def _try(
        self, one: Standing, model: str, attempt: Attempt, failed: dict[str, ZeroGError], *, hasty: bool
    ) -> Call | None:
        route = await self._route(one, model, failed)
        if route is None:
            return None
        provider = one.service.provider
        try:
            call = await attempt(route, hasty)
        except ZeroGError as error:
            self._learn(provider, error)
            if not _certainly_unserved(error):
                raise
            failed[provider] = _named(error, provider)
            return None
        self._health(provider).began()
        return call

    async def _route(self, one: Standing, model: str, failed: dict[str, ZeroGError]) -> Route | None:
        """The route to the provider of `offer`; None, and its error in `failed`, where there is none. Sends nothing."""
        provider = one.service.provider
        try:
            route = await self._backend.route(one.service, model)
            self._market.check(route.service)  # the chain's record may be newer than the offer
            if route.service.kind.strength < one.strength:
                raise ConfigError(f"provider {provider} has become {route.service.kind}", code="weaker_kind")
        except (AttestationError, VerificationUnavailable, RequestError, ConfigError) as error:
            self._refuse(provider, error)
            failed[provider] = _named(error, provider)
            return None
        return route

    # what calls have shown

    def measured(self, call: Call, outcome: Outcome) -> None:
        """Count how a call has ended."""
        receipt = call.receipt
        health = self._health(receipt.provider)
        if outcome == "answered":
            usage, throughput = receipt.usage, None
            if usage is not None and receipt.seconds > 0 and USAGE_IMPLAUSIBLE not in receipt.flags:
                throughput = (usage.completion_tokens or usage.prompt_tokens) / receipt.seconds
            stream = "event-stream" in call.exchange.headers.get("content-type", "")
            health.answered(first_byte=receipt.first_byte_seconds, stream=stream, throughput=throughput)
        elif outcome != "abandoned":
            health.failed()

    def judged(self, receipt: Receipt) -> None:
        """An answer that contradicts its evidence is as bad as none."""
        if receipt.verdict.status is Status.FAILED:
            self._health(receipt.provider).failed()

    def _learn(self, provider: str, error: ZeroGError) -> None:
        if error.code == "no_turn":
            return  # our own limits, not the provider
        if isinstance(error, RateLimited):
            self._health(provider).paused(error.details.get("retry_after"))
        elif isinstance(error, ProviderUnavailable):
            self._health(provider).failed()
        elif isinstance(error, InsufficientFunds | NotAcknowledged | SessionRejected | ModelNotServed):
            self._refuse(provider, error)

    def _refuse(self, provider: str, error: ZeroGError) -> None:
        """Leave it alone for a while: for this client only, because the reason may be its wallet or its policy."""
        self._refused[provider] = (self._clock() + REFUSED, error)
        self._market.expire()

    def _refusal(self, provider: str) -> ZeroGError | None:
        until, error = self._refused.get(provider, (0.0, None))
        return error if self._clock() < until else None

    def _health(self, provider: str) -> Health:
        return self._book.of(self._backend.realm, provider)

    def _due(self, one: Standing) -> float:
        """Seconds until it need not be left alone any more."""
        provider = one.service.provider
        until, _ = self._refused.get(provider, (0.0, None))
        known = self._book.known(self._backend.realm, provider)
        return max(0.0, until - self._clock(), 0.0 if known is None else known.wait)

    def _upright(self, order: list[Standing]) -> list[Standing]:
        """`order`, with those that are left alone at its end, in the order in which they are due."""
        return sorted(order, key=self._due)

    def _standings(self, offers: list[Offer]) -> list[Standing]:
        known = self._unmeasured
        if known is None or known[0] is not offers:
            self._unmeasured = known = offers, [Standing(offer.service) for offer in offers]
        return list(map(self._standing, *known))

    def _standing(self, offer: Offer, unmeasured: Standing) -> Standing:
        known = self._book.known(self._backend.realm, offer.service.provider)
        doubted = (known is None or known.failures is None) and offer.doubted  # what we saw counts more
        if known is None and not doubted:
            return unmeasured
        return Standing(offer.service, known or unmeasured.measured, doubted)

    def _conversation(self, model: str, payload: Mapping[str, Any]) -> object:
        """What its conversation is known by: hashes only, no text of it; None if it may go anywhere."""
        sticky = False if self._routing is None else self._routing.sticky
        key = sticky if isinstance(sticky, str) else _opening(payload) if sticky else None
        return None if key is None else (self._backend.realm, self._backend.payer, model, key)

    # explanation

    async def explain(self, model: str, chosen: str | None = None) -> Explanation:
        """Every service of `model`, as it is offered now, and why it is chosen or not.

        Args:
            model: The model.
            chosen: The provider that every call goes to, where nothing is routed.

        Raises:
            ChainError, RequestError: what is offered cannot be read.
        """
        listing = await self._market.read(model, thorough=True)
        standings = self._standings(listing.offers)
        listed = _fixed(ranked(standings, None), chosen) if self._routing is None else self._listed(standings)
        for service, error in sorted(listing.out, key=lambda pair: pair[0].provider.lower()):
            said = f"{error.message}; {error.hint}" if error.hint else error.message
            listed.append(Candidate(service, error.code, said, None, self._health(service.provider).measured()))
        by = "kind, then price (chosen once and kept)" if self._routing is None else self._sort
        return Explanation(model, by, tuple(listed))

    def _listed(self, standings: list[Standing]) -> list[Candidate]:
        order = failover(standings, self._sort)
        upright = self._upright(order)
        listed = [self._candidate(one, rank, first=one is upright[0]) for rank, one in enumerate(upright, 1)]
        for one in ranked((one for one in standings if one not in order), self._sort):
            said = f"{one.service.kind} is weaker than the first choice, and no call fails over to a weaker kind"
            listed.append(Candidate(one.service, "weaker_kind", said, None, one.measured))
        return listed

    def _candidate(self, one: Standing, rank: int, *, first: bool) -> Candidate:
        refusal, known = self._refusal(one.service.provider), one.measured
        if first:
            code, said = "chosen", _BEST[self._sort]
            if self._sort == "latency" and known.stream_latency is None and known.whole_latency is None:
                said = "its latency is not known yet"
            elif self._sort == "throughput" and known.throughput is None:
                said = "its throughput is not known yet"
        elif refusal is not None:
            code, said = refusal.code, f"left alone for {self._due(one):.0f} s: {refusal.message}"
        elif known.state == "cooling":
            code, said = "cooling", f"it has failed, and is left alone for {known.wait:.0f} s"
        else:
            code, said = "next", "if those before it fail before they answer"
        if one.doubted:
            said += "; the status API calls it critical"
        elif known.shaky:
            said += "; half of its calls or more fail"
        return Candidate(one.service, code, said, rank, known)


def _fixed(order: list[Standing], chosen: str | None) -> list[Candidate]:
    """The candidates where nothing is routed: the one that every call goes to, and the others."""
    listed: list[Candidate] = []
    for rank, one in enumerate(sorted(order, key=lambda one: one.service.provider != chosen), 1):
        code, said = "behind", "another is chosen; without routing= no call comes here"
        if one.service.provider == chosen:
            code, said = "chosen", "every call goes here"
        listed.append(Candidate(one.service, code, said, rank, one.measured))
    return listed


def _certainly_unserved(error: ZeroGError) -> bool:
    """Whether the next provider may be asked: this one has served nothing for certain, and the call is not to blame."""
    if isinstance(error, ChainError):  # an RPC endpoint that is down is so for all, and an empty account, too
        return isinstance(error, InsufficientFunds | NotAcknowledged) and not error.details.get("of_payer")
    if error.details.get("of_payer"):  # a key that is none is none everywhere
        return False
    if isinstance(error, SessionRejected | ModelNotServed | RateLimited):
        return True
    return never_served(error) or error.code in ("connect_failed", "insecure_url")


def _retry_after(error: ZeroGError) -> float:
    return float(error.details.get("retry_after") or 0.0)


def _named(error: ZeroGError, provider: str) -> ZeroGError:
    """`error`, with the provider's address on it."""
    error.details["provider"] = provider
    return error


def _all_failed(model: str, failed: Mapping[str, ZeroGError]) -> ZeroGError:
    """The error when nobody has served: the only one's own, or one with all of them as its cause."""
    errors = list(failed.values())
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    common = kinds.pop() if len(kinds) == 1 else ProviderUnavailable
    said = "; ".join(f"{provider}: {error.message} ({error.code})" for provider, error in failed.items())
    error = common(
        f"none of the {len(errors)} providers of {model!r} has served the call: {said}",
        code="all_failed",
        hint="explain() shows every candidate; error.__cause__ holds each provider's error",
        retryable=any(error.retryable for error in errors),
    )
    waits = [_retry_after(one) for one in errors if one.details.get("retry_after") is not None]
    if waits:
        error.details["retry_after"] = min(waits)
    error.__cause__ = ExceptionGroup(f"the providers of {model!r}", errors)
    return error


def _opening(payload: Mapping[str, Any]) -> str | None:
    """A hash of the messages that a conversation begins with: up to the first of the user."""
    messages = payload.get("messages")
    opening: list[Any] = []
    for message in messages if isinstance(messages, list | tuple) else ():
        if not isinstance(message, dict):
            return None
        if message.get("role") in ("system", "developer", "user"):
            opening.append([message.get("role"), message.get("content")])
        if message.get("role") == "user":
            break
    try:
        return hashlib.sha256(json.dumps(opening, sort_keys=True).encode()).hexdigest() if opening else None
    except (TypeError, ValueError, RecursionError):
        return None  # the call itself will say what is wrong with it
