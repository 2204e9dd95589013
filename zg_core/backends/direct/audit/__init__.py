"""Receipts against the chain: what anchors a receipt, what was charged, and whether both agree.

Only what reads 0G's settlements; checking a receipt by itself is `zg_core.receipts`.
"""
