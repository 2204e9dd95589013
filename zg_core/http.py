"""HTTP: the only place that knows the HTTP library.

All logic above is written once, as coroutines over `Transport`. `SyncTransport` never suspends, so that `run` can
drive such a coroutine to its end without an event loop; `AsyncTransport` keeps one client per running loop.

The library is httpx2 (httpx where only that is installed, or where ``ZEROG_HTTP_LIBRARY=httpx`` asks for it).
Redirects are not followed: a redirect would hand the prompt to another host.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import threading
import time
import weakref
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zg_core.bodies import BodyBroken, Gunzip
from zg_core.config import SecretHeaders
from zg_core.deadlines import CLOCK, Clock, Timeouts, clocked, watch
from zg_core.errors import ConfigError, OutcomeUnknown, ProviderUnavailable, RequestError
from zg_core.signals import LoopSignal, ThreadSignal

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager

    from zg_core.signals import Signal

__all__ = ["AsyncTransport", "BodyBroken", "Request", "Response", "SyncTransport", "Timeouts", "Transport", "run"]

_T = TypeVar("_T")
USER_AGENT = "zerog-integrations"
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "keep-alive", "User-Agent": USER_AGENT}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    `once` says that repeating it may cost money: when such a request is sent and no answer comes, its outcome is
    unknown rather than failed.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)  # may hold a token, so they become `SecretHeaders`
    body: bytes | None = field(default=None, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    once: bool = False

    def __post_init__(self) -> None:
        """Hide the headers."""
        object.__setattr__(self, "headers", SecretHeaders(self.headers))


class Response(Protocol):
    """An HTTP response whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    certificate_sha256: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The content-decoded body as it arrives; raises `BodyBroken`."""
        ...

    async def close(self) -> None:
        """Give the connection back or drop it."""
        ...


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


async def read_all(response: Response, limit: int, seconds: float | None = None) -> bytes:
    """The whole body, at most `limit` bytes.

    Args:
        response: Where it is read from.
        limit: Bytes.
        seconds: How long it may take in all; a sender that drips can keep below the time between two reads for ever.

    Raises:
        BodyBroken: it ended early, is larger, or takes longer.
    """
    parts: list[bytes] = []
    size, began = 0, time.monotonic()
    try:
        async for chunk in response.chunks():
            size += len(chunk)
            if size > limit:
                raise BodyBroken(f"the response is larger than {limit} bytes")
            if seconds is not None and time.monotonic() - began >= seconds:
                raise BodyBroken(f"the response takes longer than {seconds:.0f} s")
            parts.append(chunk)
    finally:
        await response.close()
    return b"".join(parts)


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Drive a coroutine over a `SyncTransport` to its end, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine over SyncTransport must not suspend")


@cache
def library() -> Any:
    """The HTTP library in use: module httpx2, or httpx."""
    names = ["httpx"] if os.environ.get("ZEROG_HTTP_LIBRARY") == "httpx" else ["httpx2", "httpx"]
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ModuleNotFoundError("neither httpx2 nor httpx is installed: pip install httpx2")


@cache
def ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """The TLS settings for the system's authorities, or for `ca_file`; shared, since making one costs about 20 ms."""
    if ca_file is None:
        context: ssl.SSLContext = library().create_ssl_context()
        return context
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        message = f"ca_file={ca_file!r} holds no certificate authority: {error}"
        raise ConfigError(message, code="bad_ca_file", hint="give the path of a PEM file") from None


