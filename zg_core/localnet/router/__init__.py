"""A Router of the local network: one key and one balance before all its providers, as clumsy as the real one.

What only a router does: choosing, rewriting, tracing, charging, and the ways in which it lies.
"""
