"""Fine-tuned adapters of a provider: which there are, what they are called, and how one is deployed (services §6)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.backend import DirectBackend
from zg_core.config import SecretHeaders
from zg_core.errors import ConfigError, ModelNotServed, ProviderUnavailable, RequestError, SessionRejected
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.refusals import error_text
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import run
from zg_core.jsontext import encode_body, parse_json
from zg_core.progress import tell
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from zg_core.client import AsyncChatClient, ChatClient
    from zg_core.config import Secret
    from zg_core.progress import Listener
    from zg_core.types import ServiceRecord

__all__ = ["Adapter", "Adapters", "AsyncAdapters", "adapter_name"]

DEPLOYABLE = ("ready", "offloaded", "archived")
_PREPARED = (*DEPLOYABLE, "loading", "active")
_TIMEOUTS = Timeouts(connect=10.0, read=30.0, whole=60.0)
_MOST = 5 * 1024 * 1024
_POLL = 2.0


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter.

    Attributes:
        name: What it is asked for by, as ``model``.
        task_id: Id of the fine-tuning task that made it.
        base_model: The model that it was made for, as the provider calls it.
        state: ``init``, ``pending``, ``downloading``, ``ready``, ``active``, ``loading``, ``offloaded``, ``archived``
            or ``failed``.
        provider: Who has it.
    """

    name: str
    task_id: str
    base_model: str
    state: str
    provider: str

    @property
    def usable(self) -> bool:
        """Whether it answers now."""
        return self.state == "active"

    @property
    def deployable(self) -> bool:
        """Whether it can be deployed."""
        return self.state in DEPLOYABLE


def adapter_name(base_model: str, task_id: str) -> str:
    """The name of an adapter by the rule of the official client; `Adapters.resolve` asks the provider first.

    Example:
        >>> adapter_name("Qwen2.5-0.5B-Instruct", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
        'ft-Qwen2-5-0-5B-Instruct-0f1e2d3c-4b5'
    """
    base = base_model.translate(str.maketrans("/. ", "---")).strip("-")
    return f"ft-{base}-{task_id[:12]}"


class _Reading:
    """The work of both, over the transport of a client."""

    def __init__(self, client: ChatClient | AsyncChatClient) -> None:
        self._client = client

    async def access(self) -> tuple[ServiceRecord, Secret]:
        """The provider's record, and a token for it."""
        calls = self._client.calls
        backend = calls.backend
        if not isinstance(backend, DirectBackend):
            message = f"backend {backend.name!r} has no adapters"
            raise ConfigError(message, code="no_adapters", hint='backend="direct"')
        route = await backend.route(await calls.sending.target.service(None), "")
        return route.service.on_chain, await backend.token(route.service.provider)

    async def ask(self, method: str, path: str, order: dict[str, Any] | None = None) -> tuple[int, Any, str]:
        """Status, document and words of an answer."""
        record, token = await self.access()
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        if order is not None:
            headers["Content-Type"] = "application/json"
        body = None if order is None else encode_body(order)
        request = provider_request(method, record, path, headers=SecretHeaders(headers), body=body, timeouts=_TIMEOUTS)
        response = await self._client.calls.transport.send(request)
        try:
            raw = await read_all(response, _MOST)
        except BodyBroken as error:
            raise ProviderUnavailable(f"{record.url}{path} cannot be read: {error}", hint="try again") from error
        if response.status in (401, 403) or (response.status == 400 and b"session" in raw):
            raise SessionRejected(
                f"provider {record.provider} answered {response.status}: {error_text(raw)}",
                hint="the adapters of a wallet are shown to that wallet only",
                status=response.status,
            )
        if response.status >= 500 or response.status == 429:
            raise ProviderUnavailable(
                f"provider {record.provider} answered {response.status}: {error_text(raw)}",
                hint="it may not serve adapters; `zerog providers` lists others",
                retryable=response.status != 503,
                status=response.status,
            )
        try:
            return response.status, parse_json(raw), error_text(raw)
        except (ValueError, RecursionError):
            return response.status, None, error_text(raw)

    async def listed(self) -> list[Adapter]:
        """All of the wallet's."""
        status, said, words = await self.ask("GET", "/v1/lora/adapters")
        record, _ = await self.access()
        if status == 404:
            return []  # an older broker has no such route
        entries = said.get("adapters") if isinstance(said, dict) else None
        if status != 200 or not isinstance(entries, list):
            raise RequestError(f"provider {record.provider} answered {status}: {words}", code="malformed_reply")
        return [_adapter(entry, record.provider) for entry in entries if isinstance(entry, dict)]

    async def status(self, name: str) -> Adapter:
        """One, by its name or the id of its task."""
        _check(name)
        status, said, words = await self.ask("GET", f"/v1/lora/adapters/{name}")
        record, _ = await self.access()
        if status == 404:
            raise _unknown(record.provider, name)
        if status != 200 or not isinstance(said, dict):
            raise RequestError(f"provider {record.provider} answered {status}: {words}", code="malformed_reply")
        return _adapter(said, record.provider)

    async def resolved(self, task_id: str, base_model: str) -> str:
        """The name of the adapter that a task made."""
        for each in await self.listed():
            if each.task_id == task_id:
                return each.name
        if not base_model:
            raise _unknown((await self.access())[0].provider, task_id)
        return adapter_name(base_model, task_id)

    async def deployed(self, name: str, wait: bool, timeout: float, listener: Listener | None) -> Adapter:  # noqa: ASYNC109
        """Deploy one, and wait until it answers."""
        end, seen = time.monotonic() + timeout, ""

        async def look() -> Adapter:
            nonlocal seen
            found = await self.status(name)
            if found.state != seen:
                seen = found.state
                tell(listener, f"adapter_{seen}", f"adapter {found.name} is {seen}", adapter=found.name, state=seen)
            if found.state == "failed":
                raise RequestError(f"adapter {found.name} has failed", code="adapter_failed", hint="fine-tune it again")
            return found

        adapter = await look()
        while adapter.state not in _PREPARED:
            if not wait:
                raise _not_ready(adapter)
            await self._pause(end, adapter)
            adapter = await look()
        if adapter.deployable:
            status, _, words = await self.ask("POST", "/v1/lora/adapters/deploy", {"adapterName": adapter.name})
            if status == 409:
                adapter = await look()  # somebody was faster
                if adapter.state not in ("loading", "active"):
                    raise _not_ready(adapter)
            elif status == 404:
                raise _unknown(adapter.provider, name)
            elif status != 200:
                raise RequestError(f"provider {adapter.provider} answered {status}: {words}", code="refused")
            else:
                adapter = await look()
        while wait and not adapter.usable:
            await self._pause(end, adapter)
            adapter = await look()
        return adapter

    async def _pause(self, end: float, adapter: Adapter) -> None:
        pause = _POLL if not self._client.network.is_local else 0.01
        if time.monotonic() + pause > end:
            raise ProviderUnavailable(
                f"adapter {adapter.name} is {adapter.state} yet",
                code="adapter_timeout",
                hint="it goes on: deploy it again to wait further",
            )
        await self._client.calls.transport.sleep(pause)


