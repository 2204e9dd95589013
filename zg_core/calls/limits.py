"""Limits as values: how many requests a minute and at once."""

from __future__ import annotations

from dataclasses import dataclass

from zg_core.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one payer allows itself at one provider, until the provider's ``x-ratelimit-*`` headers say another rate.

    Attributes:
        per_minute: Requests a minute, on average.
        burst: Requests that may go at once after a pause.
        in_flight: Requests that may be under way at once; a stream is until it ends or is closed. A client makes at
            most so many connections, or 100 where that is more.

    Raises:
        ConfigError: one of them is no whole number of at least 1.

    Example:
        >>> Limits()
        Limits(per_minute=30, burst=5, in_flight=5)
    """

    per_minute: int = 30
    burst: int = 5
    in_flight: int = 5

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("per_minute", "burst", "in_flight"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                message = f"limits must be whole numbers of at least 1; {name} is {number!r}"
                raise ConfigError(message, code="bad_limits", hint="limits=None lifts them")
