"""One local network with a Router for the tests of this folder, and clients that reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from zg_core import ChatClient
from zg_core.backends.router.options import Router
from zg_core.localnet import LocalNet
from zg_core.localnet.provider.settings import standard_specs
from zg_core.verify.attestation import AttestationOptions

Make = Callable[..., ChatClient]


@pytest.fixture(scope="session")
def routed() -> Iterator[LocalNet]:
    """A network with a Router and one provider of each kind."""
    specs = [*standard_specs(5), *standard_specs(1, ["image"]), *standard_specs(1, ["speech"])]
    with LocalNet(providers=specs, router=True) as net:
        yield net


@contextmanager
def afresh(net: LocalNet) -> Iterator[LocalNet]:
    """A network that remembers nothing of earlier tests; its Router and providers are honest again at the end."""
    net.router.forget()
    yield net
    net.router.clear_faults()
    for provider in net.providers:
        provider.clear_faults()


@pytest.fixture
def net(routed: LocalNet) -> Iterator[LocalNet]:
    """The same, behaving well and with money."""
    routed.router.set_balance(10 * 10**18)
    with afresh(routed) as made:
        yield made


def settings_for(net: LocalNet, *, sealed: bool, **more: Any) -> dict[str, Any]:
    """What a client is made with."""
    of_router = {
        name: more.pop(name)
        for name in ("sort", "trust_mode", "verify_tee", "key_signed", "max_price_usd")
        if name in more
    }
    attested = AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url, os_images=[net.os_image])
    return {
        "backend": Router(sealed=sealed, base_url=net.router.base_url, **of_router),
        "api_key": net.router.api_key,
        "model": "local-chat-1",
        "network": "local",
        "rpc_url": net.rpc_url,
        "attestation": attested,
        "max_retries": 0,
        "environ": {},
        **more,
    }


@pytest.fixture
def make(net: LocalNet) -> Iterator[Make]:
    """Makes clients that are closed at the end."""
    made: list[ChatClient] = []

    def client(*, sealed: bool = False, **more: Any) -> ChatClient:
        made.append(ChatClient(**settings_for(net, sealed=sealed, **more)))
        return made[-1]

    yield client
    for each in made:
        each.close()
