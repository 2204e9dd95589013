"""Client-side limits: how fast and how many at once, per payer and provider, shared by all clients of a process.

Providers refuse more (0g-direct §4.6), and a refusal costs a round trip; these defaults are theirs.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

__all__ = ["Limits", "TokenBucket"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one payer allows itself at one provider.

    Attributes:
        per_minute: Requests a minute, on average.
        burst: Requests that may go at once after a pause.

    Example:
        >>> Limits().per_minute
        30
    """

    per_minute: int = 30
    burst: int = 5

    def __post_init__(self) -> None:
        if self.per_minute < 1 or self.burst < 1:
            from zg_core.errors import ConfigError

            raise ConfigError("limits must be at least 1", code="bad_limits", hint="limits=None lifts them")


class TokenBucket:
    """Hands out waiting times so that `limits` hold: first come, first served; safe from many threads and loops."""

    def __init__(self, limits: Limits) -> None:
        self._interval = 60.0 / limits.per_minute
        self._burst = limits.burst
        self._lock = threading.Lock()
        self._free_at = 0.0  # when the bucket would be full again

    def reserve(self, now: float | None = None) -> float:
        """Take one place; the seconds to wait before using it."""
        moment = time.monotonic() if now is None else now
        with self._lock:
            start = max(self._free_at, moment)
            self._free_at = start + self._interval
            return max(0.0, self._free_at - moment - self._interval * self._burst)


_buckets: dict[tuple[str, str, Limits], TokenBucket] = {}
_guard = threading.Lock()


def bucket(payer: str, provider: str, limits: Limits) -> TokenBucket:
    """The bucket that all clients of this process share for `payer` at `provider`."""
    with _guard:
        return _buckets.setdefault((payer, provider, limits), TokenBucket(limits))
