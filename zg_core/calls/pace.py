"""The pace of one payer at one provider: a token bucket that starts with our limits and follows the provider's word.

It lives in memory, for one process, or in the store, for all processes that open it. Either way it hands out nothing
in advance: who has to wait is told for how long and asks again, so one who leaves meanwhile takes nothing along.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from zg_core.errors import ConfigError
from zg_core.http.refusals import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from zg_core.calls.limits import Limits
    from zg_core.store import Store

__all__ = ["LONGEST_PAUSE", "Level", "MemoryPace", "Pace", "StoredPace", "Taken", "Word"]

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 3600.0
"""Seconds for which a provider is believed that it wants no requests; its longest known block (0g-direct §4.6)."""

_MOST = 1_000_000  # a limit that is larger is none
_ROUNDING = 1e-6  # what is lost where seconds since 1970 are subtracted
_SKEW = 60.0  # the clock of another machine may be that far ahead; more, and it is ours that was set back
_SLACK = 0.1  # seconds: not all requests take equally long to the provider, and it must not see two too close
_NOTABLE = 1.0  # seconds or requests: less is not worth writing down


@dataclass(frozen=True, slots=True)
class Word:
    """What a provider said about its rate in the headers of a response (0g-direct §4.6).

    Attributes:
        per_minute: Requests a minute, 0 if it did not say.
        remaining: Requests that were left then, None if it did not say.
        pause: Seconds for which it wants no request.
    """

    per_minute: int
    remaining: int | None
    pause: float

    @classmethod
    def of(cls, headers: Mapping[str, str], pause: float | None = None) -> Word | None:
        """Read headers, names in lower case; `pause` is what a refusal asks for. None if they say nothing.

        Example:
            >>> Word.of({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "9"})
            Word(per_minute=60, remaining=9, pause=0.0)
        """
        if pause is None:
            pause = retry_after(headers)
        per_minute = _count(headers.get("x-ratelimit-limit-requests"))
        remaining = _count(headers.get("x-ratelimit-remaining-requests"))
        if not per_minute and remaining is None and not pause:
            return None
        return cls(per_minute or 0, remaining, pause or 0.0)


def _count(text: str | None) -> int | None:
    text = (text or "").strip()
    return min(int(text), _MOST) if text.isascii() and text.isdecimal() and len(text) < 20 else None


@dataclass(slots=True)
class Level:
    """How full the bucket is; times in seconds, of whichever clock `now` is.

    Attributes:
        used: Requests that count against the burst; it drains at the rate.
        at: When that was so.
        drained: When `used` was last 0.
        per_minute: The provider's own rate, 0 as long as it did not say.
        burst: The burst that the provider has been seen to allow, 0 as long as it was no more than ours.
        paused: Until when the provider wants no request.

    Example:
        >>> from zg_core.calls.limits import Limits
        >>> level, limits = Level(), Limits(per_minute=30, burst=2)
        >>> [level.take(100.0, limits) for _ in range(3)]
        [0.0, 0.0, 2.1]
    """

    used: float = 0.0
    at: float = 0.0
    drained: float = 0.0
    per_minute: int = 0
    burst: int = 0
    paused: float = 0.0

    def take(self, now: float, limits: Limits) -> float:
        """Take one request out and return 0, or return the seconds until that may be possible."""
        self._drain(now, limits)
        missing = self.used + 1 - max(self.burst, limits.burst)
        wait = max(self.pause(now), 0.0)
        if missing > _ROUNDING:
            rate = self._rate(limits)
            wait = max(wait, self.at - now + missing / rate + min(_SLACK, 0.1 / rate))
        if wait <= 0:
            self.used += 1
        return wait

    def give_back(self, taken: float, now: float, limits: Limits) -> None:
        """Put back what was taken at `taken` and not used, unless it has drained since."""
        self._drain(now, limits)
        if taken >= self.drained:
            self.used = max(0.0, self.used - 1)

    def heard(self, word: Word, age: float, now: float, limits: Limits) -> bool:
        """Follow the provider's word, given `age` seconds ago; whether that changed anything to speak of."""
        self._drain(now, limits)
        changed = False
        if word.per_minute and word.per_minute != (self.per_minute or limits.per_minute):
            self.per_minute, changed = word.per_minute, True
        if word.remaining is not None:
            burst = max(self.burst, limits.burst)
            if word.remaining > burst:
                self.burst, burst, changed = word.remaining, word.remaining, True
            # The number is rounded down, so one more may be left. More than we know of were used by somebody else.
            used = burst - word.remaining - 1 - age * self._rate(limits)
            changed = changed or used > self.used + _NOTABLE
            self.used = max(self.used, used)
        paused = now + min(word.pause - age, LONGEST_PAUSE)
        # Where the next request would have to wait that long anyway, a pause is no news.
        free = self.at + max(0.0, self.used + 1 - max(self.burst, limits.burst)) / self._rate(limits)
        changed = changed or paused > max(self.paused, now, free) + _NOTABLE
        self.paused = max(self.paused, paused)
        return changed

    def pause(self, now: float) -> float:
        """Seconds for which the provider wants no request; 0 or less if it wants them."""
        return min(self.paused - now, LONGEST_PAUSE)

    def interval(self, limits: Limits) -> float:
        """Seconds between two requests at the rate."""
        return 60 / (self.per_minute or limits.per_minute)

    def _rate(self, limits: Limits) -> float:
        return (self.per_minute or limits.per_minute) / 60

    def _drain(self, now: float, limits: Limits) -> None:
        if self.at <= now:
            self.used -= (now - self.at) * self._rate(limits)
        elif self.at <= now + _SKEW:
            return
        self.at = now
        if self.used <= 0:
            self.used, self.drained = 0.0, now


