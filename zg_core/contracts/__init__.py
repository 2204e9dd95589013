"""0G's three contracts: their ABI, reads, events, reverts and settlements (0g-contracts).

What is true of any EVM chain is `zg_core.chain`.
"""
