"""What sends for one transport (or event loop of it), and how a failure is told.

Requests go over connections of our own, through a proxy over the HTTP library, and all over the library where the user
wants that. Whatever carries them: a request that costs nothing and met a server just hanging up is sent once more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zg_core.config import shown_url
from zg_core.errors import OutcomeUnknown, ProviderUnavailable, RequestError
from zg_core.http.bodies import Body, BodyBroken
from zg_core.http.connections import Connections, rest_of
from zg_core.http.given import LibraryClient
from zg_core.http.library import ssl_context
from zg_core.http.proxies import Proxies
from zg_core.http.reach import OWN_PROVIDERS, OutOfReach
from zg_core.http.timeouts import Clock
from zg_core.http.urls import target_of
from zg_core.http.wires import Broken, Late, NotConnected, Unsendable, Untrusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from zg_core.http.connections import Link
    from zg_core.http.messages import Request, Response
    from zg_core.http.proxies import Proxy
    from zg_core.http.urls import Target
    from zg_core.http.wires import Wire

__all__ = ["Engine", "failure_of"]


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

    def __del__(self) -> None:
        """Whoever forgot to close this does not keep one of the connections there are."""
        if (link := getattr(self, "_link", None)) is not None:
            self._connections.drop(link)


class Engine:
    """Connections of our own, and clients of the library where a proxy is set or the user wants them.

    Args:
        wire: How connections are made.
        ca_file: A certificate authority to trust instead of the system's.
        asynchronous: Whether the library's clients are those for an event loop.
        library: Whether everything goes over the library.
        most: How many connections there may be, if more than otherwise.
    """

    def __init__(
        self, wire: type[Wire], ca_file: str | None, *, asynchronous: bool, library: bool = False, most: int = 0
    ) -> None:
        self._connections = Connections(wire, lambda: ssl_context(ca_file), most)
        self._ca_file = ca_file
        self._asynchronous = asynchronous
        self._library = library
        self._proxies = Proxies()
        self._clients: dict[tuple[Proxy | None, str], LibraryClient] = {}
        self._elsewhere = library or bool(self._proxies)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._connections.is_closed

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Send `request` with `headers`.

        Raises:
            ConfigError: a proxy or an authority that is set is none.
            NotConnected: nothing was sent.
            OutOfReach: nothing may be.
            Unsendable: nothing can be.
            Late: no answer came in time.
            Broken: none came.
        """
        target = target_of(request.url)
        if self._elsewhere and (client := self._client(target, request.pin)) is not None:
            return await client.send(request, headers)
        times, connections = request.timeouts, self._connections
        public, pin = request.public, request.pin
        link = await connections.take(target, times.connect, public=public, paid=request.once, pin=pin)
        while True:
            clock = Clock(times.until_first, times.whole)
            try:
                await link.depart(link.request(request.method, target, headers, request.body), times.read)
                if (rest := rest_of(request.body)) is not None:
                    await link.upload(rest, times.read)
                head = await link.head(clock)
                break
            except Broken:
                connections.drop(link)
                if not connections.lost(link) or request.once:
                    raise
            except BaseException:
                connections.drop(link)
                raise
            link = await connections.take(target, times.connect, public=public, new=True, pin=pin)
        connections.answered(link, head[1])
        return _Response(connections, link, head, clock, times.between)

    def _client(self, target: Target, pin: str) -> LibraryClient | None:
        proxy = self._proxies.of(target)
        if proxy is None and not self._library:
            return None
        if (client := self._clients.get((proxy, pin))) is None:
            made = LibraryClient(ca_file=self._ca_file, proxy=proxy, pin=pin, asynchronous=self._asynchronous)
            client = self._clients.setdefault((proxy, pin), made)  # another thread may have been faster
        return client

    def close(self) -> None:
        """Hang up everywhere."""
        self._connections.close()
        for client in self._clients.values():
            client.close()

    async def aclose(self) -> None:
        """The same in the event loop to which this belongs."""
        self._connections.close()
        for client in self._clients.values():
            await client.aclose()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn


def failure_of(error: Exception, request: Request) -> RequestError:
    """The error that tells why there is no answer to `request`; its cause is `error` without frames."""
    told = _told(error, request)
    told.__cause__ = _without_frames(error)
    return told


def _told(error: Exception, request: Request) -> RequestError:
    if isinstance(error, Unsendable):
        message = f"no request can be sent to {shown_url(request.url)} ({error})"
        return ProviderUnavailable(message, code="connect_failed", hint="choose another provider", retryable=False)
    host = request.url.partition("://")[2].partition("/")[0]
    if isinstance(error, OutOfReach):
        return ProviderUnavailable(
            f"{host} leads to {error}, and a URL from a chain may not",
            code="insecure_url",
            hint=OWN_PROVIDERS,
            retryable=False,
        )
    if isinstance(error, NotConnected):
        trusted = not isinstance(error, Untrusted)
        other = "check this machine's clock, or name the authority (ca_file=…)"
        return ProviderUnavailable(
            f"cannot connect to {host} ({error})",
            code="connect_failed",
            hint=f"{'check the URL and your connection' if trusted else other}, or choose another provider",
            retryable=trusted,
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
