"""How providers have been doing: measured by our own calls, forgotten with a half-life, shared by all of a process.

A provider that fails is left alone for a while (it cools down), and then one caller tries it for all. A record costs a
few additions for each call, under a lock that nobody holds while waiting.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BOOK", "Decayed", "Health", "HealthBook", "Measured"]

HALF_LIFE = 300.0
"""Seconds after which a measurement counts half as much."""
COOLDOWN = 5.0
"""Seconds for which a provider is left alone after its first failure; doubled with each that follows."""
LONGEST_COOLDOWN = 300.0
_MOST_WEIGHT = 32.0  # measurements that count at once: so that a busy provider's are forgotten as fast as others'
_LEAST_WEIGHT = 0.125  # below, which is after three half-lives of a single one, nothing is known any more
_SHAKY = 0.5
_ENOUGH = 4.0

State = Literal["up", "cooling", "half_open"]


class Decayed:
    """The mean of measurements that count the less the older they are.

    Args:
        half_life: Seconds after which one counts half.

    Example:
        >>> mean = Decayed(half_life=10)
        >>> mean.add(1.0, now=0)
        >>> mean.add(4.0, now=10)
        >>> mean.mean(now=10)
        3.0
        >>> mean.mean(now=100) is None
        True
    """

    __slots__ = ("_at", "_half_life", "_sum", "_weight")

    def __init__(self, half_life: float = HALF_LIFE) -> None:
        self._half_life = half_life
        self._at = 0.0
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float, now: float) -> None:
        """Count `value`, measured `now` (seconds of any clock)."""
        kept = self._weight * self._faded(now)
        if kept < 1e-9:  # so old that only rounding is left of it
            self._sum, self._weight = value, 1.0
        else:
            mean = self._sum / self._weight
            kept = min(kept, _MOST_WEIGHT - 1)
            self._sum, self._weight = mean * kept + value, kept + 1
        self._at = max(self._at, now)

    def weight(self, now: float) -> float:
        """How many fresh measurements it is worth."""
        return self._weight * self._faded(now)

    def mean(self, now: float) -> float | None:
        """The mean; None where nothing was measured, or too long ago."""
        return self._sum / self._weight if self.weight(now) >= _LEAST_WEIGHT else None

    def _faded(self, now: float) -> float:
        age = max(0.0, now - self._at)
        return math.exp2(-min(age / self._half_life, 1000.0))


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a provider at one moment.

    Attributes:
        state: ``"up"``; ``"cooling"`` after a failure; ``"half_open"`` when somebody may try it again.
        wait: Seconds until it is no longer cooling.
        stream_latency: Seconds until the first byte of a stream, None if not known.
        whole_latency: The same of an answer in one piece, which begins only when it is finished.
        throughput: Tokens a second, from sending to the end.
        failures: Share of calls that failed.
        calls: How many calls that share is of; older ones count for less.

    Example:
        >>> Measured().state, Measured(failures=0.75, calls=8).shaky
        ('up', True)
    """

    state: State = "up"
    wait: float = 0.0
    stream_latency: float | None = None
    whole_latency: float | None = None
    throughput: float | None = None
    failures: float | None = None
    calls: float = 0.0

    @property
    def shaky(self) -> bool:
        """Whether half of its calls or more fail, of some; a single failure only makes it cool down.

        Not when it has cooled down, and is due to be tried again.
        """
        enough = self.calls >= _ENOUGH and self.state != "half_open"
        return enough and self.failures is not None and self.failures >= _SHAKY


