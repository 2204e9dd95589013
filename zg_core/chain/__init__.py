"""Any EVM chain: reads over plain JSON-RPC, and transactions that are sent once.

Nothing here knows a contract; 0G's are `zg_core.contracts`.
"""
