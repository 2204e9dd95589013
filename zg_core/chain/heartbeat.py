"""Signs of life in the store, while this process holds something there.

They come from a thread of their own: whoever sends may be waiting for a node that is slow to answer.
"""

from __future__ import annotations

import logging
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zg_core.errors import ConfigError
from zg_core.holders import holder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.store import Store

__all__ = ["BEAT_SECONDS", "beating"]

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0  # well below nonces.SILENT_SECONDS


class _Beat:
    """The heartbeat of this process in one store."""

    def __init__(self) -> None:
        self.process = holder()
        self.holding = 0
        self.end = threading.Event()


_BEATS: weakref.WeakKeyDictionary[Store, _Beat] = weakref.WeakKeyDictionary()
_GUARD = threading.Lock()


@contextmanager
def beating(store: Store) -> Iterator[None]:
    """Show signs of life in `store` inside this block; where nobody else can look into it, there is no need to."""
    if store.kind == "memory":
        yield
        return
    with _GUARD:
        beat = _BEATS.get(store)
        if beat is None or beat.process != holder():  # the first, or forked meanwhile
            beat = _BEATS[store] = _Beat()
            threading.Thread(target=_work, args=(store, beat), name="zerog-heartbeat", daemon=True).start()
        beat.holding += 1
    try:
        yield
    finally:
        with _GUARD:
            beat.holding -= 1
            if not beat.holding and _BEATS.get(store) is beat:
                del _BEATS[store]
                beat.end.set()


def _work(store: Store, beat: _Beat) -> None:
    while not beat.end.wait(BEAT_SECONDS):
        try:
            with store.transaction() as work:
                what = {"now": work.now(), "process": beat.process}
                work.run("UPDATE nonce_leases SET touched = :now WHERE process = :process", **what)
                work.run("UPDATE intentions SET touched = :now WHERE process = :process AND state = 'open'", **what)
        except ConfigError as error:  # who uses the store is told; the next beat may find it again
            logger.warning("no sign of life could be left: %s", error.message)