class Health:
    """One provider; safe from many threads.

    Args:
        clock: Seconds, never going back.

    Example:
        >>> moment = 0.0
        >>> health = Health(clock=lambda: moment)
        >>> health.failed()
        >>> health.admit(), health.measured().state
        (False, 'cooling')
        >>> moment = 5.0
        >>> health.admit(), health.admit()
        (True, False)
    """

    __slots__ = (
        "_clock", "_cooling", "_failures", "_lock", "_probed", "_run", "_stream", "_throughput", "_until", "_whole"
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = time.monotonic, half_life: float = HALF_LIFE) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cooling = False
        self._until = 0.0
        self._run = 0  # failures in a row
        self._probed = False
        self._failures = Decayed(half_life)
        self._stream, self._whole, self._throughput = (Decayed(half_life) for _ in range(3))

    def admit(self) -> bool:
        """Whether to call it now. After a cooldown one caller is let through, and the next only a cooldown later."""
        with self._lock:
            now = self._clock()
            if not self._cooling:
                return True
            if now < self._until:
                return False
            self._until = now + self._cooldown()  # one that never tells how it went holds nobody up for longer
            self._probed = True
            return True

    def began(self) -> None:
        """It has begun to answer: it is up again."""
        with self._lock:
            self._cooling = self._probed = False

    def answered(self, *, first_byte: float | None, stream: bool, throughput: float | None = None) -> None:
        """A call ended well.

        Args:
            first_byte: Seconds from sending to the first byte.
            stream: Whether it was a stream.
            throughput: Tokens a second, None where they are not known.
        """
        with self._lock:
            now = self._clock()
            self._run = 0
            self._cooling = self._probed = False
            self._failures.add(0.0, now)
            if first_byte is not None:
                (self._stream if stream else self._whole).add(first_byte, now)
            if throughput is not None:
                self._throughput.add(throughput, now)

    def failed(self) -> None:
        """A call failed by the provider's doing: it cools down.

        Calls that were under way together with one that failed before do not make it longer.
        """
        with self._lock:
            now = self._clock()
            self._failures.add(1.0, now)
            if self._cooling and not self._probed and now < self._until:
                return
            self._run += 1
            self._cooling, self._probed = True, False
            self._until = now + self._cooldown()

    def paused(self, seconds: float | None = None) -> None:
        """It asks to be left alone for `seconds`, which is no failure."""
        with self._lock:
            now = self._clock()
            wait = COOLDOWN if seconds is None else min(max(seconds, 0.0), LONGEST_COOLDOWN)
            self._until = max(self._until, now + wait) if self._cooling and not self._probed else now + wait
            self._cooling, self._probed = True, False

    def measured(self) -> Measured:
        """All that is known now."""
        with self._lock:
            now = self._clock()
            wait = max(0.0, self._until - now) if self._cooling else 0.0
            return Measured(
                state="cooling" if wait else "half_open" if self._cooling else "up",
                wait=wait,
                stream_latency=self._stream.mean(now),
                whole_latency=self._whole.mean(now),
                throughput=self._throughput.mean(now),
                failures=self._failures.mean(now),
                calls=self._failures.weight(now),
            )

    def _cooldown(self) -> float:
        doublings: int = min(max(self._run - 1, 0), 16)
        return min(COOLDOWN * 2.0**doublings, LONGEST_COOLDOWN)


class HealthBook:
    """The records of all providers, by realm and provider.

    Example:
        >>> book = HealthBook()
        >>> book.of(1, "0xAB") is book.of(1, "0xab"), book.of(1, "0xab") is book.of(2, "0xab")
        (True, False)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, half_life: float = HALF_LIFE) -> None:
        self._clock = clock
        self._half_life = half_life
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str], Health] = {}

    def of(self, realm: str, provider: str) -> Health:
        """The record of this provider, made if there is none."""
        key = (realm, provider.lower())
        if (record := self._records.get(key)) is None:
            with self._lock:
                record = self._records.setdefault(key, Health(self._clock, self._half_life))
        return record

    def known(self, realm: str, provider: str) -> Measured | None:
        """What is known of this provider now; None of one that was never asked."""
        record = self._records.get((realm, provider.lower()))
        return None if record is None else record.measured()

    def clear(self) -> None:
        """Forget everything; clients find new records at their next call."""
        with self._lock:
            self._records.clear()


BOOK = HealthBook()
"""The records of this process."""
