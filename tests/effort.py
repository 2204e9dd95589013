"""How hard the tests try. By default as hard as every change deserves; `ZEROG_FUZZ` asks for more.

``full`` has all the examples (part of `make test-heavy`), ``exhaustive`` also every bit in turn (`make fuzz`).
"""

from __future__ import annotations

import os

LEVELS = ("", "full", "exhaustive")
LEVEL = os.environ.get("ZEROG_FUZZ", "")
FULL = LEVEL != ""
EXHAUSTIVE = LEVEL == "exhaustive"


def tries(full: int, default: int) -> int:
    """So many examples of the full number."""
    return full if FULL else default
