"""Which service a client's calls go to where nothing is routed: the one that was named, or one that is chosen once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.backends.service import Service
from zg_core.errors import ConfigError
from zg_core.tasks.base import CHAT
from zg_core.types import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from zg_core.backends.base import Backend, Route
    from zg_core.http.transport import Transport
    from zg_core.routing.routing import Routing
    from zg_core.tasks.base import Task

__all__ = ["Target", "cannot_route", "named", "routing_of"]


def named(provider: str, task: Task) -> Service:
    """A service of which no more is known than who offers it: its backend reads the rest."""
    return Service(provider, "", task.name, "", Kind.STANDARD)


def routing_of(routing: Routing | None, backend: Backend, provider: str | None, bound: str | None) -> Routing | None:
    """How calls are routed here; None where one provider is chosen and kept, or the backend chooses itself."""
    if routing is None and provider is None and getattr(backend, "interchangeable", False):
        from zg_core.routing.routing import Routing  # not needed by most

        return Routing()  # one provider is as good as the next: a call goes to the next where one is dead
    if getattr(backend, "chooses", False):  # it was asked in its own words
        return None
    if routing is not None and bound is not None:
        said = "an API key is for one provider, so nothing can be routed"
        raise cannot_route(said, "pay with a wallet (ZEROG_PRIVATE_KEY)")
    return routing


def cannot_route(said: str, hint: str) -> ConfigError:
    """An error about settings that exclude each other."""
    return ConfigError(said, code="bad_routing", hint=hint)


class Target:
    """What one client calls.

    Args:
        backend: Makes routes.
        task: What is asked for.
        transport: For its locks.
        provider: The provider that was named; None lets `choose` find one.
        model: The model that was named; None takes the service's own.
        choose: Finds the service for a model (`zg_core.routing.failover`); asked once, and its answer is kept.
    """

    def __init__(
        self,
        backend: Backend,
        task: Task,
        transport: Transport,
        *,
        provider: str | None,
        model: str | None,
        choose: Callable[[str], Awaitable[Service]],
    ) -> None:
        self._backend = backend
        self._transport = transport
        self._model = model
        self._choose = choose
        self._service = None if provider is None else named(provider, task)
        self.task = task

    @property
    def provider(self) -> str | None:
        """The provider that every call goes to; None while none is chosen."""
        return None if self._service is None else self._service.provider

    def keep(self, service: Service) -> None:
        """Take `service`, which was chosen for the same settings elsewhere, unless there is one already."""
        if self._service is None:
            self._service = service

    def model(self, model: str | None) -> str:
        """The model to choose a service for: `model`, or the one that the client was made with.

        Raises:
            ConfigError: none is named (code ``no_target``).
        """
        wanted = model or self._model
        if wanted is None:
            raise _no_target(self.task)
        return wanted

    async def service(self, model: str | None) -> Service:
        """The service; chosen now if it was not yet.

        Raises:
            ConfigError: neither a provider nor a model is named (code ``no_target``).
            ZeroGError: as the choice.
        """
        if self._service is None:
            async with self._transport.lock("route"):
                if self._service is None:
                    self._service = await self._choose(self.model(model))
        return self._service

    async def route(self, model: str | None) -> Route:
        """The route to it, for `model` or the one that the client was made with."""
        return await self._backend.route(await self.service(model), model or self._model or "")

    def __repr__(self) -> str:
        return f"Target(provider={self.provider!r}, model={self._model!r})"


def _no_target(task: Task) -> ConfigError:
    variables = "(or set ZEROG_PROVIDER, ZEROG_MODEL)"
    if task.name != CHAT.name:
        variables = f"of a service of type {task.service_type} (ZEROG_PROVIDER and ZEROG_MODEL name one for chats)"
    return ConfigError(
        "neither a provider nor a model is given",
        code="no_target",
        hint=f"pass provider='0x…' or model='…' {variables}; see `zerog providers`",
    )
