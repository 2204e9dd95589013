"""How long a response may keep one waiting: until its first byte, and between two.

The HTTP library bounds every read from the socket by itself, so a server that sends one byte of its head a minute is
never late for it. Here the streams below the library are wrapped, and a `Clock` bounds the reads of one response
together. Connecting has its own bound in the library.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeGuard

from zg_core.errors import ConfigError

__all__ = ["CLOCK", "Clock", "Patience", "Timeouts", "clocked", "is_seconds", "timeouts_of", "watch"]

_MOST = 1e9  # seconds: what is far longer overflows the system's clocks, after the request was sent


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether `value` is a number of seconds that can be waited.

    Example:
        >>> is_seconds(0), is_seconds(60.0), is_seconds("60"), is_seconds(float("inf")), is_seconds(1e300)
        (True, True, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How many seconds a call may keep one waiting.

    Attributes:
        connect: To connect, or to get one of the connections there are.
        read: Without a byte of the response; it stands for the two below where they are not given.
        first_token: From sending the request to the first byte of the body, model's thinking included, however slowly
            the head trickles in.
        stall: Between two pieces of the body.
        whole: From sending the request to the end of the body, however steadily it comes, an hour by default; None
            sets no bound.

    Raises:
        ConfigError: one of them is no positive number.

    Example:
        >>> Timeouts(read=60, first_token=120).until_first, Timeouts(read=60).between
        (120, 60)
    """

    connect: float = 10.0
    read: float = 300.0
    first_token: float | None = None
    stall: float | None = None
    whole: float | None = field(default=3600.0, repr=False)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for seconds in (self.connect, self.read, self.first_token, self.stall, self.whole):
            if seconds.__class__ is not float or not 0 < seconds <= _MOST:
                self._check()
                return

    def _check(self) -> None:
        for name in ("connect", "read", "first_token", "stall", "whole"):
            seconds = getattr(self, name)
            if seconds is None and name in ("first_token", "stall", "whole"):
                continue
            if not is_seconds(seconds) or not seconds:
                message = f"timeout {name} must be positive, and not above {_MOST:g}"
                raise ConfigError(message, code="bad_timeout", hint="seconds, for example timeout=60")

    @property
    def until_first(self) -> float:
        """Seconds until the first byte of the body."""
        return self.read if self.first_token is None else self.first_token

    @property
    def between(self) -> float:
        """Seconds between two pieces of the body."""
        return self.read if self.stall is None else self.stall

    def held(self, seconds: float) -> Timeouts:
        """The same for an answer that may be held back so long without a byte: every wait without one is longer.

        Example:
            >>> Timeouts(read=20).held(60), Timeouts(read=20).held(60).until_first
            (Timeouts(connect=10.0, read=80, first_token=None, stall=None), 80)
        """
        if not seconds:
            return self
        longer = {n: v + seconds for n in ("read", "first_token", "stall") if (v := getattr(self, n)) is not None}
        return replace(self, **longer)


class _OfHttpx(Protocol):
    """A ``Timeout`` of httpx or httpx2."""

    connect: float | None
    read: float | None


Patience = float | Timeouts | tuple[float | None, ...] | _OfHttpx | None
"""How a timeout may be given; see `timeouts_of`."""


def timeouts_of(given: Patience) -> Timeouts:
    """What `given` means: seconds, `Timeouts`, or what httpx takes.

    Args:
        given: Seconds without a byte, at most 10 of them to connect; ``(connect, read)``; a tuple of httpx's four, of
            which ``write`` and ``pool`` say nothing here; a ``Timeout`` of httpx; None for the default.

    Raises:
        ConfigError: it is none of them, or has no end.

    Example:
        >>> timeouts_of((5, 60))
        Timeouts(connect=5, read=60, first_token=None, stall=None)
    """
    if given is None:
        return Timeouts()
    if isinstance(given, Timeouts):
        return given
    if isinstance(given, int | float):
        return Timeouts(connect=min(10.0, given), read=given)
    if isinstance(given, tuple | list) and len(given) in (2, 4):
        connect, read = given[0], given[1]
    elif all(hasattr(given, name) for name in ("connect", "read", "write", "pool")):
        connect, read = given.connect, given.read  # type: ignore[union-attr]
    else:
        hint = "seconds, (connect, read), or zg_core.Timeouts(connect=…, read=…)"
        raise ConfigError(f"timeout is a {type(given).__name__}", code="bad_timeout", hint=hint)
    if connect is None or read is None:
        raise ConfigError("timeout has no end", code="bad_timeout", hint="give seconds to connect and to read")
    return Timeouts(connect=connect, read=read)


