"""The two transports: what the logic above needs of the world, blocking and on asyncio.

All logic above is written once, as coroutines over `Transport`. `SyncTransport` never suspends, so that `run` can
drive such a coroutine to its end without an event loop; `AsyncTransport` keeps connections for each running loop.

Requests go over connections of our own (`zg_core.http.connections`), through a proxy or a client that the user gives
over the HTTP library (`zg_core.http.given`). Redirects are not followed: one would hand the prompt to another host.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zg_core.config import SecretHeaders
from zg_core.errors import ConfigError
from zg_core.http.engine import Engine, failure_of
from zg_core.http.given import LibraryClient
from zg_core.http.messages import USER_AGENT
from zg_core.http.reach import OutOfReach
from zg_core.http.signals import LoopSignal, ThreadSignal
from zg_core.http.wires import AsyncWire, Broken, Late, NotConnected, SyncWire, Unsendable
from zg_core.http.workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from zg_core.http.messages import Request, Response
    from zg_core.http.signals import Signal
    from zg_core.http.wires import Wire

__all__ = ["AsyncTransport", "SyncTransport", "Transport", "run"]

_T = TypeVar("_T")
OWN, LIBRARY = "own", "library"
"""What may be given instead of a client: connections of our own (the default), or the library for everything."""
_VARIABLE = "ZEROG_HTTP_CLIENT"


class Transport(Protocol):
    """What the logic needs of the world: requests, time, locks, background work."""

    async def send(self, request: Request) -> Response:
        """Send and return once the response headers are there.

        Raises:
            ProviderUnavailable: no connection could be made, or may be made, so nothing was sent.
            OutcomeUnknown: the request is `once`, was sent, and nothing came back.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def signal(self) -> Signal:
        """Something to wait for that any thread can set."""
        ...

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """A lock shared by all that name it, within this transport (and event loop)."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], queue: str = "") -> None:
        """Run `work` in the background; what is slow in one `queue` (a provider's) holds up no other."""
        ...

    async def blocking(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Run `work`, which waits for something that is not HTTP (the store), without holding up other tasks."""
        ...

    def aside(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run `work` like `blocking`, where nothing can be awaited any more; `close` waits for it."""
        ...


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Drive a coroutine over a `SyncTransport` to its end, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine over SyncTransport must not suspend")


_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "keep-alive", "User-Agent": USER_AGENT}
_WORKERS = Workers()


class _Pools:
    """What both transports share: a client that is given, and how failures are told.

    Args:
        ca_file: A certificate authority to trust instead of the system's.
        client: A client of httpx2 or httpx to send everything through instead of connections of our own. Only its
            connections are used (proxy, TLS settings, mounts, event hooks): neither its headers, cookies, credentials
            and parameters nor its redirects. It stays its owner's to close. ``"library"`` (or the variable
            ``ZEROG_HTTP_CLIENT=library``) makes one for everything.

    Raises:
        ConfigError: `client` is none of this kind, or `ca_file` is given as well.
    """

    _asynchronous = False
    _wire: type[Wire] = SyncWire

    def __init__(self, ca_file: str | None = None, client: Any = None) -> None:
        self._ca_file = ca_file
        self._most = 0
        if client is None and (word := os.environ.get(_VARIABLE)):
            if word not in (OWN, LIBRARY):
                message = f"{_VARIABLE}={word!r} is neither {OWN} nor {LIBRARY}"
                raise ConfigError(message, code="bad_http_client", hint=f"{_VARIABLE}={LIBRARY}, or leave it out")
            client = word
        self._library = client == LIBRARY
        client = None if client in (OWN, LIBRARY) else client
        self._given = None if client is None else LibraryClient(client, asynchronous=self._asynchronous)
        if client is not None and ca_file is not None:
            raise ConfigError(
                "ca_file does not apply to a given HTTP client",
                code="bad_http_client",
                hint="leave ca_file out, and give the authority to the client: verify=ssl.create_default_context(…)",
            )

    def make_room(self, most: int) -> None:
        """So many connections may be in use at once, from the first request on; never fewer than otherwise."""
        self._most = max(self._most, most)

    def _make(self) -> Engine:
        return Engine(
            self._wire, self._ca_file, asynchronous=self._asynchronous, library=self._library, most=self._most
        )

    @staticmethod
    async def _send(sender: Engine | LibraryClient, request: Request) -> Response:
        try:
            return await sender.send(request, SecretHeaders(_HEADERS, request.headers))
        except (NotConnected, OutOfReach, Unsendable, Late, Broken) as error:
            failure = failure_of(error, request)
            raise failure from failure.__cause__


class SyncTransport(_Pools):
    """Blocking HTTP. Its coroutines never suspend: drive them with `run`.

    A forked child begins with connections of its own, and a transport that nobody closed closes itself when it goes.
    """

    def __init__(self, ca_file: str | None = None, client: Any = None) -> None:
        super().__init__(ca_file, client)
        self._begin()

    def _begin(self) -> None:
        self._client: Engine | None = None
        self._closer: Any = None
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._pid = os.getpid()

    async def send(self, request: Request) -> Response:
        """See `Transport.send`."""
        if self._given is not None:
            return await self._send(self._given, request)
        if self._pid != os.getpid():
            self._begin()
        engine = self._client
        if engine is None:
            with self._guard:
                if self._client is None:
                    self._client = self._make()
                    self._closer = weakref.finalize(self, self._client.close)
                engine = self._client
        return await self._send(engine, request)

    async def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)  # noqa: ASYNC251 - this transport blocks by design

    def signal(self) -> ThreadSignal:
        """One that blocks the thread which waits."""
        return ThreadSignal()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """A lock between threads."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            yield

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], queue: str = "") -> None:
        """Run `work` in a daemon thread."""
        _WORKERS.submit(lambda: run(work()), queue)

    async def blocking(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Run `work` here: this transport blocks by design."""
        return work(*arguments)

    def aside(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run `work` here: this transport blocks by design."""
        work(*arguments)

    def close(self) -> None:
        """Close all connections; the transport opens new ones if it is used again."""
        if self._pid != os.getpid():  # they are the parent's
            return
        with self._guard:
            closer, self._client, self._closer = self._closer, None, None
        if closer is not None:
            closer()


class AsyncTransport(_Pools):
    """HTTP on asyncio, one client per running event loop: a client of a closed loop is never used again.

    When a loop ends (or this transport goes) before `close`, the loop closes the client itself.
    """

    _asynchronous = True
    _wire = AsyncWire

    def __init__(self, ca_file: str | None = None, client: Any = None) -> None:
        super().__init__(ca_file, client)
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = weakref.WeakKeyDictionary()
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = (
            weakref.WeakKeyDictionary()
        )
        self._tasks: set[asyncio.Future[None]] = set()
        self._guard = threading.Lock()  # loops of several threads may share this transport
        self._given_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None

    async def _client(self) -> Engine:
        loop = asyncio.get_running_loop()
        if (kept := self._clients.get(loop)) is not None:
            return kept.client
        client = self._make()
        keeper = _close_with_loop(client)
        # Outside of this transport, too: what goes together with it would be torn down in any order.
        closer = weakref.finalize(self, _close_in_loop, loop, keeper)
        closer.atexit = False
        with self._guard:
            # Clients and locks keep their loop alive: those of closed loops would stay for ever, sockets and all.
            for other in [other for other in self._clients if other.is_closed()]:
                self._clients.pop(other).closer.detach()
            for other in [other for other in self._locks if other.is_closed()]:
                del self._locks[other]
            self._clients[loop] = _Kept(client, keeper, closer)
        await anext(keeper)  # never waits
        return client

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """The connections of a given client belong to the loop in which it was used first."""
        if self._given_loop is None:
            self._given_loop = weakref.ref(loop)
        if self._given_loop() is not loop:
            raise ConfigError(
                "the given asynchronous HTTP client was used in another event loop",
                code="http_client_loop",
                hint="leave it out, and every loop gets a client of its own; or give each loop its own",
            )

    async def send(self, request: Request) -> Response:
        """See `Transport.send`."""
        if self._given is not None:
            self._bind(asyncio.get_running_loop())
            return await self._send(self._given, request)
        return await self._send(await self._client(), request)

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        await asyncio.sleep(seconds)

    def signal(self) -> LoopSignal:
        """One of the running loop."""
        return LoopSignal()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """A lock between tasks of one loop."""
        with self._guard:
            locks = self._locks.setdefault(asyncio.get_running_loop(), {})
        async with locks.setdefault(name, asyncio.Lock()):
            yield

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], queue: str = "") -> None:  # noqa: ARG002 - tasks wait beside each other
        """Run `work` as a task, kept alive until it ends."""
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def blocking(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Run `work` in a thread."""
        return await asyncio.to_thread(work, *arguments)

    def aside(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run `work` in a thread; here, where no loop runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work(*arguments)
            return
        future = loop.run_in_executor(None, work, *arguments)
        self._tasks.add(future)
        future.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finish background work of this loop and close its connections."""
        loop = asyncio.get_running_loop()
        pending = [task for task in list(self._tasks) if task.get_loop() is loop]
        if pending:
            await asyncio.gather(*pending, return_exceptions=True)
        with self._guard:
            kept = self._clients.pop(loop, None)
        if kept is not None:
            kept.closer.detach()
            await kept.keeper.aclose()
            await kept.client.aclose()


@dataclass(slots=True)
class _Kept:
    client: Engine
    keeper: AsyncGenerator[None, None]
    closer: Any


def _close_in_loop(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None, None]) -> None:
    """The transport is gone: close its client in the loop that is still running."""

    async def close() -> None:
        await keeper.aclose()

    with suppress(RuntimeError):  # the loop is closed, and has closed the client
        loop.call_soon_threadsafe(lambda: loop.create_task(close()))


async def _close_with_loop(client: Engine) -> AsyncGenerator[None, None]:
    """Waits in its loop for the end: a loop that ends closes its generators, and so does one that nobody holds."""
    try:
        yield
    finally:
        await client.aclose()
