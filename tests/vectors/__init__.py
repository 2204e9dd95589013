"""Known answers, made with the networks' own programs or checked with them; every file says how in ``_about``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["load", "services"]


@cache
def load(name: str) -> Any:
    """The vectors in ``NAME.json``."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))


def services() -> Any:
    """Signed texts, fees and adapter names of every service type."""
    return load("services")
