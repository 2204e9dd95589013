"""A local network of one funded provider, which the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from zg_core.localnet import LocalNet


@pytest.fixture(scope="session")
def lab() -> Iterator[LocalNet]:
    with LocalNet(providers=1) as net:
        net.open_account(net.wallet, net.providers[0], 50 * 10**18)
        yield net


@pytest.fixture(autouse=True)
def environment(lab: LocalNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs this, and what a newcomer sets."""
    for name in [name for name in os.environ if name.startswith("ZEROG_") and name != "ZEROG_HTTP_LIBRARY"]:
        monkeypatch.delenv(name)
    for name, value in lab.env().items():
        if name.startswith("ZEROG_") and name != "ZEROG_PROVIDER":
            monkeypatch.setenv(name, value)
