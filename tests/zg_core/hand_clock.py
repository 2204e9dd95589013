"""A clock that a test moves by hand."""

from __future__ import annotations


class Clock:
    """Seconds since nothing in particular; `now` may be set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
