"""Receipts of calls: what they record, where they are kept, and how one is checked again by itself.

Comparing them with a chain is each backend's own: `zg_core.backends.direct.audit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core import _lazy

if TYPE_CHECKING:
    from zg_core.audits.result import Audit
    from zg_core.backends.direct.audit.auditing import audit
    from zg_core.receipts.anchors import Anchor
    from zg_core.receipts.bundles import Bundle, read_bundle, write_bundle
    from zg_core.receipts.checking import Check, check
    from zg_core.receipts.memory import MemoryReceipts
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.runs import Step, named_run
    from zg_core.receipts.stored import ReceiptStore, Retention

__all__ = [
    "Anchor",
    "Audit",
    "Bundle",
    "Check",
    "MemoryReceipts",
    "Receipt",
    "ReceiptStore",
    "Retention",
    "Step",
    "audit",
    "check",
    "named_run",
    "read_bundle",
    "write_bundle",
]

_HOMES = {
    "Anchor": "anchors",
    "Audit": "zg_core.audits.result",
    "Bundle": "bundles",
    "Check": "checking",
    "MemoryReceipts": "memory",
    "Receipt": "model",
    "ReceiptStore": "stored",
    "Retention": "stored",
    "Step": "runs",
    "audit": "zg_core.backends.direct.audit.auditing",
    "check": "checking",
    "named_run": "runs",
    "read_bundle": "bundles",
    "write_bundle": "bundles",
}
__getattr__, __dir__ = _lazy.lazily(__name__, _HOMES)
