"""From the facts that ride on a framework's message back to the receipt of the call that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.receipts.memory import MemoryReceipts

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt

__all__ = ["KEY", "RECENT", "metadata_of", "receipt_in"]

KEY = "zerog"
"""The name under which the facts ride."""
RECENT = MemoryReceipts(capacity=2048)
"""The newest receipts of the process.

Messages are copied, merged and rebuilt on their way, so a receipt cannot hang on the object itself: its id travels, and
this is where it leads.
"""


def metadata_of(receipt: Receipt) -> dict[str, Any]:
    """What rides on a message under `KEY`; from now on its id leads to `receipt`."""
    RECENT.add(receipt)
    return receipt.metadata()


def receipt_in(metadata: Any) -> Receipt | None:
    """The receipt that `metadata` leads to; None if it holds no facts of ours, or of a call too long ago."""
    facts = metadata.get(KEY) if isinstance(metadata, dict) else None
    receipt_id = facts.get("receipt_id") if isinstance(facts, dict) else None
    return RECENT.get(receipt_id) if isinstance(receipt_id, str) else None
