"""One connection as bytes, TLS included: `SyncWire` blocks its thread, `AsyncWire` lives in an asyncio loop.

They have the same methods, so that what is said over them (`zg_core.http.connections`) is written once.
"""

from __future__ import annotations

import asyncio
import hashlib
import select
import selectors
import socket
import ssl
import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self

from zg_core.http.dialling import addresses, dial, dial_in_loop, keep_alive
from zg_core.http.reach import reachable
from zg_core.http.signals import LoopSignal, ThreadSignal
from zg_core.shown.escaping import line
from zg_core.shown.redaction import blot

if TYPE_CHECKING:
    from zg_core.http.signals import Signal

__all__ = [
    "BAD_HEADER", "AsyncWire", "Broken", "Late", "NotConnected", "SyncWire", "Unsendable", "Untrusted", "Wire",
    "pinned_context",
]  # fmt: skip

_READ_BYTES = 64 * 1024
_HIGH_WATER = 256 * 1024
_LONGEST = 1_000_000.0  # seconds; the system takes no more
_AT_ONCE = 16 * 1024  # there is room for that in the system's buffers: nothing is sent before it

_MOST_SAID, _MOST_SHOWN = 4000, 300
BAD_HEADER = "a header or the path holds characters that HTTP does not allow"


class Failure(Exception):
    """Why nothing came of a request; strangers' words in the text are cut short, without secrets and commands."""

    def __init__(self, why: object = "") -> None:
        super().__init__(line(blot(str(why)[:_MOST_SAID]))[:_MOST_SHOWN])


class NotConnected(Failure):
    """No connection could be made, so nothing was sent."""


class Untrusted(NotConnected):
    """The server shows a certificate that is not trusted, and will show it the next time, too."""


class Late(Failure):
    """The time allowed for reading or writing is over."""


class Broken(Failure):
    """The connection ended, or what comes over it is not HTTP."""


class Unsendable(Failure):
    """No request can be made of this: not a URL, or not a header. Nothing was sent."""


class Wire(Protocol):
    """A connection; seconds are those that one call may take."""

    certificate: bytes | None
    """The server's certificate (DER), None without TLS."""
    hung_up: float | None
    """When the server hung up (``time.monotonic``), where the wire notices that by itself."""

    @classmethod
    async def connect(
        cls, host: str, port: int, context: ssl.SSLContext | None, seconds: float, public: bool = False
    ) -> Self:
        """Connect; with TLS where `context` is given, and only to addresses of the public internet where `public` is.

        Raises `NotConnected`, and `OutOfReach` before anything is dialled.
        """
        ...

    @staticmethod
    def signal() -> Signal:
        """Something to wait for in the way in which this wire waits."""
        ...

    async def read(self, seconds: float) -> bytes:
        """The next bytes, at least one; b"" at the end. Raises `Late` or `Broken`."""
        ...

    async def write(self, data: bytes, seconds: float) -> bool:
        """Send all of `data`; False if the server spoke or hung up first, which `read` then tells. Raises `Late`."""
        ...

    async def resume(self, seconds: float) -> bool:
        """Go on with what `write` has not sent; the same again."""
        ...

    def stale(self) -> bool:
        """Whether an idle connection is of no more use: its server hung up, or speaks unasked."""
        ...

    def close(self) -> None:
        """Hang up; may be called again."""
        ...


