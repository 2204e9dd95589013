"""What a provider's enclave does with sealed requests: opens them, seals the answers, says what it signs.

A second writing of the protocol (0g-router §10), so that a client's mistake in it cannot hide here.
"""
