"""What every case of the field needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases.chain.field import Expectations
from tests.cases.chain.money import User
from tests.zg_core.conftest import CALM
from zg_core.localnet import LocalNet


@pytest.fixture
def expect() -> Iterator[Expectations]:
    """``expect(what, met, seen)``: the test fails with all that was not met."""
    made = Expectations()
    yield made
    if made.faults:
        pytest.fail("not as expected:\n" + "\n".join(made.faults), pytrace=False)


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    """A local network with one provider, at which its wallet has a sub-account."""
    with LocalNet(providers=1, settings=CALM) as network:
        network.open_account(network.wallet, network.providers[0])
        yield network


@pytest.fixture
def user(net: LocalNet, tmp_path: Path) -> Iterator[User]:
    """A fresh wallet, with a store in a file."""
    made = User(net, f"sqlite:///{tmp_path}/store.db")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine that runs this stands between."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
