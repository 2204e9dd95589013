"""Where OpenGradient is (opengradient §2.1, §2.4): chains, contracts, hosts. All of it can be given otherwise."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BASE_RPC_URL",
    "BLOBS_URL",
    "CHAIN_ID",
    "PERMIT2",
    "PROXIES",
    "REGISTRY",
    "REGISTRY_CHAIN_ID",
    "REGISTRY_RPC_URL",
    "TOKEN",
]

REGISTRY: Final = "0x703cB174AEadB35D611858369B4b1111dC9Abda6"
REGISTRY_CHAIN_ID: Final = 10740
REGISTRY_RPC_URL: Final = "https://ogevmdevnet.opengradient.ai"
CHAIN_ID: Final = 8453
"""Base, where calls are paid."""
BASE_RPC_URL: Final = "https://base-rpc.publicnode.com"
TOKEN: Final = "0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB"  # noqa: S105 - the address of OPG
PERMIT2: Final = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
PROXIES: Final = {
    "upto": "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002",
    "exact": "0x402085c248EeA27D92E8b30b2C58ed07f9E20001",
}
"""Who may use a permit, by x402's scheme."""
BLOBS_URL: Final = "https://aggregator.suicore.com/v1/blobs"
"""Where what was published is kept: ``{BLOBS_URL}/{id}``."""
