"""Receipts of calls: what they record, where they are kept, and how one is checked again by itself.

Comparing them with a chain is each backend's own: `zg_core.backends.direct.audit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core import _lazy

if TYPE_CHECKING:
    from zg_core.backends.direct.audit.auditing import Audit, audit
    from zg_core.receipts.anchors import Anchor
    from zg_core.receipts.checking import Check, check
    from zg_core.receipts.memory import MemoryReceipts
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore, Retention

__all__ = ["Anchor", "Audit", "Check", "MemoryReceipts", "Receipt", "ReceiptStore", "Retention", "audit", "check"]

_HOMES = {
    "Anchor": "anchors",
    "Audit": "zg_core.backends.direct.audit.auditing",
    "Check": "checking",
    "MemoryReceipts": "memory",
    "Receipt": "model",
    "ReceiptStore": "stored",
    "Retention": "stored",
    "audit": "zg_core.backends.direct.audit.auditing",
    "check": "checking",
}
__getattr__, __dir__ = _lazy.lazily(__name__, _HOMES)