class _Response:
    __slots__ = ("_asynchronous", "_clock", "_lib", "_response", "_stall", "certificate_sha256", "headers", "status")

    def __init__(self, response: Any, clock: Clock, times: Timeouts, lib: Any, *, asynchronous: bool) -> None:
        self._response = response
        self._asynchronous = asynchronous
        self._lib = lib
        self._clock = clock
        self._stall = times.between
        watch(response, clock)
        # Where no clock is heeded: the library looks at this again when it begins to read the body.
        response.request.extensions["timeout"] = {**response.request.extensions["timeout"], "read": self._stall}
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in response.headers.items()}
        self.certificate_sha256 = leaf_sha256(response)

    async def chunks(self) -> AsyncIterator[bytes]:
        encoding = self.headers.get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            async for chunk in self._raw():
                yield chunk
        elif encoding in ("gzip", "x-gzip"):
            gunzip = Gunzip()
            async for chunk in self._raw():
                for piece in gunzip.feed(chunk):
                    yield piece
            gunzip.end()
        else:
            raise BodyBroken(f"the body is encoded ({encoding[:40]!r}), which was not asked for")

    async def _raw(self) -> AsyncIterator[bytes]:
        lib, restart, stall = self._lib, self._clock.restart, self._stall
        try:
            if self._asynchronous:
                async for chunk in self._response.aiter_raw():
                    yield chunk
                    restart(stall)
            else:
                for chunk in self._response.iter_raw():
                    yield chunk
                    restart(stall)
        except lib.TimeoutException as error:
            raise BodyBroken("the response stalled") from error
        except (lib.TransportError, lib.StreamError) as error:
            raise BodyBroken(f"the connection broke ({type(error).__name__})") from error

    async def close(self) -> None:
        if self._asynchronous:
            await self._response.aclose()
        else:
            self._response.close()


def leaf_sha256(response: Any) -> str:
    """SHA-256 of the leaf certificate of the connection that carries `response`, "" for plain http."""
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = tls.getpeercert(True) if tls is not None else None
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


class _Pools:
    """What both transports share: how a client is made and how its errors are read.

    Args:
        ca_file: A certificate authority to trust instead of the system's.
        max_connections: Connections at a time.
        client: A client of httpx2 or httpx to send everything through instead of clients of our own. Only its
            connections are used (proxy, TLS settings, mounts, event hooks): neither its headers, cookies, credentials
            and parameters nor its redirects. It stays its owner's to close.

    Raises:
        ConfigError: `client` is none of this kind, or `ca_file` is given as well.
    """

    _kind = "Client"

    def __init__(self, ca_file: str | None = None, max_connections: int = 100, client: Any = None) -> None:
        self._ca_file = ca_file
        self._max_connections = max_connections
        self._given = client
        self._given_lib = None if client is None else _library_of(client, self._kind)
        if client is not None and ca_file is not None:
            raise ConfigError(
                "ca_file does not apply to a given HTTP client",
                code="bad_http_client",
                hint="leave ca_file out, and give the authority to the client: verify=ssl.create_default_context(…)",
            )

    @property
    def _lib(self) -> Any:
        return self._given_lib or library()

    def _lend(self) -> Any:
        """The given client, None if there is none."""
        if self._given is not None and self._given.is_closed:
            raise ConfigError(
                "the given HTTP client is closed",
                code="bad_http_client",
                hint="keep it open as long as it is used here; closing it is up to whoever made it",
            )
        return self._given

    def _make(self) -> Any:
        lib = library()
        client = getattr(lib, self._kind)(**self._options())
        return clocked(client, lib.ReadTimeout, asynchronous=self._kind == "AsyncClient")

    def _options(self) -> dict[str, Any]:
        lib = library()
        return {
            "verify": ssl_context(self._ca_file),
            "follow_redirects": False,
            "timeout": None,
            # Nothing that a server sets comes back to it, and no proxy for other machines gets to see loopback.
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),
            "mounts": dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]")),
            "limits": lib.Limits(
                max_connections=self._max_connections,
                max_keepalive_connections=self._max_connections,
                keepalive_expiry=30.0,
            ),
        }

    def _build(self, request: Request) -> Any:
        """The library's request, with nothing of a client's in it."""
        times = request.timeouts
        timeout = {"connect": times.connect, "read": times.until_first, "write": times.read, "pool": times.connect}
        built = self._lib.Request(
            request.method,
            request.url,
            headers={**_HEADERS, **request.headers},
            content=request.body,
            extensions={"timeout": timeout},
        )
        if not built.url.host:
            raise self._lib.UnsupportedProtocol("it names no host")
        return built

    def _error(self, error: Exception, request: Request) -> RequestError:
        lib = self._lib
        name = type(error).__name__
        if isinstance(error, (lib.InvalidURL, lib.UnsupportedProtocol, UnicodeError)):  # the last from "https://a..b"
            message = f"no request can be sent to {request.url!r} ({error})"
            return ProviderUnavailable(message, code="connect_failed", hint="choose another provider", retryable=False)
        host = lib.URL(request.url).host
        if isinstance(error, (lib.ConnectError, lib.ConnectTimeout, lib.PoolTimeout, lib.ProxyError)):
            return ProviderUnavailable(
                f"cannot connect to {host} ({name}: {error})",
                code="connect_failed",
                hint="check the URL and your connection, or choose another provider",
            )
        if request.once:
            return OutcomeUnknown(
                f"{host} did not answer ({name}); the request may have been served and billed",
                code="timeout" if isinstance(error, lib.TimeoutException) else "connection_lost",
                hint="the receipt (error.receipt) records it; retry only if paying twice is acceptable",
            )
        return ProviderUnavailable(f"{host} did not answer ({name})", code="connection_lost", hint="try again")


