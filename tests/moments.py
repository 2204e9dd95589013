"""Another time, for one module alone: what is patched in `time` or `asyncio` themselves reaches every thread.

A network that all tests of a worker share lives on in threads; its clock never goes back, and would stay in the year
that one test has made up.
"""

from __future__ import annotations

import threading
import time
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest


def instead(monkeypatch: pytest.MonkeyPatch, place: str, **functions: Any) -> None:
    """Let one module see `functions` in a module that it has imported whole.

    Args:
        monkeypatch: Of the test.
        place: The module and the name in it, ``zg_core.calls.retries.time``.
        **functions: What it finds there instead of what is there.
    """
    module, _, name = place.rpartition(".")
    real = getattr(import_module(module), name)
    assert isinstance(real, ModuleType), f"{place} is no module"
    assert vars(real).keys() >= functions.keys(), f"{place} has no {functions.keys() - vars(real).keys()}"
    seen = ModuleType(name)
    vars(seen).update(vars(real), **functions)
    monkeypatch.setattr(f"{module}.{name}", seen)


def this_threads(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Let ``time.time`` be `now` for the thread that asks for it, wherever it is read, and for no other."""
    mine, real = threading.get_ident(), time.time
    monkeypatch.setattr(time, "time", lambda: now if threading.get_ident() == mine else real())
