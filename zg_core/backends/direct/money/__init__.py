"""The ledger and its sub-accounts: deposits, transfers, auto-funding and provider keys.

Whatever moves money on 0G's contracts; limits on spending are `zg_core.budget`.
"""
