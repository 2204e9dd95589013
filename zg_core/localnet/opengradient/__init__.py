"""OpenGradient on this machine: registry, payment contracts, facilitator, and enclaves that answer over TLS.

The hashing, signing and payment rules are written a second time here; nothing comes from the client's side.
"""
