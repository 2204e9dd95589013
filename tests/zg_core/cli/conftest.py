"""A local network for the command line, and wallets that run `zerog` on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.zg_core.cli.running import Zerog, zerog_of
from tests.zg_core.conftest import CALM
from zg_core.localnet import LocalNet, ProviderSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OG = 10**18


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ZEROG_", "ZG_")) or name == "PRIVATE_KEY":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def market() -> Iterator[LocalNet]:
    """A network whose clock and faults belong to these tests."""
    specs = [
        ProviderSpec(model="chat-ml"),
        ProviderSpec(model="chat-tls", kind="TeeTLS", input_price=5 * 10**10, output_price=15 * 10**10),
        ProviderSpec(model="chat-standard", kind="standard"),
        ProviderSpec(model="chat-unacknowledged", acknowledged=False),
    ]
    with LocalNet(providers=specs, settings=CALM) as net:
        yield net


@pytest.fixture
def poor(market: LocalNet, tmp_path: Path) -> Zerog:
    """A wallet with coins and nothing else."""
    return zerog_of(market, tmp_path, market.new_wallet())


@pytest.fixture
def rich(market: LocalNet, tmp_path: Path) -> Zerog:
    """A wallet with 7 0G at the first provider."""
    wallet = market.new_wallet()
    market.open_account(wallet, market.providers[0], 7 * OG)
    return zerog_of(market, tmp_path, wallet)


@pytest.fixture(scope="session")
def _steady(market: LocalNet, tmp_path_factory: pytest.TempPathFactory) -> Zerog:
    wallet = market.new_wallet()
    market.open_account(wallet, market.providers[0], 7 * OG)
    market.open_account(wallet, market.providers[2], 3 * OG)
    return zerog_of(market, tmp_path_factory.mktemp("home"), wallet)


@pytest.fixture
def steady(_steady: Zerog, market: LocalNet) -> Iterator[Zerog]:
    """One wallet for all tests that move none of its money: 7 0G at the first provider, 3 at the unsigned one."""
    yield _steady
    for provider in market.providers:
        provider.clear_faults()


@pytest.fixture
def nobody(market: LocalNet, tmp_path: Path) -> Zerog:
    """No wallet."""
    return zerog_of(market, tmp_path, None)


@pytest.fixture
def provider(market: LocalNet) -> str:
    """Address of the first provider."""
    return market.providers[0].address