def _library_of(client: Any, kind: str) -> Any:
    """The module that made `client`; it need not be the one we use ourselves."""
    for base in type(client).__mro__:
        name = base.__module__.partition(".")[0]
        if name in ("httpx", "httpx2") and isinstance(client, getattr(importlib.import_module(name), kind)):
            return importlib.import_module(name)
    raise ConfigError(
        f"a {type(client).__name__} is given where an httpx2.{kind} (or httpx.{kind}) is needed",
        code="bad_http_client",
        hint="blocking calls take a Client, asynchronous ones an AsyncClient",
    )


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

    def __init__(self, ca_file: str | None = None, max_connections: int = 100, client: Any = None) -> None:
        super().__init__(ca_file, max_connections, client)
        self._begin()

    def _begin(self) -> None:
        self._client: Any = None
        self._closer: Any = None
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._pid = os.getpid()

    async def send(self, request: Request) -> Response:
        """See `Transport.send`."""
        if self._pid != os.getpid():
            self._begin()
        if (client := self._lend()) is None:
            with self._guard:
                if self._client is None:
                    self._client = self._make()
                    self._closer = weakref.finalize(self, self._client.close)
                client = self._client
        lib, clock = self._lib, Clock(request.timeouts.until_first)
        token = CLOCK.set(clock)
        try:
            response = client.send(self._build(request), stream=True, auth=None, follow_redirects=False)
        except (lib.TransportError, lib.InvalidURL, UnicodeError) as error:
            raise self._error(error, request) from _without_frames(error)
        finally:
            CLOCK.reset(token)
        return _Response(response, clock, request.timeouts, lib, asynchronous=False)

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
        threading.Thread(target=lambda: run(work()), name="zerog-verify", daemon=True).start()

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

    _kind = "AsyncClient"

    def __init__(self, ca_file: str | None = None, max_connections: int = 100, client: Any = None) -> None:
        super().__init__(ca_file, max_connections, client)
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = weakref.WeakKeyDictionary()
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = (
            weakref.WeakKeyDictionary()
        )
        self._tasks: set[asyncio.Future[None]] = set()
        self._guard = threading.Lock()  # loops of several threads may share this transport
        self._given_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None

    async def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if (given := self._lend()) is not None:
            self._bind(loop)
            return given
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
        client = await self._client()
        lib, clock = self._lib, Clock(request.timeouts.until_first)
        token = CLOCK.set(clock)
        try:
            response = await client.send(self._build(request), stream=True, auth=None, follow_redirects=False)
        except (lib.TransportError, lib.InvalidURL, UnicodeError) as error:
            raise self._error(error, request) from _without_frames(error)
        finally:
            CLOCK.reset(token)
        return _Response(response, clock, request.timeouts, lib, asynchronous=True)

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
    client: Any
    keeper: AsyncGenerator[None, None]
    closer: Any


def _close_in_loop(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None, None]) -> None:
    """The transport is gone: close its client in the loop that is still running."""

    async def close() -> None:
        await keeper.aclose()

    with suppress(RuntimeError):  # the loop is closed, and has closed the client
        loop.call_soon_threadsafe(lambda: loop.create_task(close()))


async def _close_with_loop(client: Any) -> AsyncGenerator[None, None]:
    """Waits in its loop for the end: a loop that ends closes its generators, and so does one that nobody holds."""
    try:
        yield
    finally:
        await client.aclose()
