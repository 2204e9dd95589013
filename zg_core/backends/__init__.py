"""Backends: how a network is addressed, authorised, paid and verified.

One folder a network; what `zg_core.calls` asks of each is `base`.
"""
