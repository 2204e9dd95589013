"""Receipts of calls: what they record, where they are kept, how they are checked again and compared with the chain."""

from __future__ import annotations

from zg_core.receipts.auditing import Audit, audit
from zg_core.receipts.check import Anchor, Check, check
from zg_core.receipts.memory import MemoryReceipts
from zg_core.receipts.model import Receipt
from zg_core.receipts.stored import ReceiptStore, Retention

__all__ = ["Anchor", "Audit", "Check", "MemoryReceipts", "Receipt", "ReceiptStore", "Retention", "audit", "check"]
