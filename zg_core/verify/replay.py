"""Memory of exchanges: which chat ids were seen and which requests were ours (architecture, "Verdict", `replayed`)."""

from __future__ import annotations

import threading

__all__ = ["ReplayGuard"]


class ReplayGuard:
    """Remembers chat ids and request hashes per provider, the newest `capacity` of each; safe from many threads."""

    def __init__(self, capacity: int = 8192) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        # Plain dictionaries are in order, too, and take a third of the memory.
        self._chats: dict[bytes, None] = {}
        self._requests: dict[bytes, None] = {}

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

    def _note(self, seen: dict[bytes, None], key: bytes) -> bool:
        with self._lock:
            known = key in seen
            seen[key] = None
            if len(seen) > self._capacity:
                del seen[next(iter(seen))]
            return known


def _key(scope: str, text: str) -> bytes:
    import hashlib

    return hashlib.blake2b(f"{scope}\n{text}".encode(), digest_size=15).digest()  # a byte more takes 16
