"""A port where connections are refused, whatever else starts on this machine meanwhile."""

from __future__ import annotations

import socket

_TAKEN: list[socket.socket] = []


def refusing() -> int:
    """A port of 127.0.0.1 that is taken for as long as this process lives, and that nobody listens at."""
    if not _TAKEN:
        _TAKEN.append(socket.socket())
        _TAKEN[0].bind(("127.0.0.1", 0))
    port: int = _TAKEN[0].getsockname()[1]
    return port
