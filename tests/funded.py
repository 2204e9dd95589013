"""A local network with money at every provider, and its settings in the environment: what tests of media begin with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec

_AT_EACH = 5 * 10**18


@contextmanager
def funded(specs: Sequence[ProviderSpec]) -> Iterator[LocalNet]:
    """Providers that settle when they are told to; its wallet has a sub-account at each."""
    with LocalNet(providers=specs, settings=replace(ProviderSettings.fast(), settle_interval=None)) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider, _AT_EACH)
        yield net


@contextmanager
def named(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNet]:
    """The environment names `net`; its providers are honest again at the end."""
    for name, value in net.env().items():
        monkeypatch.setenv(name, value)
    yield net
    for provider in net.providers:
        provider.clear_faults()
