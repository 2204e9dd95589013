"""Made-up hardware: quotes under a root of its own, and the ways they can be wrong.

What a provider's enclave shows; nothing of its answers.
"""
