"""Verification schemes: pure functions from kept evidence to a verdict, named in the receipt.

No I/O, no backend: a receipt alone is enough to run one again.
"""
