"""What every part of the local network stands on: server, TLS, clock, keys, encodings.

Nothing of a chain, a provider or a model.
"""
