"""HTTP/1.1: messages, URLs, connections, wires, the library beside them, timeouts, bodies and refusals.

Bytes and headers only: nothing of a backend, a task or a verdict.
"""
