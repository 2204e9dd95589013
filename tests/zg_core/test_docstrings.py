"""The examples in docstrings run and show what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import zg_core

# These are tested on their own: they need extras, or are not called from Python.
APART = ("zg_core.localnet", "zg_core.cli")


def modules() -> list[str]:
    found = pkgutil.walk_packages(zg_core.__path__, "zg_core.", onerror=lambda name: None)
    return ["zg_core", *(module.name for module in found if not module.name.startswith(APART))]


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.failed == 0


def test_there_are_examples() -> None:
    tests = [test for name in modules() for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert sum(len(test.examples) for test in tests) >= 15
