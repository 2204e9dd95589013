"""One connection as bytes, TLS included: `SyncWire` blocks its thread, `AsyncWire` lives in an asyncio loop.

They have the same methods, so that what is said over them (`zg_core.http.connections`) is written once.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from zg_core.http.reach import reachable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["BAD_HEADER", "AsyncWire", "Broken", "Late", "NotConnected", "SyncWire", "Unsendable", "Wire"]

_P = TypeVar("_P", bound=asyncio.Protocol)
_READ_BYTES = 64 * 1024
_HIGH_WATER = 256 * 1024

BAD_HEADER = "a header or the path holds characters that HTTP does not allow"


class NotConnected(Exception):
    """No connection could be made, so nothing was sent."""


class Late(Exception):
    """The time allowed for reading or writing is over."""


class Broken(Exception):
    """The connection ended, or what comes over it is not HTTP."""


class Unsendable(Exception):
    """No request can be made of this: not a URL, or not a header. Nothing was sent."""


class Wire(Protocol):
    """A connection; seconds are those that one call may take."""

    certificate: bytes | None
    """The server's certificate (DER), None without TLS."""

    @classmethod
    async def connect(
        cls, host: str, port: int, context: ssl.SSLContext | None, seconds: float, public: bool = False
    ) -> Self:
        """Connect; with TLS where `context` is given, and only to addresses of the public internet where `public` is.

        Raises `NotConnected`, and `OutOfReach` before anything is dialled.
        """
        ...

    async def read(self, seconds: float) -> bytes:
        """The next bytes, at least one; b"" at the end. Raises `Late` or `Broken`."""
        ...

    async def write(self, data: bytes, seconds: float) -> None:
        """Send all of `data`. Raises `Late` or `Broken`."""
        ...

    def stale(self) -> bool:
        """Whether an idle connection is of no more use: its server hung up, or speaks unasked."""
        ...

    def close(self) -> None:
        """Hang up; may be called again."""
        ...


class SyncWire:
    """A blocking socket. Its coroutines never suspend."""

    __slots__ = ("_socket", "certificate")

    def __init__(self, connected: socket.socket, certificate: bytes | None) -> None:
        self._socket = connected
        self.certificate = certificate

    @classmethod
    async def connect(
        cls, host: str, port: int, context: ssl.SSLContext | None, seconds: float, public: bool = False
    ) -> Self:
        """See `Wire.connect`."""
        end = time.monotonic() + seconds
        connected: socket.socket | None = None
        certificate = None
        try:
            resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            connected = _dial(reachable(resolved) if public else resolved, end)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                connected.settimeout(max(end - time.monotonic(), 0.001))
                secured = context.wrap_socket(connected, server_hostname=host)
                certificate, connected = secured.getpeercert(True), secured
        except (OSError, UnicodeError) as error:
            if connected is not None:
                connected.close()
            raise NotConnected(_told(error)) from None
        except BaseException:
            if connected is not None:
                connected.close()
            raise
        return cls(connected, certificate)

    async def read(self, seconds: float) -> bytes:
        """See `Wire.read`."""
        if seconds <= 0:
            raise Late
        try:
            self._socket.settimeout(seconds)
            return self._socket.recv(_READ_BYTES)
        except TimeoutError:
            raise Late from None
        except OSError as error:
            raise Broken(type(error).__name__) from None

    async def write(self, data: bytes, seconds: float) -> None:
        """See `Wire.write`."""
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(data)
        except TimeoutError:
            raise Late from None
        except OSError as error:
            raise Broken(type(error).__name__) from None

    def stale(self) -> bool:
        """See `Wire.stale`."""
        try:
            if not hasattr(select, "poll"):  # Windows
                return bool(select.select([self._socket], [], [], 0)[0])
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def close(self) -> None:
        """See `Wire.close`."""
        with suppress(OSError):
            self._socket.close()


def _dial(resolved: list[tuple[Any, ...]], end: float) -> socket.socket:
    """A connection to the first of the addresses that takes one; none of them is looked up again."""
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in resolved:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(max(end - time.monotonic(), 0.001))
            made.connect(address)
        except OSError as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failure


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

    @classmethod
    async def connect(
        cls, host: str, port: int, context: ssl.SSLContext | None, seconds: float, public: bool = False
    ) -> Self:
        """See `Wire.connect`."""
        loop = asyncio.get_running_loop()
        server_name = host if context is not None else None
        try:
            async with asyncio.timeout(seconds):
                if not public:
                    transport, wire = await loop.create_connection(
                        cls, host, port, ssl=context, server_hostname=server_name, happy_eyeballs_delay=0.25
                    )
                else:
                    resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                    transport, wire = await _dial_in(loop, cls, reachable(resolved), context, server_name)
        except (OSError, UnicodeError) as error:  # of which TimeoutError is one
            raise NotConnected(_told(error)) from None
        tls = transport.get_extra_info("ssl_object")
        wire.certificate = None if tls is None else tls.getpeercert(True)
        return wire

    async def read(self, seconds: float) -> bytes:
        """See `Wire.read`."""
        if not self._data and not self._eof and self._error is None:
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

    async def write(self, data: bytes, seconds: float) -> None:
        """See `Wire.write`."""
        self._check_open()
        self._transport.write(data)
        if not self._writable:
            self._writer = self._loop.create_future()
            await self._wait(self._writer, seconds)
            self._check_open()

    def _check_open(self) -> None:
        if self._eof or self._error is not None:
            raise Broken("ConnectionResetError" if self._error is None else type(self._error).__name__)

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
        return self._eof or self._error is not None or bool(self._data) or self._transport.is_closing()

    def close(self) -> None:
        """See `Wire.close`."""
        with suppress(RuntimeError):  # the loop is closed, and the connection with it
            self._transport.abort()

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

    def eof_received(self) -> None:
        """Note that the server hung up."""
        self._eof = True
        _wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone, and why."""
        self._eof, self._error = True, exc
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """Note that the server reads too slowly."""
        self._writable = False

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self._writable = True
        _wake(self._writer)


async def _dial_in(
    loop: asyncio.AbstractEventLoop,
    protocol: Callable[[], _P],
    resolved: list[tuple[Any, ...]],
    context: ssl.SSLContext | None,
    server_name: str | None,
) -> tuple[asyncio.Transport, _P]:
    """As `_dial`; a loop does not look up what is an address already."""
    failure: OSError = OSError("the name has no address")
    for info in resolved:
        host, port = info[4][:2]
        try:
            return await loop.create_connection(protocol, host, port, ssl=context, server_hostname=server_name)
        except OSError as error:
            failure = error
    raise failure


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(Late())


def _told(error: Exception) -> str:
    name = type(error).__name__
    return "timed out" if isinstance(error, TimeoutError) else f"{name}: {error}" if str(error) else name
