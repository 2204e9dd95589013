"""Whether whoever asked was told: a process that is killed right after a transaction was mined has told nobody.

A mined intention counts as told once its process has gone on for a moment, asks for something else, closes its broker,
or ends in an orderly way.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from typing import TYPE_CHECKING

from zg_core.errors import ConfigError
from zg_core.holders import holder

if TYPE_CHECKING:
    from zg_core.store import Store

__all__ = ["told_by_now", "told_soon"]

logger = logging.getLogger(__name__)

_MOMENT = 1.0
_ENDED: weakref.WeakKeyDictionary[Store, set[tuple[str, str]]] = weakref.WeakKeyDictionary()
_GUARD = threading.Lock()


def told_soon(store: Store, intention: str) -> None:
    """The caller of this one is told now that it is mined."""
    if store.kind == "memory":  # it is forgotten with the process
        return
    with _GUARD:
        _ENDED.setdefault(store, set()).add((holder(), intention))
    timer = threading.Timer(_MOMENT, _after_a_moment, [weakref.ref(store)])
    timer.daemon = True
    timer.name = "zerog-told"
    timer.start()


def told_by_now(store: Store) -> None:
    """The callers of all that this process has seen through in `store` were told."""
    with _GUARD:
        ended = _ENDED.pop(store, set())
    ids = [intention for process, intention in ended if process == holder()]  # those of a parent are the parent's
    if not ids:
        return
    try:
        with store.transaction() as work:
            for each in ids:
                work.run("UPDATE intentions SET process = '' WHERE id = :id AND state = 'mined'", id=each)
    except ConfigError as error:  # asked for again after the end of this process, it will be told of once more
        logger.warning("the store could not note that a transaction was told as mined: %s", error.message)


def _after_a_moment(reference: weakref.ref[Store]) -> None:
    store = reference()
    if store is not None and store.is_open:
        told_by_now(store)


@atexit.register
def _at_exit() -> None:
    for store in [each for each in _ENDED if each.is_open]:
        told_by_now(store)
