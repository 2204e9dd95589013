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
from zg_core.errors import ConfigError, OutcomeUnknown, ProviderUnavailable, RequestError
from zg_core.http.bodies import Body, BodyBroken
from zg_core.http.connections import Connections
from zg_core.http.given import LibraryClient
from zg_core.http.library import ssl_context
from zg_core.http.messages import USER_AGENT
from zg_core.http.signals import LoopSignal, ThreadSignal
from zg_core.http.timeouts import Clock
from zg_core.http.urls import target_of
from zg_core.http.wires import AsyncWire, Broken, Late, NotConnected, SyncWire, Unsendable
from zg_core.http.workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager

    from zg_core.http.connections import Link
    from zg_core.http.messages import Request, Response
    from zg_core.http.signals import Signal
    from zg_core.http.urls import Target
    from zg_core.http.wires import Wire

__all__ = ["AsyncTransport", "SyncTransport", "Transport", "run"]

_T = TypeVar("_T")
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "keep-alive", "User-Agent": USER_AGENT}


class Transport(Protocol):
    """What the logic needs of the world: requests, time, locks, background work."""

    async def send(self, request: Request) -> Response:
        """Send and return once the response headers are there.

        Raises:
            ProviderUnavailable: no connection could be made, so nothing was sent.
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

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` in the background."""
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


class _Response(Body):
    __slots__ = ("_clock", "_connections", "_link", "_stall", "certificate_sha256", "headers", "status")

    def __init__(
        self, connections: Connections, link: Link, head: tuple[int, dict[str, str]], clock: Clock, stall: float
    ) -> None:
        self._connections = connections
        self._link: Link | None = link
        self._clock = clock
        self._stall = stall
        self.status = head[0]
        self.headers: Mapping[str, str] = head[1]
        self.certificate_sha256 = link.certificate_sha256

    async def _raw(self) -> AsyncIterator[bytes]:
        clock, stall = self._clock, self._stall
        while (link := self._link) is not None:
            try:
                data = await link.pull(clock)
            except Late as error:
                raise BodyBroken("the response stalled") from error
            except Broken as error:
                raise BodyBroken(f"the connection broke ({error})") from error
            if link.ended:  # at once: the next request may want the connection
                self._link = None
                self._connections.give(link)
            if data:
                yield data
                clock.restart(stall)

    def hurry(self, seconds: float) -> None:
        self._clock.end_within(seconds)

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._connections.drop(link)


class _Engine:
    """What sends for one transport, or one event loop of it: connections, and a client where a proxy is set."""

    def __init__(self, wire: type[Wire], ca_file: str | None, *, asynchronous: bool) -> None:
        self._connections = Connections(wire, lambda: ssl_context(ca_file))
        self._proxied = LibraryClient(ca_file=ca_file, asynchronous=asynchronous) if _has_proxy() else None

    @property
    def is_closed(self) -> bool:
        return self._connections.is_closed

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:
        target = target_of(request.url)
        if self._proxied is not None and not _is_loopback(target):
            return await self._proxied.send(request, headers)
        times, connections = request.timeouts, self._connections
        clock = Clock(times.until_first)
        link = await connections.take(target, times.connect)
        try:
            await link.wire.write(link.request(request.method, target, headers, request.body), times.read)
            head = await link.head(clock)
        except BaseException:
            connections.drop(link)
            raise
        return _Response(connections, link, head, clock, times.between)

    def close(self) -> None:
        self._connections.close()
        if self._proxied is not None:
            self._proxied.close()

    async def aclose(self) -> None:
        self._connections.close()
        if self._proxied is not None:
            await self._proxied.aclose()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn


def _has_proxy() -> bool:
    from urllib.request import getproxies

    return any(name in ("http", "https", "all") for name in getproxies())


def _is_loopback(target: Target) -> bool:
    """No proxy for other machines gets to see what is said to this one."""
    host = target.origin[1]
    return host in ("localhost", "::1") or host.startswith("127.")


_WORKERS = Workers()


