"""A server in front of the local network of the core's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.zg_core.serve.serving import Running, running, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.localnet import LocalNet, LocalWallet


@pytest.fixture(scope="session")
def reach(net: LocalNet, wallet: LocalWallet) -> dict[str, Any]:
    """Client settings for the network."""
    return {
        "private_key": wallet.private_key,
        "network": "local",
        "rpc_url": net.rpc_url,
        "ledger": net.ledger,
        "inference": net.inference,
    }


@pytest.fixture(scope="session")
def _open(reach: dict[str, Any]) -> Iterator[Running]:
    with running(settings_of(reach)) as server:
        yield server


@pytest.fixture
def served(_open: Running, net: LocalNet) -> Iterator[Running]:
    """Every model on chain, for whoever shows the token; honest again afterwards."""
    yield _open
    for provider in net.providers:
        provider.clear_faults()
