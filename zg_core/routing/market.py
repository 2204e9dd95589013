"""Which services of a model will do for a user's routing, and what speaks against the others.

The chain (services, sub-accounts) is read every two minutes; nothing else is read before a call but, where abilities
are required, what providers say about their models.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zg_core.backends.direct.credentials import check_account
from zg_core.errors import ChainError, ConfigError, InsufficientFunds, NotAcknowledged, RequestError, ZeroGError
from zg_core.routing.candidates import Offer, dearest, per_million

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.backends.direct.backend import DirectBackend
    from zg_core.backends.direct.catalogue import Catalogue
    from zg_core.backends.direct.contracts.abi import Account
    from zg_core.http.transport import Transport
    from zg_core.routing.routing import Routing
    from zg_core.types import Service

__all__ = ["Listing", "Market"]

logger = logging.getLogger(__name__)

LIFETIME = 120.0
"""For so long services and sub-accounts are reused; providers cache an account as long (0g-direct §4.5)."""
STALE = 600.0
"""And for so long while the chain's RPC endpoint is down."""
_AGAIN = 10.0
_BY_ROUTING = frozenset(
    {"denied", "not_allowed", "kind_excluded", "price_unknown", "too_dear", "ability_unknown", "missing_ability"}
)


@dataclass(slots=True)
class Listing:
    """The services of one model: those that will do, and the others with what speaks against each.

    `read` is when, `until` when it has to be read again, in seconds of the market's clock.
    """

    read: float
    until: float
    services: list[Service] = field(default_factory=list)
    out: list[tuple[Service, ZeroGError]] = field(default_factory=list)


class Market:
    """What is on offer to one payer.

    Args:
        routing: The hard constraints; None for none.
        backend: Reads the chain.
        transport: For its locks.
        catalogue: What providers say about their models.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        routing: Routing | None,
        backend: DirectBackend,
        transport: Transport,
        catalogue: Catalogue,
        clock: Callable[[], float],
    ) -> None:
        self._routing = routing
        self._backend = backend
        self._transport = transport
        self._catalogue = catalogue
        self._clock = clock
        self._listings: dict[str, Listing] = {}

    async def of(self, model: str) -> list[Service]:
        """The services that will do for `model`, at least one.

        Raises:
            ModelNotServed: nobody serves it.
            InsufficientFunds, NotAcknowledged: no sub-account at one that would do can pay.
            ConfigError: nothing meets the routing (code ``no_candidate``).
            ChainError: the chain cannot be read.
        """
        if (kept := self._fresh(model)) is not None:
            return kept.services
        async with self._transport.lock(f"market {model}"):
            if (kept := self._fresh(model)) is not None:
                return kept.services
            try:
                listing = await self.read(model)
            except ChainError as error:
                old = self._listings.get(model)
                if old is None or not error.retryable or self._clock() - old.read > STALE:
                    raise
                logger.warning("the chain cannot be read, so what it said last is used: %s", error.message)
                old.until = self._clock() + _AGAIN
                return old.services
            if not listing.services:
                raise await self._nobody(model, listing)
            self._listings[model] = listing
            return listing.services

    def expire(self) -> None:
        """The chain may say something else by now: read it again before the next call."""
        for listing in self._listings.values():
            listing.until = 0.0

    async def read(self, model: str, *, thorough: bool = False) -> Listing:
        """Read the chain now; `thorough` also asks what unfunded providers can do, so that nobody pays in vain."""
        now = self._clock()
        listing = Listing(now, now + LIFETIME)
        for service, account in await self._backend.market(model):
            try:
                await self._examine(service, account, thorough=thorough)
                listing.services.append(service)
            except ZeroGError as error:
                listing.out.append((service, error))
        return listing

    def check(self, service: Service) -> None:
        """Hold the chain's record against the hard constraints.

        Raises:
            ConfigError: it does not meet one; `code` says which.
        """
        routing = self._routing
        if routing is None:
            return
        if service.provider in routing.deny:
            raise _out("deny= names it", "denied")
        if routing.allow is not None and service.provider not in routing.allow:
            raise _out("allow= does not name it", "not_allowed")
        if routing.kinds is not None and service.kind not in routing.kinds:
            raise _out(f"it is {service.kind}, kinds= takes {', '.join(sorted(routing.kinds))}", "kind_excluded")
        if (limit := routing.max_price) is not None:
            if (prices := dearest(service)) is None:
                raise _out("its prices are not on chain, so max_price= cannot be kept", "price_unknown")
            if (price := max(prices)) * 10**6 > limit.units:
                said = f"a token costs up to {per_million(price)} 0G per million, max_price= is {limit}"
                raise _out(said, "too_dear")

    def _fresh(self, model: str) -> Listing | None:
        kept = self._listings.get(model)
        return kept if kept is not None and self._clock() < kept.until else None

    async def _examine(self, service: Service, account: Account | None, *, thorough: bool) -> None:
        if not service.acknowledged:
            said = "the contract owner has not acknowledged its TEE signer"
            raise NotAcknowledged(said, code="service_not_acknowledged")
        self.check(service)
        self._backend.admit(service)
        if thorough:
            await self._able(service)
        if self._backend.pays:  # who only reads is told what there is
            check_account(account, service.provider, self._backend.payer)
        if not thorough:  # last, because it is a request
            await self._able(service)

    async def _able(self, service: Service) -> None:
        if self._routing is None or not self._routing.require:
            return
        try:
            info = await self._catalogue.info(service, service.model)
        except RequestError as error:
            raise _out(f"it does not tell what its model can do: {error.message}", "ability_unknown") from error
        for name in sorted(self._routing.require):
            if getattr(info, name) is not True:
                raise _out(f"it does not say that its model has {name}", "missing_ability")

    async def _nobody(self, model: str, listing: Listing) -> ZeroGError:
        """The error where no service will do: what could be done about the one that comes nearest."""
        if all(error.code == "service_not_acknowledged" for _, error in listing.out):
            return await self._backend.unserved(model)
        unpaid = [(s, e) for s, e in listing.out if isinstance(e, InsufficientFunds) or e.code == "not_acknowledged"]
        if len(unpaid) == 1:
            return unpaid[0][1]
        if unpaid:
            cheapest = min((s for s, _ in unpaid), key=lambda s: (Offer(s).price, s.provider.lower()))
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


def _out(said: str, code: str) -> ConfigError:
    return ConfigError(said, code=code, hint="see routing=…")