def _adapter(entry: dict[str, Any], provider: str) -> Adapter:
    name, task, base, state = (str(entry.get(name) or "") for name in ("adapterName", "taskId", "baseModel", "state"))
    return Adapter(name, task, base, state, provider)


def _check(name: str) -> None:
    if not isinstance(name, str) or not name or len(name) > 256 or not name.isprintable() or set(name) & set("/?#% "):
        message = f"no adapter is called {str(name)[:80]!r}"
        raise ConfigError(message, code="bad_adapter", hint="`zerog adapters list` shows their names")


def _unknown(provider: str, name: str) -> ModelNotServed:
    return ModelNotServed(
        f"provider {provider} has no adapter {name!r} of this wallet",
        code="unknown_adapter",
        hint="`zerog adapters list` shows those that there are",
        model=name,
    )


def _not_ready(adapter: Adapter) -> RequestError:
    return RequestError(
        f"adapter {adapter.name} is {adapter.state} and cannot be deployed now",
        code="adapter_not_ready",
        hint="wait until it is ready, offloaded or archived",
    )


@forgetful
class Adapters:
    """The adapters that a client's wallet has at its provider; blocking. The name of one is a ``model`` of chats.

    Args:
        client: A client with a provider or a model.

    Example:
        >>> from zg_core import ChatClient
        >>> with ChatClient(provider="0x" + "11" * 20, private_key="0x" + "22" * 32, environ={}) as client:
        ...     callable(Adapters(client).deploy)
        True
    """

    def __init__(self, client: ChatClient) -> None:
        self._reading = _Reading(client)

    def list(self) -> list[Adapter]:
        """All of the wallet's at the provider.

        Raises:
            RequestError: the provider refuses, or cannot be reached.
        """
        return run(self._reading.listed())

    def status(self, name: str) -> Adapter:
        """One, by its name or the id of its task.

        Raises:
            ModelNotServed: there is none (code ``unknown_adapter``).
        """
        return run(self._reading.status(name))

    def resolve(self, task_id: str, base_model: str = "") -> str:
        """The name of the adapter that a task made: as the provider lists it, else computed from `base_model`."""
        return run(self._reading.resolved(task_id, base_model))

    def deploy(
        self, name: str, *, wait: bool = True, timeout: float = 120.0, on_progress: Listener | None = None
    ) -> Adapter:
        """Deploy an adapter, unless it is active.

        Args:
            name: Its name, or the id of its task.
            wait: Whether to wait until it answers.
            timeout: Seconds to wait.
            on_progress: Called when its state changes.

        Raises:
            ModelNotServed: there is none.
            RequestError: it has failed (code ``adapter_failed``), or cannot be deployed now (``adapter_not_ready``).
            ProviderUnavailable: the provider serves no adapters, or it is not active in time (``adapter_timeout``).
        """
        return run(self._reading.deployed(name, wait, timeout, on_progress))


@forgetful
class AsyncAdapters:
    """Async twin of `Adapters`."""

    def __init__(self, client: AsyncChatClient) -> None:
        self._reading = _Reading(client)

    async def list(self) -> list[Adapter]:
        """See `Adapters.list`."""
        return await self._reading.listed()

    async def status(self, name: str) -> Adapter:
        """See `Adapters.status`."""
        return await self._reading.status(name)

    async def resolve(self, task_id: str, base_model: str = "") -> str:
        """See `Adapters.resolve`."""
        return await self._reading.resolved(task_id, base_model)

    async def deploy(
        self,
        name: str,
        *,
        wait: bool = True,
        timeout: float = 120.0,  # noqa: ASYNC109 - as of `Adapters`
        on_progress: Listener | None = None,
    ) -> Adapter:
        """See `Adapters.deploy`."""
        return await self._reading.deployed(name, wait, timeout, on_progress)