class Taken(NamedTuple):
    """The answer to a request for a turn.

    Attributes:
        wait: Seconds to wait before asking again; 0 if it was granted.
        pause: Seconds of them for which the provider wants no requests, where these are more than its rate explains.
        level: How the bucket stood afterwards.
    """

    wait: float
    pause: float
    level: Level


class Pace:
    """A level that is shared; safe from many threads."""

    blocking = False
    """Whether it waits for something that is not memory."""

    def take(self, limits: Limits) -> Taken:
        """Take one request out, if there is one.

        Raises:
            ConfigError: the store cannot be used.
        """
        with self._level() as (level, now):
            wait = level.take(now, limits)
            pause = level.pause(now)
            return Taken(wait, pause if pause > level.interval(limits) + _NOTABLE else 0.0, replace(level))

    def give_back(self, taken: float, limits: Limits) -> None:
        """Put back what was taken at `taken` (`Level.at`) and not used."""
        self._quietly(lambda level, now: level.give_back(taken, now, limits))

    def heard(self, word: Word, age: float, limits: Limits) -> None:
        """Follow the provider's word, given `age` seconds ago."""
        self._quietly(lambda level, now: level.heard(word, age, now, limits))

    def now(self) -> float:
        """The time by its clock."""
        raise NotImplementedError

    def _level(self) -> AbstractContextManager[tuple[Level, float]]:
        raise NotImplementedError

    def _quietly(self, change: Callable[[Level, float], object]) -> None:
        try:
            with self._level() as (level, now):
                change(level, now)
        except ConfigError as error:  # what is lost makes us slower for a moment, or costs one refusal
            logger.debug("the pace could not be noted: %s", error.message)


class MemoryPace(Pace):
    """The pace of this process.

    Example:
        >>> from zg_core.calls.limits import Limits
        >>> pace = MemoryPace(clock=lambda: 5.0)
        >>> [pace.take(Limits(per_minute=60, burst=1)).wait for _ in range(2)]
        [0.0, 1.1]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = Level()
        self.forked()

    def forked(self) -> None:
        """This process is a copy: a thread that held the lock was not copied."""
        self._lock = threading.RLock()  # again for a finalizer that runs meanwhile

    def now(self) -> float:
        """See `Pace.now`."""
        return self._clock()

    @contextmanager
    def _level(self) -> Iterator[tuple[Level, float]]:
        with self._lock:
            yield self._now, self._clock()


class StoredPace(Pace):
    """The pace of all processes that share a store; one short transaction each time.

    Args:
        store: A SQLite file or PostgreSQL.
        realm: Whose money and identities these are (`Backend.realm`).
        payer: Who pays.
        provider: Whom.
        clock: Unix seconds.
    """

    blocking = True

    def __init__(
        self, store: Store, realm: str, payer: str, provider: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._key = {"realm": realm, "payer": payer.lower(), "provider": provider.lower()}
        self._clock = clock

    def now(self) -> float:
        """See `Pace.now`."""
        return self._clock()

    @contextmanager
    def _level(self) -> Iterator[tuple[Level, float]]:
        with self._store.transaction(durable=False) as work:
            row = work.first(_READ, lock=True, **self._key)
            if row is None:  # two may find none: the second waits here for the first, and does nothing
                work.run(_MAKE, **self._key)
                row = work.one(_READ, lock=True, **self._key)
            level = Level(**row)
            before = replace(level)
            yield level, self._clock()  # a time that was read before the lock was had would be of the past
            if level != before:
                work.run(_WRITE, **asdict(level), **self._key)


_WHERE = "WHERE realm = :realm AND payer = :payer AND provider = :provider"
_READ = f"SELECT used, at, drained, per_minute, burst, paused FROM paces {_WHERE}"  # noqa: S608 - constants
_MAKE = "INSERT INTO paces VALUES (:realm, :payer, :provider, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"
_WRITE = (
    "UPDATE paces SET used = :used, at = :at, drained = :drained, per_minute = :per_minute, burst = :burst,"  # noqa: S608
    f" paused = :paused {_WHERE}"
)
