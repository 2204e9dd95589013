"""One call from payload to receipt: sending, reading, closing, retries, limits and pace.

The only way through, for every backend, task and face; nothing of a network or framework.
"""
