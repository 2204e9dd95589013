"""``from llama_index.llms.zerog import ZeroG``: the wheel holds this file under that name."""

from __future__ import annotations

from llama_index_zerog import ZeroG, get_zerog_receipts, receipt_of

__all__ = ["ZeroG", "get_zerog_receipts", "receipt_of"]
