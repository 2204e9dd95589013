"""Choosing who answers, for every backend: constraints, ranking, health, failover.

Only choosing: how a service is reached is its backend's.
"""
