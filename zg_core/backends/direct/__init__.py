"""0G Direct: a wallet or its key, a sub-account with each provider, signed sessions, signed replies.

What only this network has: its sessions, refusals, catalogue, contracts, money and audit.
"""
