"""The clients behind one model object of a framework, made when they are first needed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.client import AsyncChatClient, ChatClient
    from zg_core.routing.candidates import Explanation

__all__ = ["Clients", "OwnsClients"]

_Made = TypeVar("_Made", "ChatClient", "AsyncChatClient")


class _Kept(NamedTuple, Generic[_Made]):
    """A client, the settings it was made with, and what they were made of."""

    settings: object
    client: _Made
    said: object


@forgetful
class Clients:
    """At most one blocking and one async client, each for the settings it was made with.

    Neither copies nor pickles hold connections or keys: both begin empty.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._blocking: _Kept[ChatClient] | None = None
        self._asynchronous: _Kept[AsyncChatClient] | None = None

    def blocking_of(self, said: object) -> ChatClient | None:
        """The blocking client, if the settings it was made with were made of `said`."""
        self._own()
        made = self._blocking
        return None if made is None or made.said != said else made.client

    def asynchronous_of(self, said: object) -> AsyncChatClient | None:
        """Async twin of `blocking_of`."""
        self._own()
        made = self._asynchronous
        return None if made is None or made.said != said else made.client

    def blocking(self, settings: Mapping[str, Any], said: object = None) -> ChatClient:
        """The blocking client, made anew when `settings` are no longer those it was made with.

        Args:
            settings: The client's arguments.
            said: What they were made of (`blocking_of`).

        Raises:
            ConfigError: a setting is missing or malformed.
        """
        self._own()
        made = self._blocking
        if made is None or made.settings != settings:
            from zg_core.client import ChatClient

            with self._lock:
                made = self._blocking
                if made is None or made.settings != settings:
                    made = self._blocking = _Kept(settings, _paying(ChatClient(**_revealed(settings))), said)
        elif said is not None and made.said != said:
            self._blocking = made._replace(said=said)
        return made.client

    def asynchronous(self, settings: Mapping[str, Any], said: object = None) -> AsyncChatClient:
        """Async twin of `blocking`; the client itself keeps the connections of different event loops apart."""
        self._own()
        made = self._asynchronous
        if made is None or made.settings != settings:
            from zg_core.client import AsyncChatClient

            with self._lock:
                made = self._asynchronous
                if made is None or made.settings != settings:
                    made = self._asynchronous = _Kept(settings, _paying(AsyncChatClient(**_revealed(settings))), said)
        elif said is not None and made.said != said:
            self._asynchronous = made._replace(said=said)
        return made.client

    def _own(self) -> None:
        """A forked process shares neither sockets nor a lock that a thread held in its parent."""
        if self._pid != os.getpid():
            self._begin()

    def close(self) -> None:
        """Close the blocking client's connections; it opens new ones if it is used again."""
        self._own()
        if self._blocking is not None:
            self._blocking.client.close()

    async def aclose(self) -> None:
        """Finish background checks and close the connections of this event loop."""
        self._own()
        if self._asynchronous is not None:
            await self._asynchronous.client.close()

    def __repr__(self) -> str:
        return "Clients()"

    def __deepcopy__(self, _memo: object) -> Clients:
        return Clients()

    def __reduce__(self) -> tuple[type[Clients], tuple[()]]:
        return (Clients, ())


class OwnsClients:
    """What a model object does with its clients beside calling them; it stays usable after it was closed."""

    if TYPE_CHECKING:
        _clients: Clients

        def _client(self) -> ChatClient: ...

        def _async_client(self) -> AsyncChatClient: ...

    def explain(self, model: str | None = None) -> Explanation:
        """Every service of the model, and why calls go there or not; see `zg_core.ChatClient.explain`."""
        return self._client().explain(model)

    async def aexplain(self, model: str | None = None) -> Explanation:
        """Async twin of `explain`."""
        return await self._async_client().explain(model)

    def close(self) -> None:
        """Close the connections of blocking calls; the object stays usable."""
        self._clients.close()

    async def aclose(self) -> None:
        """Finish background checks and close the connections of this event loop; the object stays usable."""
        await self._clients.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
        self.close()


def _paying(client: _Made) -> _Made:
    """`client`, if it has a key to pay with: one without is not kept, since a key may be set before the next call.

    Raises:
        ConfigError: it has none (code ``no_credential``).
    """
    if not getattr(client.backend, "pays", True):
        from zg_core.wallet import missing_credential

        raise missing_credential()
    return client


def _revealed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with the text of pydantic's secrets."""
    return {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
        for name, value in settings.items()
    }
