"""How long a server keeps a silent connection: what it announces, and what was seen of it.

A request that goes out while the server hangs up is lost. One that costs nothing is sent again; a paid one is not, for
nobody knows whether it was served, so it goes over a connection only while the server surely keeps it.
"""

from __future__ import annotations

import math
import re

__all__ = ["IDLE_SECONDS", "Patience"]

IDLE_SECONDS = 30.0
"""No connection is kept longer: servers and balancers of this field hang up after 5 to 75 s."""

_START = 4.0  # below the 5 s of uvicorn and Node, which stand before most models
_ROUND_TRIP = 1.0  # the server's clock runs from its answer to the arrival of the next request
_MEMORY = 600.0  # seconds: a server that hung up early may only have been restarted
_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)


class Patience:
    """What is known of one origin's patience.

    Attributes:
        paid: Seconds of silence after which a connection carries no paid request any more.
        kept: Seconds of silence after which it is not used at all.

    Example:
        >>> patience = Patience()
        >>> patience.announced("timeout=2, max=100")
        >>> patience.paid, patience.kept
        (1.0, 2.0)
    """

    __slots__ = ("_announced", "_forget", "_word", "kept", "paid")

    def __init__(self) -> None:
        self.paid = _START
        self.kept = IDLE_SECONDS
        self._word = ""
        self._announced = False
        self._forget = math.inf

    def announced(self, word: str) -> None:
        """Heed a ``Keep-Alive`` header."""
        if word == self._word:
            return
        self._word = word
        if (found := _TIMEOUT.search(word)) is None:
            return
        seconds = float(found[1])
        self._announced = True
        self.kept = min(seconds, IDLE_SECONDS)
        self.paid = min(max(seconds - _ROUND_TRIP, seconds / 2), IDLE_SECONDS)

    def survived(self, idle: float) -> None:
        """A connection served a request after so many seconds of silence."""
        if not self._announced and idle - _ROUND_TRIP > self.paid and self._forget == math.inf:
            self.paid = idle - _ROUND_TRIP

    def hung_up(self, idle: float, now: float) -> None:
        """The server ended a connection, at `now` (``time.monotonic``), within so many seconds of silence."""
        self.paid = min(self.paid, idle / 2)
        self._forget = now + _MEMORY

    def bound(self, now: float, *, paid: bool) -> float:
        """Seconds of silence after which a connection carries no request of this kind."""
        if self._forget < now:
            self.__init__()  # type: ignore[misc]  # as if it had never been seen
        return self.paid if paid else self.kept
