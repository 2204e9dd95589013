"""Threads for background work of blocking clients: started when they are needed, ended when nothing comes any more."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Workers"]

logger = logging.getLogger(__name__)

IDLE_SECONDS = 5.0


class Workers:
    """Runs work in daemon threads; a process that ends does not wait for them.

    Work waits in queues, one for each provider: however many of its answers wait for evidence that does not come, the
    answers of others have threads left.

    Args:
        most: Threads at once.
        each: Threads at once for one queue.

    Example:
        >>> done = threading.Event()
        >>> Workers().submit(done.set)
        >>> done.wait(5)
        True
    """

    def __init__(self, most: int = 32, each: int = 4) -> None:
        self._most = most
        self._each = each
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._ready = threading.Condition()
        self._queues: dict[str, deque[Callable[[], None]]] = {}  # those with work, the next to be served first
        self._running: dict[str, int] = {}
        self._threads = 0
        self._busy = 0
        self._free = 0  # waiting for work; those that have just been started are neither busy nor free

    def submit(self, work: Callable[[], None], queue: str = "") -> None:
        """Run `work` in one of the threads, after what waits in the same queue; what it raises is logged."""
        if self._pid != os.getpid():  # a forked child has neither the threads nor their work
            self._begin()
        with self._ready:
            self._queues.setdefault(queue, deque()).append(work)
            self._staff()

    def _staff(self) -> None:
        """See to it that a thread takes the work that may run now."""
        runnable = sum(min(len(work), self._room(queue)) for queue, work in self._queues.items())
        while runnable > self._threads - self._busy and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._run, name="zerog-background", daemon=True).start()
        if runnable:
            self._ready.notify()

    def _room(self, queue: str) -> int:
        return self._each - self._running.get(queue, 0)

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        """The next work that may run, of the queue that was served least recently."""
        for queue, waiting in self._queues.items():
            if self._room(queue) > 0:
                work = waiting.popleft()
                del self._queues[queue]
                if waiting:
                    self._queues[queue] = waiting
                return queue, work
        return None

    def _run(self) -> None:
        while True:
            with self._ready:
                self._free += 1
                found = self._ready.wait_for(self._next, IDLE_SECONDS)
                self._free -= 1
                if found is None:
                    self._threads -= 1
                    return
                queue, work = found
                self._busy += 1
                self._running[queue] = self._running.get(queue, 0) + 1
            try:
                work()
            except Exception:
                logger.exception("background work failed")
            del work, found  # they hold a call and its transport
            with self._ready:
                self._busy -= 1
                self._running[queue] -= 1
                if not self._running[queue]:
                    del self._running[queue]
                self._staff()
