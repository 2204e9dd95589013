"""HTTP/1.1: messages, connections, wires, the library beside them, timeouts and bodies.

Bytes and headers only: nothing of a backend, a task or a verdict.
"""
