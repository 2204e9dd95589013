"""The scripted node, for reads of the chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.zg_core import scripted_node


@pytest.fixture
def node() -> Iterator[Any]:
    """A node that answers JSON-RPC as scripted."""
    with scripted_node.running() as made:
        yield made