class Clock:
    """Bounds the reads of one response.

    Args:
        limit: Seconds from the first read (when the request has been sent) until `restart`.
        whole: Seconds from the first read to the last; None sets no bound.
    """

    __slots__ = ("_deadline", "_end", "_limit", "_whole")

    def __init__(self, limit: float, whole: float | None = None) -> None:
        self._limit = limit
        self._whole = whole
        self._deadline: float | None = None
        self._end = math.inf

    def end_within(self, seconds: float) -> None:
        """Allow so many seconds from now on for all that is still to come, however often it is restarted."""
        now = time.monotonic()
        self._end = min(self._end, now + seconds)
        self._deadline = self._end if self._deadline is None else min(self._deadline, self._end)

    def restart(self, limit: float) -> None:
        """Allow `limit` seconds from now on."""
        self._deadline = min(time.monotonic() + limit, self._end)

    def left(self) -> float:
        """Seconds that are left, 0 or less if none are."""
        now = time.monotonic()
        if self._deadline is None:
            self._end = math.inf if self._whole is None else now + self._whole
            self._deadline = min(now + self._limit, self._end)
        return self._deadline - now


CLOCK: ContextVar[Clock | None] = ContextVar("zerog_clock", default=None)
"""The clock of the response whose head is being waited for: its connection is not known yet."""


class _Stream:
    """A network stream of the library whose reads obey a clock."""

    __slots__ = ("_late", "_stream", "clock")

    def __init__(self, stream: Any, late: type[Exception]) -> None:
        self._stream = stream
        self._late = late
        self.clock: Clock | None = None  # of the response whose body comes over it

    def _timeout(self, timeout: float | None) -> float | None:
        clock = CLOCK.get() or self.clock
        if clock is None:
            return timeout
        left = clock.left()
        if left <= 0:
            raise self._late("too late")
        return left if timeout is None else min(left, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _SyncStream(_Stream):
    __slots__ = ()

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._stream.read(max_bytes, self._timeout(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> Any:
        return self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> Any:
        return _SyncStream(self._stream.start_tls(*args, **kwargs), self._late)


class _AsyncStream(_Stream):
    __slots__ = ()

    async def read(self, max_bytes: int, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the library's own
        return await self._stream.read(max_bytes, self._timeout(timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        return await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(self, *args: Any, **kwargs: Any) -> Any:
        return _AsyncStream(await self._stream.start_tls(*args, **kwargs), self._late)


class _SyncBackend:
    """A network backend of the library that makes such streams."""

    def __init__(self, backend: Any, late: type[Exception]) -> None:
        self._backend = backend
        self._late = late

    def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
        return _SyncStream(self._backend.connect_tcp(*args, **kwargs), self._late)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _AsyncBackend(_SyncBackend):
    async def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
        return _AsyncStream(await self._backend.connect_tcp(*args, **kwargs), self._late)


def clocked(client: Any, late: type[Exception], *, asynchronous: bool) -> Any:
    """`client`, a new one of the library's, with reads that obey clocks.

    Args:
        client: The client; where it is built otherwise than those we know, its reads are bounded one by one only.
        late: What a read raises when no time is left.
        asynchronous: Whether it is an async client.
    """
    kind = _AsyncBackend if asynchronous else _SyncBackend
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        pool: Any = getattr(transport, "_pool", None)
        if hasattr(pool, "_network_backend"):
            pool._network_backend = kind(pool._network_backend, late)  # noqa: SLF001
    return client


def watch(response: Any, clock: Clock) -> None:
    """From now on `clock` bounds the reads of `response`'s body."""
    stream = response.extensions.get("network_stream")
    if isinstance(stream, _Stream):
        stream.clock = clock
