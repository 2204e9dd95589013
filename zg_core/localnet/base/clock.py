"""The one clock of a local network: real time that a test can push forward."""

from __future__ import annotations

import math
import threading
import time

# How often a waiter with a stop event looks at it: an Event and a Condition cannot be waited for together.
_STOP_POLL_SECONDS = 0.02


class Clock:
    """UTC unix time that follows the machine's clock plus a movable offset.

    The chain and every provider of a local network share one, so that a day can pass for all of them at
    once. It never runs backwards, not even when the machine's clock is set back. All methods may be
    called from any thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._offset = 0.0
        self._latest = time.time()

    def __repr__(self) -> str:
        return f"Clock(offset={self.offset:g})"

    @property
    def offset(self) -> float:
        """Seconds this clock has been moved ahead of the machine's."""
        with self._changed:
            return self._offset

    def now(self) -> float:
        """Return the time in unix seconds."""
        with self._changed:
            return self._now()

    def _now(self) -> float:
        self._latest = max(self._latest, time.time() + self._offset)
        return self._latest

    def advance(self, seconds: float) -> None:
        """Move the clock forward and let everybody who waits on it look again.

        Args:
            seconds: how far, at least 0.

        Raises:
            ValueError: if `seconds` is negative or not a finite number.
        """
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"the clock only moves forward, by a finite number of seconds: not by {seconds!r}")
        with self._changed:
            self._offset += seconds
            self._changed.notify_all()

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        """Block until time has passed on this clock; `advance` shortens the wait.

        Args:
            seconds: how long, by this clock. Zero or less returns at once.
            stop: ends the wait early when set.

        Returns:
            True when the time has passed, False when `stop` was set first.
        """
        with self._changed:
            deadline = self._now() + seconds
            while stop is None or not stop.is_set():
                left = deadline - self._now()
                if left <= 0:
                    return True
                self._changed.wait(left if stop is None else min(left, _STOP_POLL_SECONDS))
            return False
