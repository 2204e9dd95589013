"""Where things are on the two chains of OpenGradient (opengradient §2.1, §2.4), and the state they start with."""

from __future__ import annotations

import functools
from typing import Any, Final

from zg_core.localnet.base.keys import checksum_address
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS

PAYMENT_CHAIN_ID: Final = 8453
REGISTRY_CHAIN_ID: Final = 10740

REGISTRY: Final = "0x703cB174AEadB35D611858369B4b1111dC9Abda6"
TOKEN: Final = "0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB"  # noqa: S105 - an address
PERMITS: Final = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
UPTO_PROXY: Final = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"
EXACT_PROXY: Final = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001"
RELAY: Final = checksum_address("00000000000000000000000000000000000e1a11")
"""Production does not say where its relay is; clients find it by its events."""
OTHER_TOKEN: Final = checksum_address("00000000000000000000000000000000000b0b0b")
"""A second token, for gateways that ask for the wrong one."""

_PAYMENT: Final = {
    TOKEN: "PaymentToken",
    OTHER_TOKEN: "PaymentToken",
    PERMITS: "PermitTransfer",
    UPTO_PROXY: "UptoProxy",
    EXACT_PROXY: "ExactProxy",
}
_REGISTRY: Final = {REGISTRY: "EnclaveRegistry", RELAY: "SettlementRelay"}
_HEARTBEAT_AGE: Final = 1800


def payment_genesis() -> dict[str, Any]:
    """The accounts that the payment chain starts with."""
    return _accounts(_PAYMENT)


def registry_genesis() -> dict[str, Any]:
    """The accounts that the registry's chain starts with."""
    accounts = _accounts(_REGISTRY)
    accounts[REGISTRY]["storage"] = {"0x0": hex(_HEARTBEAT_AGE)}  # what its constructor would have written
    return accounts


def _accounts(contracts: dict[str, str]) -> dict[str, Any]:
    accounts: dict[str, Any] = {address: {"balance": hex(DEV_BALANCE)} for address in DEV_KEYS}
    for address, name in contracts.items():
        accounts[address] = {"nonce": "0x1", "code": abi.artifact(f"opengradient/{name}")["deployedBytecode"]}
    return accounts


@functools.cache
def contract(name: str) -> abi.Contract:
    """One of the contracts by the name of its artifact, such as ``EnclaveRegistry``."""
    places = {**{value: key for key, value in _PAYMENT.items() if key != OTHER_TOKEN}}
    places |= {value: key for key, value in _REGISTRY.items()}
    return abi.Contract(f"opengradient/{name}", places[name])
