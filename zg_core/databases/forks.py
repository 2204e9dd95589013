"""What a fork does to open databases: it waits for other threads, since a child inherits their locks, but not them.

What SQLite locks within itself while another thread reads is beyond us: who forks beside threads that read begins the
child with a program of its own (``exec``, ``spawn``).
"""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import Protocol

__all__ = ["FORK_SECONDS", "Shared", "guard"]

FORK_SECONDS = 5.0
"""How long a fork waits for the other threads at one database."""


class Shared(Protocol):
    """What threads share by a lock."""

    def before_fork(self) -> None:
        """Take the lock if it can be had in time."""

    def after_fork(self, *, child: bool) -> None:
        """Go on; in a child, no other thread has the lock."""


# In the order in which their locks are taken: who writes may have to open its file.
_WRITERS: set[weakref.ref[Shared]] = set()
_STORES: set[weakref.ref[Shared]] = set()


def guard(shared: Shared, *, writer: bool = False) -> None:
    """See to `shared` at each fork, for as long as it is there."""
    kept = _WRITERS if writer else _STORES
    kept.add(weakref.ref(shared, kept.discard))


def _before() -> None:
    for each in (*_WRITERS, *_STORES):
        if (shared := each()) is not None:
            shared.before_fork()


def _after(*, child: bool) -> None:
    for each in (*_STORES, *_WRITERS):
        if (shared := each()) is not None:
            shared.after_fork(child=child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=partial(_after, child=False), after_in_child=partial(_after, child=True)
    )
