"""HTTP/1.1 over connections of our own: h11 speaks it, `zg_core.http.wires` carries it, idle ones are kept for reuse.

A verified answer is two small requests, and a client library in between (pool, hooks, redirects, cookies, per-request
clients) costs more CPU than both of them; this is the part of one that a call needs. It is a coroutine over a `Wire`,
so that threads and event loops share it.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import h11

from zg_core.http.wires import BAD_HEADER, Broken, Unsendable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from zg_core.http.timeouts import Clock
    from zg_core.http.urls import Target
    from zg_core.http.wires import Wire

__all__ = ["Connections", "Link"]

IDLE_SECONDS = 30.0  # servers of this field hang up after 60 to 75 s
MAX_IDLE = 100
_MAX_HEAD_BYTES = 100 * 1024
_PIECE_BYTES = 16 * 1024


# Origin, and whether only the public internet may be dialled for it: a connection into the user's own network must not
# serve a request that may not go there.
Place = tuple[tuple[str, str, int], bool]


class Link:
    """A connection to one origin and the state of the protocol on it."""

    __slots__ = ("_failed", "_protocol", "certificate_sha256", "ended", "idle_since", "place", "wire")

    def __init__(self, place: Place, wire: Wire) -> None:
        self.place = place
        self.wire = wire
        self.idle_since = 0.0
        self.ended = False
        """Whether the body of the response was read to its end."""
        certificate = wire.certificate
        self.certificate_sha256 = hashlib.sha256(certificate).hexdigest() if certificate else ""
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._failed: Exception | None = None

    def request(self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """The bytes of a request.

        Raises:
            Unsendable: a header is none.
        """
        lines = [(b"Host", target.authority), *((n.encode(), v.encode()) for n, v in headers.items())]
        if body is not None:
            lines.append((b"Content-Length", str(len(body)).encode()))
        try:
            head = self._protocol.send(h11.Request(method=method, target=target.path, headers=lines))
            data = self._protocol.send(h11.Data(data=body)) if body else None
            end = self._protocol.send(h11.EndOfMessage())
        except h11.LocalProtocolError:  # its text and its frames hold the header, which may be a token
            head = None
        if head is None:
            raise Unsendable(BAD_HEADER)
        return head + (data or b"") + (end or b"")

    async def head(self, clock: Clock) -> tuple[int, dict[str, str]]:
        """Status and headers of the response, names in lower case."""
        self.ended = False
        while True:
            event = self._next()
            if event is h11.NEED_DATA:
                data = await self.wire.read(clock.left())
                if not data:
                    raise Broken("the server hung up without an answer")
                self._protocol.receive_data(data)
            elif isinstance(event, h11.Response):
                return event.status_code, _joined(event.headers)
            elif not isinstance(event, h11.InformationalResponse):
                raise Broken("the server does not speak HTTP")

    async def pull(self, clock: Clock) -> bytes:
        """What has arrived of the body, in one piece unless it is much; b"" at its end."""
        parts: list[bytes | bytearray] = []
        size, next_event = 0, self._protocol.next_event
        while not self.ended and size < _PIECE_BYTES:
            try:
                event = next_event()
            except h11.RemoteProtocolError as error:
                if parts:
                    break  # what came before counts; it raises again when it is asked again
                raise Broken(str(error)) from None
            if isinstance(event, h11.Data):
                parts.append(event.data)
                size += len(event.data)
            elif event is h11.NEED_DATA:
                if parts:
                    break
                self._protocol.receive_data(await self.wire.read(clock.left()))
            elif isinstance(event, h11.EndOfMessage):
                self.ended = True
            else:
                raise Broken("the server does not speak HTTP")
        return b"".join(parts)

    def _next(self) -> object:
        try:
            return self._protocol.next_event()
        except h11.RemoteProtocolError as error:
            reason = str(error)
        raise Broken(reason)

    def reusable(self) -> bool:
        """Whether both sides have said all; the next request may follow then."""
        if not (self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE):
            return False
        if self._protocol.trailing_data[0]:
            return False
        self._protocol.start_next_cycle()
        return True


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


class Connections:
    """The connections of one transport (and event loop); a request takes an idle one, or makes one.

    Args:
        wire: How connections are made.
        context: The TLS settings, asked for when first needed.
    """

    def __init__(self, wire: type[Wire], context: Callable[[], ssl.SSLContext]) -> None:
        self._wire = wire
        self._context = context
        self._idle: dict[Place, deque[Link]] = {}
        self._links: set[Link] = set()
        self.is_closed = False
        """Whether it was closed; what is still under way then hangs up when it ends."""

    async def take(self, target: Target, seconds: float, *, public: bool = False) -> Link:
        """A connection for one request: the one used last, or a new one within `seconds`.

        Args:
            target: Where to.
            seconds: How long connecting may take.
            public: Whether only addresses of the public internet may be dialled.

        Raises:
            NotConnected: there is none to be had.
            OutOfReach: there may be none.
        """
        place = target.origin, public
        idle = self._idle.get(place)
        while idle:
            try:
                link = idle.pop()
            except IndexError:  # another thread was faster
                break
            if time.monotonic() - link.idle_since < IDLE_SECONDS and not link.wire.stale():
                return link
            self.drop(link)
        scheme, host, port = target.origin
        context = self._context() if scheme == "https" else None
        wire = await self._wire.connect(host, port, context, seconds, public)
        link = Link(place, wire)
        self._links.add(link)
        return link

    def give(self, link: Link) -> None:
        """Take `link` back after its response has ended; it is kept for the next request where it can be."""
        if self.is_closed or not link.reusable():
            self.drop(link)
            return
        now = link.idle_since = time.monotonic()
        idle = self._idle.setdefault(link.place, deque())
        idle.append(link)
        with suppress(IndexError):  # another thread was faster
            while len(idle) > MAX_IDLE or now - idle[0].idle_since > IDLE_SECONDS:
                self.drop(idle.popleft())

    def drop(self, link: Link) -> None:
        """Hang up."""
        self._links.discard(link)
        link.wire.close()

    def close(self) -> None:
        """Hang up everywhere."""
        self.is_closed = True
        self._idle.clear()
        for link in list(self._links):
            self.drop(link)
