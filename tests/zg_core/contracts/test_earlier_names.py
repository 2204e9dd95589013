"""Programs that name the earlier place of the contracts get the modules of the present one."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize("name", ["abi", "events", "reader", "reverts", "settlements"])
def test_the_earlier_name_is_the_same_module(name: str) -> None:
    earlier = importlib.import_module(f"zg_core.backends.direct.contracts.{name}")
    assert earlier is importlib.import_module(f"zg_core.contracts.{name}")
    assert getattr(importlib.import_module("zg_core.backends.direct.contracts"), name) is earlier
