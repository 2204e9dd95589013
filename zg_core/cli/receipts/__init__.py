"""``zerog receipts``: what was recorded of calls is listed, shown and exported, checked again, compared with charges.

What only the store is needed for is in `commands`, which loads `evidence` for the rest.
"""
