"""How hard the tests try. By default as hard as every change deserves; `ZEROG_FUZZ` asks for more.

``full`` has all the examples (part of `make test-heavy`), ``exhaustive`` also every bit in turn (`make fuzz`). What is
made up is the same in every run, so that no change is judged by chance; `ZEROG_FUZZ_SEED=…` makes up other examples.
"""

from __future__ import annotations

import os

LEVELS = ("", "full", "exhaustive")
LEVEL = os.environ.get("ZEROG_FUZZ", "")
OTHERS = "ZEROG_FUZZ_SEED" in os.environ
SEED = int(os.environ.get("ZEROG_FUZZ_SEED", "20261126"))
FULL = LEVEL != ""
EXHAUSTIVE = LEVEL == "exhaustive"


def tries(full: int, default: int) -> int:
    """So many examples of the full number."""
    return full if FULL else default
