"""Memory of exchanges: which chat ids were seen and which requests were ours (architecture, "Verdict", `replayed`)."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["ReplayGuard"]


class ReplayGuard:
    """Remembers chat ids and request hashes per provider, the newest `capacity` of each; safe from many threads."""

    def __init__(self, capacity: int = 8192) -> None:
        self._lock = threading.Lock()
        self._chats = _Newest(capacity)
        self._requests = _Newest(capacity)

    def sent(self, scope: str, request_sha256: str) -> None:
        """Note a request of ours, when it is sent."""
        self._note(self._requests, _key(scope, request_sha256))

    def was_sent(self, scope: str, request_sha256: str) -> bool:
        """Whether a request with this hash was ours."""
        with self._lock:
            return _key(scope, request_sha256) in self._requests

    def arrived(self, scope: str, chat_id: str) -> bool:
        """Note the chat id of a complete reply; True if it was seen before."""
        return self._note(self._chats, _key(scope, chat_id))

    def _note(self, seen: _Newest, key: bytes) -> bool:
        with self._lock:
            return seen.add(key)


class _Newest:
    """The newest keys. A set and a queue take a third of the memory of an ordered dictionary."""

    __slots__ = ("_capacity", "_keys", "_queue")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._keys: set[bytes] = set()
        self._queue: deque[bytes] = deque()

    def add(self, key: bytes) -> bool:
        """Keep `key`; True if it was there."""
        if key in self._keys:
            return True
        self._keys.add(key)
        self._queue.append(key)
        if len(self._queue) > self._capacity:
            self._keys.discard(self._queue.popleft())
        return False

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys


def _key(scope: str, text: str) -> bytes:
    import hashlib

    return hashlib.blake2b(f"{scope}\n{text}".encode(), digest_size=16).digest()
