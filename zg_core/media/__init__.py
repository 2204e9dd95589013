"""Clients for what is no text: images made and edited, recordings written down, jobs that go on by themselves.

Settings, policies, budgets and receipts are those of `zg_core.client`; every call takes the one path.
"""
