"""The local chain: EVM, blocks, transaction pool, genesis, and the JSON-RPC that shows them.

It answers as nodes do; what providers do on it is `zg_core.localnet.provider`.
"""
