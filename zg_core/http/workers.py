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
    """Runs work in daemon threads, at most `most` at once; a process that ends does not wait for them.

    Example:
        >>> done = threading.Event()
        >>> Workers().submit(done.set)
        >>> done.wait(5)
        True
    """

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._ready = threading.Condition()
        self._work: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._free = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work` in one of the threads; what it raises is logged."""
        if self._pid != os.getpid():  # a forked child has neither the threads nor their work
            self._begin()
        with self._ready:
            self._work.append(work)
            if self._free >= len(self._work) or self._threads >= self._most:
                self._ready.notify()
                return
            self._threads += 1
        threading.Thread(target=self._run, name="zerog-background", daemon=True).start()

    def _run(self) -> None:
        ready = self._ready
        while True:
            with ready:
                self._free += 1
                found = ready.wait_for(lambda: self._work, IDLE_SECONDS)
                self._free -= 1
                if not found:
                    self._threads -= 1
                    return
                work = self._work.popleft()
            try:
                work()
            except Exception:
                logger.exception("background work failed")
            del work  # it holds a call and its transport