class SyncWire:
    """A blocking socket. Its coroutines never suspend."""

    __slots__ = ("_broken", "_heard", "_poll", "_rest", "_socket", "_waits", "certificate")

    hung_up: float | None = None

    def __init__(self, connected: socket.socket, certificate: bytes | None) -> None:
        self._socket = connected
        self.certificate = certificate
        self._heard: bytes | None = None  # what came while we were sending
        self._rest = memoryview(b"")  # what is not sent yet
        self._broken = False
        self._poll: Any = None  # not on Windows
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(connected, select.POLLIN)
        # A socket with a timeout is asked by the system three times for every read: here it is waited for, then read.
        # What TLS has heard already nobody can wait for.
        self._waits = self._poll is not None and not isinstance(connected, ssl.SSLSocket)
        if self._waits:
            connected.settimeout(0)

    @classmethod
    async def connect(
        cls, host: str, port: int, context: ssl.SSLContext | None, seconds: float, public: bool = False
    ) -> Self:
        """See `Wire.connect`."""
        end = time.monotonic() + seconds
        connected: socket.socket | None = None
        certificate = None
        try:
            found = await addresses(host, port, seconds, cls.signal)
            connected = dial(reachable(found) if public else found, _until(end))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(connected)
            if context is not None:
                connected.settimeout(_until(end))
                secured = context.wrap_socket(connected, server_hostname=host)
                certificate, connected = secured.getpeercert(True), secured
        except (OSError, UnicodeError) as error:
            if connected is not None:
                connected.close()
            raise _not_connected(error) from None
        except BaseException:
            if connected is not None:
                connected.close()
            raise
        return cls(connected, certificate)

    @staticmethod
    def signal() -> ThreadSignal:
        """See `Wire.signal`."""
        return ThreadSignal()

    async def read(self, seconds: float) -> bytes:
        """See `Wire.read`."""
        if self._heard is not None:
            heard, self._heard = self._heard, None
            return heard
        if seconds <= 0:
            raise Late
        began = time.monotonic()
        try:
            if not self._waits:
                self._socket.settimeout(seconds)
            elif not self._poll.poll(min(seconds, _LONGEST) * 1000):
                raise Late
            return self._socket.recv(_READ_BYTES)
        except BlockingIOError:  # what came was broken on its way
            return await self.read(seconds - (time.monotonic() - began))
        except TimeoutError:
            raise Late from None
        except OSError as error:
            raise Broken(type(error).__name__) from None

    async def write(self, data: bytes, seconds: float) -> bool:
        """See `Wire.write`."""
        if len(data) > _AT_ONCE:
            self._rest = memoryview(data)
            return await self.resume(seconds)
        try:
            if not self._waits:
                self._socket.settimeout(seconds)
            sent = self._socket.send(data)
        except BlockingIOError:  # the system's buffers are full
            sent = 0
        except TimeoutError:
            raise Late from None
        except OSError:
            self._broken = True
            return False
        if sent == len(data):
            return True
        self._rest = memoryview(data)[sent:]
        return await self.resume(seconds)

    async def resume(self, seconds: float) -> bool:
        """See `Wire.resume`."""
        end = time.monotonic() + seconds
        self._socket.settimeout(0)
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._socket, selectors.EVENT_READ)
            while self._rest and not self._broken:
                if not (events := self._push()):
                    continue
                waiting.modify(self._socket, events)
                if not waiting.select(end - time.monotonic()):
                    raise Late
                if self._listen():
                    return False
        self._rest = memoryview(b"")  # an empty piece of the request would hold all of it
        return not self._broken

    def _push(self) -> int:
        """Send what there is room for; 0, or which events to wait for."""
        try:
            self._rest = self._rest[self._socket.send(self._rest) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            return selectors.EVENT_READ | selectors.EVENT_WRITE
        except ssl.SSLWantReadError:
            return selectors.EVENT_READ
        except OSError:
            self._broken = True
        return 0

    def _listen(self) -> bool:
        """Whether the server has said something, or hung up."""
        try:
            self._heard = self._socket.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            self._broken = True
        return True

    def stale(self) -> bool:
        """See `Wire.stale`."""
        try:
            if self._poll is None:
                return bool(select.select([self._socket], [], [], 0)[0])
            return self._socket.fileno() < 0 or bool(self._poll.poll(0))
        except (OSError, ValueError):
            return True

    def close(self) -> None:
        """See `Wire.close`."""
        with suppress(OSError):
            self._socket.close()


class AsyncWire(asyncio.Protocol):
    """A connection of the event loop in which it was made."""

    _transport: Any

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._eof = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._reading = True
        self._writable = True
        self.certificate: bytes | None = None
        self.hung_up: float | None = None

    @classmethod
    async def connect(
        cls, host: str, port: int, context: ssl.SSLContext | None, seconds: float, public: bool = False
    ) -> Self:
        """See `Wire.connect`."""
        loop = asyncio.get_running_loop()
        server_name = host if context is not None else None
        try:
            async with asyncio.timeout(seconds):
                found = await addresses(host, port, seconds, cls.signal)
                connected = await dial_in_loop(reachable(found) if public else found)
                keep_alive(connected)
                transport, wire = await loop.create_connection(
                    cls, sock=connected, ssl=context, server_hostname=server_name
                )
        except (OSError, UnicodeError) as error:  # of which TimeoutError is one
            raise _not_connected(error) from None
        tls = transport.get_extra_info("ssl_object")
        wire.certificate = None if tls is None else tls.getpeercert(True)
        return wire

    @staticmethod
    def signal() -> LoopSignal:
        """See `Wire.signal`."""
        return LoopSignal()

    async def read(self, seconds: float) -> bytes:
        """See `Wire.read`."""
        if not self._spoke():
            self._reader = self._loop.create_future()
            await self._wait(self._reader, seconds)
        if self._data:
            data, self._data = self._data, b""
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
            return data
        if self._error is not None:
            raise Broken(type(self._error).__name__)
        return b""

    async def write(self, data: bytes, seconds: float) -> bool:
        """See `Wire.write`."""
        if self._gone():
            return False
        self._transport.write(data)
        return self._writable or await self.resume(seconds)

    async def resume(self, seconds: float) -> bool:
        """See `Wire.resume`."""
        if not self._writable and not self._spoke():
            self._writer = self._loop.create_future()
            await self._wait(self._writer, seconds)
        return self._writable and not self._gone()

    def _gone(self) -> bool:
        return self._eof or self._error is not None

    def _spoke(self) -> bool:
        return bool(self._data) or self._gone()

    async def _wait(self, future: asyncio.Future[None], seconds: float) -> None:
        if seconds <= 0:
            raise Late
        timer = self._loop.call_later(seconds, _expire, future)
        try:
            await future
        finally:
            timer.cancel()

    def stale(self) -> bool:
        """See `Wire.stale`."""
        return self._spoke() or self._transport.is_closing()

    def close(self) -> None:
        """See `Wire.close`."""
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        with suppress(RuntimeError):  # the loop is closed, and the connection with it
            if here:
                self._transport.abort()
            else:  # another thread may be the one that runs it
                self._loop.call_soon_threadsafe(self._transport.abort)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep bytes until they are read, and hold the server up where nobody reads."""
        self._data = self._data + data if self._data else data
        if self._reading and len(self._data) > _HIGH_WATER:
            self._reading = False
            self._transport.pause_reading()
        _wake(self._reader)
        _wake(self._writer)

    def eof_received(self) -> None:
        """Note that the server hung up."""
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone, and why."""
        self._error = exc
        self._ended()

    def _ended(self) -> None:
        if not self._eof:
            self._eof, self.hung_up = True, time.monotonic()
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """Note that the server reads too slowly."""
        self._writable = False

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self._writable = True
        _wake(self._writer)


# TLS to exactly one certificate. Nothing else of it counts, as where a registry lists addresses without names: no
# authority, no host name. Trusting the certificate instead would not do: one that may sign others vouches for any that
# its key has signed (opengradient §2.1).


class _Pinned:
    """Compares what the server shows with the pin of its context once the handshake is through."""

    def do_handshake(self, *arguments: Any) -> None:
        super().do_handshake(*arguments)  # type: ignore[misc]
        shown = self.getpeercert(True)  # type: ignore[attr-defined]
        if not shown or hashlib.sha256(shown).hexdigest() != self.context.pin:  # type: ignore[attr-defined]
            raise ssl.SSLCertVerificationError("the server shows another certificate than the one it is known by")


class _PinnedSocket(_Pinned, ssl.SSLSocket):
    pass


class _PinnedObject(_Pinned, ssl.SSLObject):
    pass


class _Context(ssl.SSLContext):
    sslsocket_class = _PinnedSocket
    sslobject_class = _PinnedObject
    pin: str


@lru_cache(maxsize=1024)
def pinned_context(certificate_sha256: str) -> ssl.SSLContext:
    """TLS settings for connections to whoever shows the certificate with this SHA-256 (lower-case hex).

    Example:
        >>> pinned_context("ab" * 32).check_hostname
        False
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the comparison is all there is, and it is stricter
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a handshake within the connection would show a certificate unseen
    context.pin = certificate_sha256
    context.set_alpn_protocols(["http/1.1"])
    return context


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(Late())


def _until(end: float) -> float:
    """Seconds that are left, as a timeout of the system: 0 would mean not to wait at all."""
    return max(end - time.monotonic(), 0.001)


def _not_connected(error: Exception) -> NotConnected:
    name = type(error).__name__
    told = "timed out" if isinstance(error, TimeoutError) else f"{name}: {error}" if str(error) else name
    return Untrusted(told) if isinstance(error, ssl.SSLCertVerificationError) else NotConnected(told)
