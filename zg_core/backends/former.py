"""What the path asked of Direct before `zg_core.backends.base`; goes as the path moves over."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.config import Network
    from zg_core.errors import ZeroGError
    from zg_core.exchange import Exchange
    from zg_core.money import Fee
    from zg_core.pricing import Tariff
    from zg_core.types import Service, Usage
    from zg_core.verify.attestation import AttestationReport
    from zg_core.verify.verdict import Verdict

__all__ = ["Backend", "Route"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a call goes: the service that will answer, the model it is asked for, and what is known of the service.

    Attributes:
        service: What the chain says of it.
        model: The name to ask for.
        attestation: Its report, where the policy asks for one.
        block: The block at which the record was read.
        tariff: The provider's list price, where it does not bill what the chain says.
        made: When the route was made, by ``time.monotonic``: a call begins with it.
        read: When the read of the record began.
        stale: Whether the record is older than what a verdict or an exact fee may rest on.
        earlier: Another record that may have held while the call was under way.
    """

    service: Service
    model: str
    attestation: AttestationReport | None = None
    block: int | None = None
    tariff: Tariff | None = None
    made: float = field(default_factory=time.monotonic)
    read: float = -math.inf
    stale: bool = False
    earlier: Service | None = None

    @property
    def record_age(self) -> int | None:
        """How many seconds before the call the record was read: 0 where it was during the call, None if not known."""
        return math.ceil(max(0.0, self.made - self.read)) if math.isfinite(self.read) else None


class Backend(Protocol):
    """One way to reach inference. All methods are coroutines over the client's transport."""

    name: str
    network: Network

    async def route(self, model: str | None) -> Route:
        """Choose the service for `model`; fixed for the backend's life once chosen."""
        ...

    def target(self, model: str | None) -> str:
        """The model to choose a service for: `model`, or the one that the backend was made with."""
        ...

    async def authorise(self, route: Route) -> Mapping[str, str]:
        """Headers that let the request in; reads and checks what can be checked before anything is sent."""
        ...

    def url(self, route: Route, path: str) -> str:
        """URL of an OpenAI-shaped path such as ``/chat/completions``."""
        ...

    def refusal(self, route: Route, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """The error for a response that is not a success."""
        ...

    async def patience(self, route: Route, error: ZeroGError) -> float:
        """Seconds for which a refusal may only mean that the other side has not seen our own change yet; 0 if not."""
        ...

    async def renew(self, route: Route) -> bool:
        """Drop what a rejected session was made of; False if nothing can be made anew."""
        ...

    async def refreshed(self, route: Route, *, patient: bool) -> Route:
        """`route` with a record that the verdict and the fee of its call may rest on; `stale` where none can be had.

        `patient` tries again what failed, as often as the call may.
        """
        ...

    def rests(self, route: Route, changed: Callable[[Route], None]) -> None:
        """A call has ended that rests on `route`; `changed` is told if its record turns out to have changed before."""
        ...

    def fee(self, route: Route, usage: Usage | None) -> Fee:
        """What the call cost."""
        ...

    async def verify(self, route: Route, exchange: Exchange) -> Verdict:
        """The verdict on a finished exchange."""
        ...

    def sent(self, route: Route, exchange: Exchange) -> None:
        """Note that a request is on its way."""
        ...

    def describe(self) -> dict[str, Any]:
        """Identifying facts without secrets."""
        ...
