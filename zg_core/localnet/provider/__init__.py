"""A local provider: its routes, prices, limits, signatures, settlements and faults.

Hashes, signed texts and fees are written a second time here, so that no proof is circular.
"""
