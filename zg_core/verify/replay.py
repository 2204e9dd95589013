"""Memory of exchanges: which replies were seen and which requests were ours (architecture, "Verdict", `replayed`).

A reply is known again by its *marks*: the id that the provider gives it, an id inside the signed bytes, and those bytes
themselves. Marks are hashes of 16 bytes. A process keeps the newest of them here; where there is a store, all are kept
there (`zg_core.receipts.stored`).
"""

from __future__ import annotations

import hashlib
import math
import threading
from array import array

__all__ = ["CAPACITY", "MARK_BYTES", "Marks", "ReplayGuard", "mark_of"]

CAPACITY = 1_000_000
"""Marks that a process keeps, of replies and of requests each: about 30 MB each when it is full, nothing before."""
MARK_BYTES = 16
_SHARDED = 65_536  # from this capacity on
_SHARDS = 64  # each grows by itself, so that no call waits until a million marks have moved
_SPARE = 6  # standard deviations: marks spread by chance, and no shard may forget one that is among the newest


def mark_of(kind: str, scope: str, text: str) -> bytes:
    """The mark of a thing that happens once.

    Args:
        kind: What it is.
        scope: Within what it is the only one: a provider, "" for the whole world.
        text: Its name.
    """
    return hashlib.blake2b(f"{kind}\n{scope}\n{text}".encode(), digest_size=MARK_BYTES).digest()


class ReplayGuard:
    """Remembers marks of replies and hashes of requests, the newest `capacity` of each; safe from many threads.

    Example:
        >>> guard = ReplayGuard()
        >>> guard.arrived("0xProvider", "id"), guard.arrived("0xProvider", "id")
        (False, True)
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._replies = Marks(capacity)
        self._requests = Marks(capacity)

    def sent(self, scope: str, request_sha256: str) -> None:
        """Note a request of ours, when it is sent."""
        self._requests.note(mark_of("request", scope, request_sha256))

    def was_sent(self, scope: str, request_sha256: str) -> bool:
        """Whether a request with this hash was ours."""
        return mark_of("request", scope, request_sha256) in self._requests

    def arrived(self, scope: str, chat_id: str) -> bool:
        """Note the chat id of a reply; True if it was seen before."""
        return self.note(mark_of("id", scope, chat_id))

    def note(self, mark: bytes) -> bool:
        """Note a mark of a reply; True if it was seen before."""
        return self._replies.note(mark)


class Marks:
    """A set of marks that forgets the oldest beyond `capacity`, in about 30 bytes each; safe from many threads.

    Example:
        >>> marks = Marks(2)
        >>> [marks.note(bytes([each]) * 16) for each in (1, 2, 1, 3)]
        [False, False, True, False]
        >>> bytes([1]) * 16 in marks
        False
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        count = _SHARDS if capacity >= _SHARDED else 1
        each = capacity if count == 1 else math.ceil(capacity / count + _SPARE * math.sqrt(capacity / count))
        self._shards = [_Shard(each) for _ in range(count)]

    def note(self, mark: bytes) -> bool:
        """Add a mark; True if it was there."""
        return self._shards[mark[0] % len(self._shards)].note(mark)

    def __contains__(self, mark: bytes) -> bool:
        return mark in self._shards[mark[0] % len(self._shards)]

    def __len__(self) -> int:
        return sum(map(len, self._shards))


class _Shard:
    """A ring of marks in the order they came, and a hash table of their places (linear probing; 0 is an empty slot)."""

    __slots__ = ("_capacity", "_lock", "_oldest", "_ring", "_slots")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._ring = bytearray()
        self._slots = array("I", bytes(4 * 16))
        self._oldest = 0

    def __len__(self) -> int:
        return len(self._ring) // MARK_BYTES

    def __contains__(self, mark: bytes) -> bool:
        with self._lock:
            return self._slots[self._find(mark)] != 0

    def note(self, mark: bytes) -> bool:
        with self._lock:
            if self._slots[slot := self._find(mark)]:
                return True
            place = len(self._ring) // MARK_BYTES
            if place < self._capacity:
                self._ring += mark
                if 5 * (place + 1) > 3 * len(self._slots):
                    self._grow()
                    slot = self._find(mark)
            else:
                place, self._oldest = self._oldest, (self._oldest + 1) % self._capacity
                self._forget(self._mark(place))
                self._ring[place * MARK_BYTES : (place + 1) * MARK_BYTES] = mark
                slot = self._find(mark)
            self._slots[slot] = place + 1
            return False

    def _mark(self, place: int) -> bytes:
        return bytes(self._ring[place * MARK_BYTES : (place + 1) * MARK_BYTES])

    def _home(self, mark: bytes) -> int:
        return int.from_bytes(mark[8:], "little") & (len(self._slots) - 1)

    def _find(self, mark: bytes) -> int:
        """The slot of a mark, or the empty one where it belongs."""
        slots, ring, last = self._slots, self._ring, len(self._slots) - 1
        slot = int.from_bytes(mark[8:], "little") & last
        while (entry := slots[slot]) and not ring.startswith(mark, (entry - 1) * MARK_BYTES):
            slot = (slot + 1) & last
        return slot

    def _forget(self, mark: bytes) -> None:
        """Empty the slot of a mark, and move up those behind it that could not be found past an empty one."""
        slots, last = self._slots, len(self._slots) - 1
        hole = probe = self._find(mark)
        while entry := slots[probe := (probe + 1) & last]:
            if (probe - self._home(self._mark(entry - 1))) & last >= (probe - hole) & last:
                slots[hole], hole = entry, probe
        slots[hole] = 0

    def _grow(self) -> None:
        self._slots = array("I", bytes(2 * 4 * len(self._slots)))
        for place in range(len(self) - 1):  # the last one is about to be put in
            self._slots[self._find(self._mark(place))] = place + 1
