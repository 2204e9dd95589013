"""How long a test waits for what must come: so long that only what hangs is ended by it, however busy the machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 600
T = TypeVar("T")


def until(found: Callable[[], T], why: str = "it never came to that") -> T:
    """What `found` gives once that is true: for what another thread or process does and tells nobody of."""
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < end, why
        time.sleep(0.005)
    return value


def hastily(work: Callable[[float], T], early: type[Exception] | tuple[type[Exception], ...]) -> T:
    """What `work` gives with so little patience that it ends soon, and with more where a machine is slow.

    Args:
        work: Is called with the patience in seconds.
        early: What it raises when the machine was too slow for that: nothing had been sent when the time was over.
    """
    for seconds in (0.25, 1.25, 6.25, 31.25):
        with contextlib.suppress(early):
            return work(seconds)
    return work(PATIENCE / 4)
