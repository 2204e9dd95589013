"""Receipts of calls."""

from __future__ import annotations

from zg_core.receipts.memory import MemoryReceipts
from zg_core.receipts.model import Receipt

__all__ = ["MemoryReceipts", "Receipt"]
