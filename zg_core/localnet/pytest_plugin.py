"""pytest fixtures to test one's own code on a local 0G network.

Installed with the package; nothing is imported or started before a test asks for one of the fixtures:

* ``zerog_localnet``: a running `LocalNet`, one for the whole session. What it is started with comes from the fixture
  ``zerog_localnet_options``, which a conftest may override.
* ``zerog_provider``: its first provider.
* ``zerog_wallet``: a fresh wallet with 1,000 0G and 3 0G in a sub-account with that provider.
* ``zerog_opengradient``: a running `OpenGradientNet` (extra ``opengradient``), one for the session, as it was when the
  session started.

A test that uses the last or the middle one gets the network as it was when the session started, and leaves no trace:
afterwards chain and providers are reverted, and faults cleared. Time does not go back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.localnet.network import LocalNet, LocalWallet
    from zg_core.localnet.opengradient.network import OpenGradientNet
    from zg_core.localnet.provider.provider import LocalProvider


@pytest.fixture(scope="session")
def zerog_localnet_options() -> dict[str, Any]:
    """Keyword arguments for `LocalNet`. Override it to start other providers."""
    return {"providers": 1}


@pytest.fixture(scope="session")
def zerog_localnet(zerog_localnet_options: dict[str, Any]) -> Iterator[LocalNet]:
    """A running local network.

    Raises:
        ImportError: the extra is not installed; the message says how to install it.
    """
    from zg_core.localnet import LocalNet

    with LocalNet(**zerog_localnet_options) as network:
        yield network


@pytest.fixture
def _zerog_clean(zerog_localnet: LocalNet) -> Iterator[LocalNet]:
    snapshot = zerog_localnet.snapshot()
    yield zerog_localnet
    zerog_localnet.revert(snapshot)


@pytest.fixture
def zerog_provider(_zerog_clean: LocalNet) -> LocalProvider:
    """The first provider of the local network."""
    return _zerog_clean.providers[0]


@pytest.fixture
def zerog_wallet(_zerog_clean: LocalNet, zerog_provider: LocalProvider) -> LocalWallet:
    """A fresh wallet with an open sub-account at `zerog_provider`."""
    wallet = _zerog_clean.new_wallet()
    _zerog_clean.open_account(wallet, zerog_provider)
    return wallet


@pytest.fixture(scope="session")
def _zerog_opengradient_net() -> Iterator[OpenGradientNet]:
    from zg_core.localnet.opengradient.network import OpenGradientNet

    with OpenGradientNet() as network:
        yield network


@pytest.fixture
def zerog_opengradient(_zerog_opengradient_net: OpenGradientNet) -> Iterator[OpenGradientNet]:
    """A running OpenGradient network; afterwards money, registry and faults are as they were."""
    with _zerog_opengradient_net.clean():
        yield _zerog_opengradient_net
