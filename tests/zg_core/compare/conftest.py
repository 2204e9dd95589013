"""Providers that differ in price and kind, and what a comparison of them takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.zg_core.conftest import CALM
from zg_core.localnet import LocalNet, ProviderSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPECS = [
    ProviderSpec(model="dear", input_price=200 * 10**9, output_price=800 * 10**9),
    ProviderSpec(model="separated", kind="TeeML-separated"),
    ProviderSpec(model="relayed", kind="TeeTLS", input_price=50 * 10**9, output_price=150 * 10**9),
    ProviderSpec(model="plain", kind="standard", input_price=20 * 10**9, output_price=60 * 10**9),
    ProviderSpec(model="embed", service_type="embedding", output_price=0, lora=False),
    ProviderSpec(model="not-yet", acknowledged=False),
]
PROMPTS: list[Any] = [
    {"prompt": "What is the capital of France?", "expected": "paris"},
    {"prompt": "What is 17 times 23?", "expected": "391", "id": "sum"},
]


@pytest.fixture(scope="package")
def market() -> Iterator[LocalNet]:
    with LocalNet(providers=SPECS, settings=CALM) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider, 20 * 10**18)
        yield net


@pytest.fixture
def options(market: LocalNet, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings of a comparison; the providers are honest again afterwards."""
    yield {"environ": market.env(), "cache": tmp_path / "calls"}
    for provider in market.providers:
        provider.clear_faults()


@pytest.fixture
def billed(market: LocalNet) -> Any:
    """How many requests all providers have billed since."""

    def count() -> int:
        return sum(len(provider.log) for provider in market.providers)

    before = count()
    return lambda: count() - before
