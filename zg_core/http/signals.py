"""Signals: what a caller waits for until another thread or event loop wakes it.

They can be set from anywhere, finalizers included: the garbage collector may run one in the very thread that is about
to wait, so setting takes no lock that could be held there.
"""

from __future__ import annotations

import asyncio
import queue
from contextlib import suppress
from typing import Protocol

__all__ = ["LoopSignal", "Signal", "ThreadSignal"]


class Signal(Protocol):
    """Wakes the one who waits for it; being set twice is being set once or twice."""

    @property
    def dead(self) -> bool:
        """Whether nobody can be waiting any more."""
        ...

    @property
    def stalls(self) -> bool:
        """Whether an event loop stands still while one waits, and with it what one may be waiting for."""
        ...

    def set(self) -> None:
        """Wake the waiter, now or as soon as it waits; from any thread."""
        ...

    async def wait(self, seconds: float | None) -> None:
        """Return when set, or after so many seconds."""
        ...


class ThreadSignal:
    """Blocks the thread that waits.

    Example:
        >>> signal = ThreadSignal()
        >>> signal.set()
        >>> signal.wait(None).send(None)
        Traceback (most recent call last):
        StopIteration
    """

    __slots__ = ("_queue", "stalls")

    dead = False

    def __init__(self) -> None:
        try:
            self.stalls = asyncio.get_running_loop() is not None
        except RuntimeError:
            self.stalls = False
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()  # its `put` may interrupt itself

    def set(self) -> None:
        """See `Signal.set`."""
        self._queue.put(None)

    async def wait(self, seconds: float | None) -> None:
        """See `Signal.wait`."""
        with suppress(queue.Empty):
            self._queue.get(timeout=None if seconds is None else max(0.0, seconds))


class LoopSignal:
    """Suspends the task that waits; belongs to the running event loop."""

    __slots__ = ("_event", "_loop")

    stalls = False

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    @property
    def dead(self) -> bool:
        """See `Signal.dead`."""
        return self._loop.is_closed()

    def set(self) -> None:
        """See `Signal.set`."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float | None) -> None:
        """See `Signal.wait`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()