class _Pools:
    """What both transports share: a client that is given, and how failures are told.

    Args:
        ca_file: A certificate authority to trust instead of the system's.
        client: A client of httpx2 or httpx to send everything through instead of connections of our own. Only its
            connections are used (proxy, TLS settings, mounts, event hooks): neither its headers, cookies, credentials
            and parameters nor its redirects. It stays its owner's to close.

    Raises:
        ConfigError: `client` is none of this kind, or `ca_file` is given as well.
    """

    _asynchronous = False
    _wire: type[Wire] = SyncWire

    def __init__(self, ca_file: str | None = None, client: Any = None) -> None:
        self._ca_file = ca_file
        self._given = None if client is None else LibraryClient(client, asynchronous=self._asynchronous)
        if client is not None and ca_file is not None:
            raise ConfigError(
                "ca_file does not apply to a given HTTP client",
                code="bad_http_client",
                hint="leave ca_file out, and give the authority to the client: verify=ssl.create_default_context(…)",
            )

    def _make(self) -> _Engine:
        return _Engine(self._wire, self._ca_file, asynchronous=self._asynchronous)

    @staticmethod
    async def _send(sender: _Engine | LibraryClient, request: Request) -> Response:
        try:
            return await sender.send(request, SecretHeaders({**_HEADERS, **request.headers}))
        except (NotConnected, Unsendable, Late, Broken) as error:
            raise _told(error, request) from _without_frames(error)


def _told(error: Exception, request: Request) -> RequestError:
    if isinstance(error, Unsendable):
        message = f"no request can be sent to {request.url!r} ({error})"
        return ProviderUnavailable(message, code="connect_failed", hint="choose another provider", retryable=False)
    host = request.url.partition("://")[2].partition("/")[0]
    if isinstance(error, NotConnected):
        return ProviderUnavailable(
            f"cannot connect to {host} ({error})",
            code="connect_failed",
            hint="check the URL and your connection, or choose another provider",
        )
    reason = "it took too long" if isinstance(error, Late) else str(error)
    if request.once:
        return OutcomeUnknown(
            f"{host} did not answer ({reason}); the request may have been served and billed",
            code="timeout" if isinstance(error, Late) else "connection_lost",
            hint="the receipt (error.receipt) records it; retry only if paying twice is acceptable",
        )
    return ProviderUnavailable(f"{host} did not answer ({reason})", code="connection_lost", hint="try again")


def _without_frames(error: BaseException) -> BaseException:
    """`error` and all that led to it, without tracebacks: the library's frames hold the request's headers."""
    links, seen = [error], set()
    while links:
        link = links.pop()
        link.__traceback__ = None
        seen.add(id(link))
        links += [other for other in (link.__cause__, link.__context__) if other is not None and id(other) not in seen]
    return error


class SyncTransport(_Pools):
    """Blocking HTTP. Its coroutines never suspend: drive them with `run`.

    A forked child begins with connections of its own, and a transport that nobody closed closes itself when it goes.
    """

    def __init__(self, ca_file: str | None = None, client: Any = None) -> None:
        super().__init__(ca_file, client)
        self._begin()

    def _begin(self) -> None:
        self._client: _Engine | None = None
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

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` in a daemon thread."""
        _WORKERS.submit(lambda: run(work()))

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

    async def _client(self) -> _Engine:
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

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
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
    client: _Engine
    keeper: AsyncGenerator[None, None]
    closer: Any


def _close_in_loop(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None, None]) -> None:
    """The transport is gone: close its client in the loop that is still running."""

    async def close() -> None:
        await keeper.aclose()

    with suppress(RuntimeError):  # the loop is closed, and has closed the client
        loop.call_soon_threadsafe(lambda: loop.create_task(close()))


async def _close_with_loop(client: _Engine) -> AsyncGenerator[None, None]:
    """Waits in its loop for the end: a loop that ends closes its generators, and so does one that nobody holds."""
    try:
        yield
    finally:
        await client.aclose()
