"""The chain: reads over plain JSON-RPC."""
