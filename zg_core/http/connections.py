"""HTTP/1.1 over connections of our own: `speech` knows its words, `wires` carries them, idle ones are kept for reuse.

A verified answer is two small requests, and a client library in between (pool, hooks, redirects, cookies, per-request
clients) costs more CPU than both of them; this is the part of one that a call needs. It is a coroutine over a `Wire`,
so that threads and event loops share it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from zg_core.http.messages import Upload
from zg_core.http.patience import IDLE_SECONDS, Patience
from zg_core.http.speech import Speech, header_lines, request_head
from zg_core.http.wires import Broken, NotConnected, pinned_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from zg_core.http.signals import Signal
    from zg_core.http.timeouts import Clock
    from zg_core.http.urls import Target
    from zg_core.http.wires import Wire

__all__ = ["Connections", "Link", "rest_of"]

MOST = 100
"""Connections of one transport (and event loop), unless more is asked for; who wants one more waits for one."""

_EARLY_BYTES = 1024 * 1024
_TOGETHER = 64 * 1024  # a body of this size is sent with its head; to copy a longer one costs more than to send twice
_MOST_LINES = 4


# Origin, whether only the public internet may be dialled for it, and the certificate that it is known by: a connection
# into the user's own network must not serve a request that may not go there, nor one to any server a pinned request.
Place = tuple[tuple[str, str, int], bool, str]


def rest_of(body: bytes | Upload | None) -> Iterable[bytes] | None:
    """What of a body follows its head; None where it went with it."""
    if isinstance(body, Upload):
        return body.pieces()
    return None if body is None or len(body) <= _TOGETHER else (body,)


class Link:
    """A connection to one origin and the state of the protocol on it."""

    __slots__ = (
        "_early", "_lines", "_speech", "_whole", "certificate_sha256", "heard", "idle_since", "place", "silence",
        "wire",
    )  # fmt: skip

    def __init__(self, place: Place, wire: Wire) -> None:
        self.place = place
        self.wire = wire
        self.idle_since = 0.0
        self.silence: float | None = None
        """Seconds for which it was idle before the present request; None when it is new."""
        self.heard = False
        """Whether anything has come of the response."""
        certificate = wire.certificate
        self.certificate_sha256 = hashlib.sha256(certificate).hexdigest() if certificate else ""
        self._speech = Speech()
        self._early: tuple[int, dict[str, str]] | None = None  # it came before all of the request was sent
        self._whole = True  # all of it is sent
        self._lines: dict[tuple[tuple[str, str], ...], bytes] = {}  # headers as they were written: few differ

    def request(self, method: str, target: Target, headers: Mapping[str, str], body: bytes | Upload | None) -> bytes:
        """The bytes of a request; of one whose body is long, or is uploaded, its head: then follow `rest_of` it.

        Raises:
            Unsendable: a header is none.
        """
        self._speech.begin()
        self.heard, self._early = False, None
        said = tuple(headers.items())
        if (lines := self._lines.get(said)) is None:
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            lines = self._lines[said] = header_lines(headers)
        head = request_head(method, target, lines, None if body is None else len(body))
        return head + body if isinstance(body, bytes) and len(body) <= _TOGETHER else head

    @property
    def ended(self) -> bool:
        """Whether the body of the response was read to its end."""
        return self._speech.ended

    async def depart(self, data: bytes, seconds: float) -> None:
        """Send a request, unless the server refuses it before it has heard all: then `head` tells the refusal.

        Raises:
            Late: it takes too long.
            Broken: the server hung up without an answer.
        """
        end = time.monotonic() + seconds
        self._whole = await self.wire.write(data, seconds)
        room = _EARLY_BYTES
        while not self._whole:
            said = await self._hear(end - time.monotonic())
            room -= len(said)
            if self._early is None:
                self._early = self._speech.head()
            if self._early is not None and (self._early[0] >= 300 or not said or room < 0):
                return
            self._whole = await self.wire.resume(end - time.monotonic())

    async def upload(self, pieces: Iterable[bytes], seconds: float) -> None:
        """Send the body of a request whose head has departed; a refusal on the way ends it, as in `depart`.

        Raises:
            Late: a piece takes longer than `seconds`.
            Broken: the server hung up without an answer.
        """
        for piece in pieces:
            if not self._whole:
                return
            await self.depart(piece, seconds)

    async def head(self, clock: Clock) -> tuple[int, dict[str, str]]:
        """Status and headers of the response, names in lower case."""
        response = self._early
        while response is None and (response := self._speech.head()) is None:
            await self._hear(clock.left())
        return response

    async def _hear(self, seconds: float) -> bytes:
        """The next bytes, which the protocol has been told; b"" at the end of an answer that began."""
        data = await self.wire.read(seconds)
        if not data and self._early is None:
            raise Broken("the server hung up without an answer")
        self.heard = self.heard or bool(data)
        self._speech.feed(data)
        return data

    async def pull(self, clock: Clock) -> bytes:
        """What has arrived of the body, in one piece unless it is much; b"" at its end."""
        while (piece := self._speech.piece()) is None:
            self._speech.feed(await self.wire.read(clock.left()))
        return piece

    def reusable(self) -> bool:
        """Whether both sides have said all; the next request may follow then."""
        return self._whole and self._speech.kept


class Connections:
    """The connections of one transport (and event loop); a request takes an idle one, or makes one.

    Args:
        wire: How connections are made.
        context: The TLS settings, asked for when first needed.
        most: How many there may be, `MOST` or more.
    """

    def __init__(self, wire: type[Wire], context: Callable[[], ssl.SSLContext], most: int = 0) -> None:
        self._most = max(most, MOST)
        self._wire = wire
        self._context = context
        self._idle: dict[Place, deque[Link]] = {}
        self._patience: dict[Place, Patience] = {}
        self._links: set[Link] = set()
        self._guard = threading.Lock()
        self._connecting = 0
        self._waiting: deque[Signal] = deque()
        self.is_closed = False
        """Whether it was closed; what is still under way then hangs up when it ends."""

    async def take(
        self,
        target: Target,
        seconds: float,
        *,
        public: bool = False,
        paid: bool = False,
        new: bool = False,
        pin: str = "",
    ) -> Link:
        """A connection for one request: the one used last, or a new one.

        Args:
            target: Where to.
            seconds: How long it may take to get one.
            public: Whether only addresses of the public internet may be dialled.
            paid: Whether the request is lost where the server has just hung up.
            new: Whether it must be a new one.
            pin: The only certificate that the server may show (`Request.pin`).

        Raises:
            NotConnected: there is none to be had.
            OutOfReach: there may be none.
        """
        place = target.origin, public, pin
        if not new and (link := self._idle_one(place, paid=paid)) is not None:
            return link
        end = time.monotonic() + seconds
        if not self._reserve() and (link := await self._wait(place, end, paid=paid)) is not None:
            return link
        try:
            scheme, host, port = target.origin
            context = None
            if scheme == "https":
                context = pinned_context(pin) if pin else self._context()
            link = Link(place, await self._wire.connect(host, port, context, end - time.monotonic(), public))
            self._links.add(link)
        except BaseException:
            self._connected()
            self._wake()
            raise
        self._connected()
        return link

    def _idle_one(self, place: Place, *, paid: bool) -> Link | None:
        idle = self._idle.get(place)
        if not idle:
            return None
        patience, now = self._patience[place], time.monotonic()
        bound = patience.bound(now, paid=paid)
        while idle:
            try:
                link = idle.pop()
            except IndexError:  # another thread was faster
                break
            silence = now - link.idle_since
            if silence >= patience.kept:
                self.drop(link)
            elif link.wire.stale():
                patience.hung_up((link.wire.hung_up or now) - link.idle_since, now)
                bound = min(bound, patience.bound(now, paid=paid))
                self.drop(link)
            elif silence < bound:
                link.silence = silence
                return link
            else:  # the others are older; they will do for what may be sent again
                idle.append(link)
                break
        return None

    def _reserve(self) -> bool:
        """Whether one more may be made; an idle one makes room for it."""
        with self._guard:
            if len(self._links) + self._connecting >= self._most:
                for idle in list(self._idle.values()):
                    with suppress(IndexError):
                        self._hang_up(idle.popleft())
                        break
                else:
                    return False
            self._connecting += 1
            return True

    def _connected(self) -> None:
        with self._guard:
            self._connecting -= 1

    async def _wait(self, place: Place, end: float, *, paid: bool) -> Link | None:
        """An idle connection as soon as there is one, or None, where one more may be made."""
        signal = self._wire.signal()
        self._waiting.append(signal)
        try:
            while True:
                # Looked for only now: what is given back from here on wakes us.
                if (link := self._idle_one(place, paid=paid)) is not None or self._reserve():
                    return link
                if (left := end - time.monotonic()) <= 0:
                    raise NotConnected(f"all {self._most} connections are in use")
                await signal.wait(left)
                if signal not in self._waiting:
                    self._waiting.appendleft(signal)
        finally:
            with suppress(ValueError):
                self._waiting.remove(signal)
            self._wake()  # we may have been woken and not need it

    def _wake(self) -> None:
        with suppress(IndexError):
            self._waiting.popleft().set()

    def answered(self, link: Link, headers: Mapping[str, str]) -> None:
        """Note what an answer on `link` says of its server's patience."""
        patience = self._patience.get(link.place)
        if patience is None:
            patience = self._patience.setdefault(link.place, Patience())
        if link.silence is not None:
            patience.survived(link.silence)
        if (word := headers.get("keep-alive")) is not None:
            patience.announced(word)

    def lost(self, link: Link) -> bool:
        """Whether `link` was kept and its server hung up before it answered anything."""
        if link.silence is None or link.heard:
            return False
        self._patience[link.place].hung_up(link.silence, time.monotonic())
        return True

    def give(self, link: Link) -> None:
        """Take `link` back after its response has ended; it is kept for the next request where it can be."""
        if self.is_closed or not link.reusable():
            self.drop(link)
            return
        now = link.idle_since = time.monotonic()
        idle = self._idle.setdefault(link.place, deque())
        idle.append(link)
        with suppress(IndexError):  # another thread was faster
            while now - idle[0].idle_since > IDLE_SECONDS:
                self.drop(idle.popleft())
        if self._waiting:
            self._wake()

    def drop(self, link: Link) -> None:
        """Hang up."""
        self._hang_up(link)
        if self._waiting:
            self._wake()

    def _hang_up(self, link: Link) -> None:
        self._links.discard(link)
        link.wire.close()

    def close(self) -> None:
        """Hang up everywhere."""
        self.is_closed = True
        self._idle.clear()
        for link in list(self._links):
            self.drop(link)
