"""Receipts of calls: what they record, where they are kept, and how they are checked again."""

from __future__ import annotations

from zg_core.receipts.memory import MemoryReceipts
from zg_core.receipts.model import Receipt
from zg_core.receipts.stored import ReceiptStore, Retention

__all__ = ["MemoryReceipts", "Receipt", "ReceiptStore", "Retention"]
