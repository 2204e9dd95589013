"""One local network for this suite, with a provider on it whose bytes a test writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faces.enclave import Enclave
from tests.faces.faces import FACES, STREAMS, Face
from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=[ProviderSpec(model="chat-ml")], settings=settings) as network:
        yield network


@pytest.fixture(scope="session")
def registered(net: LocalNet) -> Iterator[Enclave]:
    made = Enclave(net)
    yield made
    made.stop()


@pytest.fixture
def enclave(registered: Enclave) -> Enclave:
    """The provider, with nothing said and nothing heard."""
    registered.replies.clear()
    registered.received.clear()
    return registered


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there is not waited for, and what is sent again goes at once."""
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0, 0.001))
    monkeypatch.setattr("zg_core.calls.retries._FIRST_WAIT", 0.001)


@pytest.fixture(params=FACES, ids=repr)
def face(request: pytest.FixtureRequest) -> Face:
    return request.param


@pytest.fixture(params=STREAMS, ids=repr)
def stream(request: pytest.FixtureRequest) -> Face:
    return request.param
