"""Backends: how a network is addressed, authorised, paid and verified."""
