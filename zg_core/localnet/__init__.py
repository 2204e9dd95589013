"""A 0G network in the process: a real EVM, the serving contracts, and providers that sign, price, settle and misbehave.

It needs no key, no token and no internet. `LocalNet` is the way in::

    with LocalNet() as net:
        net.open_account(net.wallet, net.providers[0])

It shares no code with the rest of the package: what a client computes is computed here a second time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zg_core.localnet.base.clock import Clock
    from zg_core.localnet.chain.chain import Chain
    from zg_core.localnet.chain.node import NodeUnfit
    from zg_core.localnet.gateway.faults import NodeFault, node_fault_meanings
    from zg_core.localnet.hardware.attestation import ATTESTATION_FAULTS, AttestationFault
    from zg_core.localnet.media.wav import speak
    from zg_core.localnet.network import LocalNet, LocalWallet
    from zg_core.localnet.opengradient.network import OpenGradientNet
    from zg_core.localnet.opengradient.settings import GatewaySettings
    from zg_core.localnet.provider.faults import Fault, fault_meanings
    from zg_core.localnet.provider.provider import LocalProvider
    from zg_core.localnet.provider.settings import ProviderSettings, ProviderSpec, Tier, standard_specs

__all__ = [
    "ATTESTATION_FAULTS",
    "AttestationFault",
    "Chain",
    "Clock",
    "Fault",
    "GatewaySettings",
    "LocalNet",
    "LocalProvider",
    "LocalWallet",
    "NodeFault",
    "NodeUnfit",
    "OpenGradientNet",
    "ProviderSettings",
    "ProviderSpec",
    "Tier",
    "fault_meanings",
    "node_fault_meanings",
    "speak",
    "standard_specs",
]

_HOMES = {
    "ATTESTATION_FAULTS": "hardware.attestation",
    "AttestationFault": "hardware.attestation",
    "Chain": "chain.chain",
    "Clock": "base.clock",
    "Fault": "provider.faults",
    "GatewaySettings": "opengradient.settings",
    "LocalNet": "network",
    "LocalProvider": "provider.provider",
    "LocalWallet": "network",
    "NodeFault": "gateway.faults",
    "NodeUnfit": "chain.node",
    "OpenGradientNet": "opengradient.network",
    "ProviderSettings": "provider.settings",
    "ProviderSpec": "provider.settings",
    "Tier": "provider.settings",
    "fault_meanings": "provider.faults",
    "node_fault_meanings": "gateway.faults",
    "speak": "media.wav",
    "standard_specs": "provider.settings",
}
_EXTRA = {"eth", "rlp", "starlette", "uvicorn", "cryptography", "trie", "h11"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        raise ImportError(
            f"the local network needs the package {error.name!r}: pip install 'zerog-integrations[localnet]'"
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
