"""How long a test waits for what must come: so long that only what hangs is ended by it, however busy the machine."""

from __future__ import annotations

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
