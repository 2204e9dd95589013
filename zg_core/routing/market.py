"""Which services of a model will do for a user's routing, and what speaks against the others.

The chain (services, sub-accounts) is read every two minutes, beside the calls where there are some; nothing else is
read before a call but, where abilities are required, what providers say about their models.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zg_core.errors import ChainError, ConfigError, InsufficientFunds, ModelNotServed, RequestError, ZeroGError
from zg_core.routing.candidates import Standing, dearest, per_million
from zg_core.tasks.base import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.backends.base import Backend, Offer, Service
    from zg_core.http.transport import Transport
    from zg_core.routing.routing import Routing
    from zg_core.tasks.base import Task

__all__ = ["Listing", "Market"]

logger = logging.getLogger(__name__)

LIFETIME = 120.0
"""For so long services and sub-accounts are reused; providers cache an account as long (0g-direct §4.5)."""
USABLE = 240.0
"""For so long while they are read again in the background; whoever is chosen has its record read anew all the same."""
STALE = 600.0
"""And for so long while the chain's RPC endpoint is down."""
_AGAIN = 10.0
_BY_ROUTING = frozenset(
    {"denied", "not_allowed", "kind_excluded", "price_unknown", "too_dear", "ability_unknown", "missing_ability"}
)


@dataclass(slots=True)
class Listing:
    """The offers of one model: those that will do, and the services that will not, with what speaks against each.

    `read` is when it was; it is fresh `until` then, and serves until `usable` while it is read again beside calls, in
    seconds of the market's clock.
    """

    read: float
    until: float
    usable: float
    offers: list[Offer] = field(default_factory=list)
    out: list[tuple[Service, ZeroGError]] = field(default_factory=list)


