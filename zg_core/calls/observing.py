"""Who watches every call of the process, beside its client's listeners: traces and metrics (`zg_core.telemetry`)."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.calls.call import Call
    from zg_core.receipts.model import Receipt

__all__ = ["Observer", "found", "on_watch", "seek", "tell", "watch"]

logger = logging.getLogger(__name__)
_guard = threading.Lock()
_observers: tuple[Observer, ...] = ()
_waiting: list[Callable[[], None]] = []
_seekers: list[Callable[[], Any]] = []


class Observer(Protocol):
    """What is told of calls, each in the thread or task that made it; what it raises is logged, and costs nothing."""

    def sent(self, call: Call) -> None:
        """A request is about to leave."""
        ...

    def unsent(self, receipt: Receipt) -> None:
        """It did not: there was no connection."""
        ...

    def ended(self, receipt: Receipt) -> None:
        """It has ended, whichever way; its verdict may be pending."""
        ...

    def judged(self, receipt: Receipt) -> None:
        """Its verdict came, or changed, after that."""
        ...


def watch(observer: Observer) -> Callable[[], None]:
    """Tell `observer` of every call of this process from now on; what takes it back."""
    global _observers  # noqa: PLW0603
    with _guard:
        _observers = (*_observers, observer)
        waiting, _waiting[:] = list(_waiting), []
    for each in waiting:
        each()

    def leave() -> None:
        global _observers  # noqa: PLW0603
        with _guard:
            _observers = tuple(each for each in _observers if each is not observer)

    return leave


def tell(moment: str, what: Any) -> None:
    """Tell all observers of a moment: ``"sent"``, ``"unsent"``, ``"ended"``, ``"judged"``."""
    for each in _observers:
        try:
            getattr(each, moment)(what)
        except Exception:  # who watches must not cost the user a paid answer
            logger.exception("an observer of calls failed")


def on_watch(prepare: Callable[[], None]) -> None:
    """Run `prepare` once, when somebody begins to watch, or now where somebody does."""
    with _guard:
        if not _observers:
            _waiting.append(prepare)
            return
    prepare()


def seek(seeker: Callable[[], Any]) -> None:
    """Let a framework's package say which span stands for the call that is being made here; None for none."""
    with _guard:
        _seekers.append(seeker)


def found() -> Any:
    """The span of a framework's instrumentation that stands for the call that is being made here, if one is known."""
    for each in _seekers:
        if (span := each()) is not None:
            return span
    return None
