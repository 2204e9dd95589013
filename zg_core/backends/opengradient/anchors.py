"""The registry of enclaves as the anchor of a receipt: who says, beside the receipt, whose key it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.errors import ConfigError
from zg_core.receipts.anchors import Anchor

if TYPE_CHECKING:
    from zg_core.backends.opengradient.registry import Registry
    from zg_core.receipts.model import Receipt

__all__ = ["registry_anchor"]


async def registry_anchor(receipt: Receipt, registry: Registry) -> Anchor:
    """The enclave of the receipt, as the registry has it now.

    An enclave's id is the hash of its key, so an entry cannot change its key and keep its id. One that was switched off
    since is named so: it says nothing about the day of the call.

    Raises:
        ConfigError: the receipt is of another backend (code ``other_network``).
        ChainError: the registry cannot be read.
    """
    if receipt.backend != "opengradient":
        raise ConfigError(
            f"receipt {receipt.id} is of the backend {receipt.backend[:40]!r}, whose keys are in no registry of "
            "OpenGradient's",
            code="other_network",
            hint="anchor it with --signer or --pins",
        )
    try:
        enclave = await registry.one(receipt.provider)
    except ConfigError:
        return Anchor("the registry, where the enclave does not stand (any more)")
    source = "the registry" if enclave.enabled else "the registry, where the enclave is switched off now"
    return Anchor(source, (enclave.tee_id,), facts={"provider": enclave.tee_id})