class Market:
    """What is on offer to one payer.

    Args:
        routing: The hard constraints; None for none.
        backend: Says what there is.
        task: What is asked for.
        transport: For its locks.
        model: The model that the client was made with.
        network: Name of the network, for messages.
        sources: Of settings that come from the environment, the variable.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        routing: Routing | None,
        backend: Backend,
        task: Task,
        transport: Transport,
        *,
        clock: Callable[[], float],
        model: str | None = None,
        network: str | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._routing = routing
        self._backend = backend
        self._transport = transport
        self._task = task
        self._model = model
        self._network = network
        self._sources = sources or {}
        self._clock = clock
        self._listings: dict[str, Listing] = {}
        self._refreshing: set[str] = set()

    async def of(self, model: str) -> list[Offer]:
        """The offers that will do for `model`, at least one.

        Raises:
            ModelNotServed: nobody serves it.
            InsufficientFunds, NotAcknowledged: no sub-account at one that would do can pay.
            ConfigError: nothing meets the routing (code ``no_candidate``).
            ChainError, RequestError: what is offered cannot be read.
        """
        if (kept := self._fresh(model)) is not None:
            return kept.offers
        if (kept := self._listings.get(model)) is not None and self._clock() < kept.usable:
            if model not in self._refreshing:
                self._refreshing.add(model)
                self._transport.spawn(lambda: self._refresh(model), f"what is offered of {model}")
            return kept.offers
        async with self._transport.lock(f"market {model}"):
            if (kept := self._fresh(model)) is not None:
                return kept.offers
            try:
                listing = await self.read(model)
            except (ChainError, RequestError) as error:
                old = self._listings.get(model)
                if old is None or not error.retryable or self._clock() - old.read > STALE:
                    raise
                logger.warning("what is offered cannot be read, so what was said last is used: %s", error.message)
                old.until = self._clock() + _AGAIN
                return old.offers
            if not listing.offers:
                raise await self._nobody(model, listing)
            self._listings[model] = listing
            return listing.offers

    async def _refresh(self, model: str) -> None:
        """Read what is offered of `model` beside calls; what cannot be read is read again before one, which is told."""
        try:
            listing = await self.read(model)
        except ZeroGError as error:
            logger.debug("what is offered of %s could not be read beside a call: %s", model, error)
        else:
            if listing.offers:
                self._listings[model] = listing
            else:
                del self._listings[model]  # the next call is told why
        finally:
            self._refreshing.discard(model)

    def expire(self) -> None:
        """Something else may be on offer by now: read it again before the next call."""
        for listing in self._listings.values():
            listing.until = listing.usable = 0.0

    async def read(self, model: str, *, thorough: bool = False) -> Listing:
        """Read what is offered now; `thorough` also asks what the unfunded can do, so that nobody pays in vain."""
        now = self._clock()
        listing = Listing(now, now + LIFETIME, now + USABLE)
        for offer in await self._backend.offers(self._task, model):
            if thorough:
                await offer.look()
            try:
                objection = await self._objection(offer, thorough=thorough)
            except (RequestError, ConfigError) as error:
                objection = error
            if objection is None:
                listing.offers.append(offer)
            else:
                listing.out.append((offer.service, objection))
        return listing

    def check(self, service: Service) -> None:
        """Hold a service against the hard constraints.

        Raises:
            ConfigError: it does not meet one; `code` says which.
        """
        routing = self._routing
        if routing is None:
            return
        if routing.denies(service.provider):
            raise _out("deny= names it", "denied")
        if not routing.allows(service.provider):
            raise _out("allow= does not name it", "not_allowed")
        if routing.kinds is not None and service.kind not in routing.kinds:
            raise _out(f"it is {service.kind}, kinds= takes {', '.join(sorted(routing.kinds))}", "kind_excluded")
        if (limit := routing.max_price) is not None:
            if (prices := dearest(service)) is None:
                raise _out("its prices are not on chain, so max_price= cannot be kept", "price_unknown")
            if service.currency != limit.currency:
                raise _out(f"it bills in {service.currency}, max_price= is in {limit.currency}", "price_unknown")
            if (price := max(prices)) * 10**6 > limit.units:
                said = f"a token costs up to {per_million(price)} {limit.currency} per million, max_price= is {limit}"
                raise _out(said, "too_dear")

    def _fresh(self, model: str) -> Listing | None:
        kept = self._listings.get(model)
        return kept if kept is not None and self._clock() < kept.until else None

    async def _objection(self, offer: Offer, *, thorough: bool) -> ZeroGError | None:
        """What speaks against an offer; what only money or a transaction of ours is missing for comes last."""
        objection = offer.objection
        if objection is not None and objection.code == "service_not_acknowledged":
            return objection
        self.check(offer.service)
        unpaid = objection is not None and _is_unpaid(objection)
        if objection is not None and not (unpaid and thorough):
            return objection
        await self._able(offer)  # after the other objection where it can be, because it is a request
        return objection

    async def _able(self, offer: Offer) -> None:
        if self._routing is None or not self._routing.require:
            return
        try:
            able = await offer.able()
        except RequestError as error:
            raise _out(f"it does not tell what its model can do: {error.message}", "ability_unknown") from error
        for name in sorted(self._routing.require):
            if name not in able:
                raise _out(f"it does not say that its model has {name}", "missing_ability")

    async def _unserved(self, model: str) -> ModelNotServed:
        """The error for a model that nobody serves."""
        there = [offer for offer in await self._backend.offers(self._task, None) if _is_there(offer)]
        known = sorted({offer.service.model for offer in there})
        said = f"it has {', '.join(known[:8]) or 'none'}; see `zerog providers`"
        if others := [task.service_type for task in TASKS if task is not self._task and await self._sold(task, model)]:
            said = f"it is served as {' and '.join(sorted(others))}, asked for as {self._task.service_type}; {said}"
        if model == self._model and (variable := self._sources.get("model")):
            said += f"; {variable} names the model"
        where = self._backend.name if self._network is None else self._network
        return ModelNotServed(f"no acknowledged provider on {where} serves {model!r}", hint=said, model=model)

    async def _sold(self, task: Task, model: str) -> bool:
        return any(map(_is_there, await self._backend.offers(task, model)))

    async def _nobody(self, model: str, listing: Listing) -> ZeroGError:
        """The error where no service will do: what could be done about the one that comes nearest."""
        if all(error.code == "service_not_acknowledged" for _, error in listing.out):
            return await self._unserved(model)
        unpaid = [(s, e) for s, e in listing.out if _is_unpaid(e)]
        if len(unpaid) == 1:
            return unpaid[0][1]
        if unpaid:
            cheapest = min((s for s, _ in unpaid), key=lambda s: (Standing(s).price, s.provider.lower()))
            return InsufficientFunds(
                f"no provider of {model!r} that will do has a funded sub-account of {self._backend.payer}",
                code="no_account",
                hint=f"the cheapest is {cheapest.provider} ({cheapest.kind}): run `zerog deposit 3` if there is no "
                f"ledger yet, then `zerog transfer {cheapest.provider} 1.1`",
                provider=cheapest.provider,
            )
        policy = [error for _, error in listing.out if error.code not in (*_BY_ROUTING, "service_not_acknowledged")]
        if policy and not any(error.code in _BY_ROUTING for _, error in listing.out):
            return policy[0]
        said = "; ".join(f"{service.provider}: {error.message}" for service, error in listing.out[:3])
        return ConfigError(
            f"no provider of {model!r} meets the routing: {said}",
            code="no_candidate",
            hint="loosen routing=…; explain() lists every candidate and why it is out",
        )


def _is_there(offer: Offer) -> bool:
    return offer.objection is None or offer.objection.code != "service_not_acknowledged"


def _is_unpaid(error: ZeroGError) -> bool:
    return isinstance(error, InsufficientFunds) or error.code == "not_acknowledged"


def _out(said: str, code: str) -> ConfigError:
    return ConfigError(said, code=code, hint="see routing=…")
