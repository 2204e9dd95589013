"""The local model: deterministic answers, tool calls, structured output and embeddings.

From a request to an answer; nothing of HTTP, prices or signatures.
"""
