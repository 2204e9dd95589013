"""0G Router: one API key and one balance for all providers, in the clear or sealed to an enclave (0g-router).

What only this backend knows: its headers, its word on cost and provider, its refusals, its account, its sealed mode.
"""
