"""When a request is sent again: what was never served, within a number of attempts and a deadline.

Repeating a request that may have been served pays twice, so that is done only where the user allows it.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass

from zg_core.errors import ConfigError, OutcomeUnknown, ZeroGError, never_served
from zg_core.http.timeouts import is_seconds

__all__ = ["Attempts", "Retries"]

_FIRST_WAIT = 0.5  # seconds, doubled each time; jitter takes up to half of it away


@dataclass(frozen=True, slots=True)
class Retries:
    """What one call may try again.

    Attributes:
        most: Further attempts.
        deadline: Seconds from the first failure in which they must begin.
        unknown: Whether a request whose outcome is unknown is sent again; it may be paid twice.

    Raises:
        ConfigError: one of them is out of range.

    Example:
        >>> Retries(most=3).deadline
        60.0
    """

    most: int = 2
    deadline: float = 60.0
    unknown: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 0:
            message = f"max_retries must be a whole number of at least 0, not {self.most!r}"
            raise ConfigError(message, code="bad_max_retries", hint="max_retries=0 never sends anything again")
        seconds = self.deadline
        if not is_seconds(seconds):
            message = f"retry_deadline must be a number of seconds, not {seconds!r}"
            raise ConfigError(message, code="bad_retry_deadline", hint="for example retry_deadline=60")
        unknown: object = self.unknown
        if not isinstance(unknown, bool):
            message = f"retry_unknown must be True or False, not {unknown!r}"
            raise ConfigError(message, code="bad_retry_unknown", hint="True may pay twice; leave it out")


class Attempts:
    """The attempts of one call.

    Attributes:
        tries: How many were begun.
        held: What those that left may have cost together, in neuron; `last` is that of the last one.
        refusal: What the last one was refused with.
    """

    __slots__ = ("_began", "_made", "_retries", "held", "last", "refusal", "tries")

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._made = 0
        self._began: float | None = None
        self.tries = 0
        self.held = 0
        self.last = 0
        self.refusal: ZeroGError | None = None

    def left(self, held: int, refusal: ZeroGError | None = None) -> None:
        """Count a request that left, may cost up to `held`, and was refused or not answered."""
        self.held += held
        self.last = held
        self.refusal = refusal or self.refusal

    @property
    def until(self) -> float:
        """When the last attempt must begin, by ``time.monotonic``."""
        return (time.monotonic() if self._began is None else self._began) + self._retries.deadline

    def wait(self, error: ZeroGError) -> float | None:
        """Seconds to wait before the next attempt; None if there must be none.

        Where the deadline is what forbids it, `error` says from now on when it may be tried again.
        """
        if not (never_served(error) or (self._retries.unknown and isinstance(error, OutcomeUnknown))):
            return None
        if self._began is None:
            self._began = time.monotonic()
        if self._made >= self._retries.most:
            return None
        self._made += 1
        wait = error.details.get("retry_after")
        if wait is None:
            wait = _FIRST_WAIT * 2 ** (self._made - 1) * random.uniform(0.5, 1.0)
        if wait > self.until - time.monotonic():
            error.details["retry_after"] = wait
            error.hint = f"try again in {math.ceil(wait)} s" + (f"; {error.hint}" if error.hint else "")
            return None
        return float(wait)
