"""The scripted node, for reads of the chain."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

spec = importlib.util.spec_from_file_location("scripted_node", Path(__file__).parent.parent / "scripted_node.py")
assert spec is not None
assert spec.loader is not None
scripted_node = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scripted_node)


@pytest.fixture
def node() -> Iterator[Any]:
    """A node that answers JSON-RPC as scripted."""
    with scripted_node.running() as made:
        yield made
