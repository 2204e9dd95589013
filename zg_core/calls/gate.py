"""Client-side limits: how fast and how many at once, per realm, payer and provider, whoever asks in this process.

Providers refuse more (0g-direct §4.6), and a refusal costs a round trip. All clients, threads and event loops queue at
one `Gate`, first come, first served. The rate is counted in the store where that is a file or server, so that other
processes are counted in (`zg_core.calls.pace`); how many are under way is counted per process.
"""

from __future__ import annotations

import itertools
import os
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from zg_core.calls.pace import MemoryPace, StoredPace, Word
from zg_core.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.limits import Limits
    from zg_core.calls.pace import Level, Pace, Taken
    from zg_core.http.signals import Signal
    from zg_core.http.transport import Transport
    from zg_core.store import Store

__all__ = ["Gate", "Place", "gate_of", "pace_of"]

_KEYS = itertools.count()


class Place:
    """One request's place: in the queue first, then among those under way.

    It is given back by `leave`, and by being dropped.
    """

    __slots__ = (
        "__weakref__",
        "_claims",
        "_gate",
        "_key",
        "_limits",
        "_pace",
        "_taken",
        "_transport",
        "signal",
        "waits",
    )

    def __init__(self, gate: Gate, pace: Pace, limits: Limits, transport: Transport) -> None:
        self._gate = gate
        self._pace = pace
        self._limits = limits
        self._transport = transport
        self._key = next(_KEYS)  # a number: the gate must not keep it alive
        self._claims = [None]  # who takes this out first decides what becomes of a turn
        self._taken: Level | None = None
        self.signal: Signal | None = None
        self.waits = True

    def ask(self) -> Taken:
        """Ask the pace for a turn; in whichever thread. A place that was left meanwhile does not keep it."""
        taken = self._pace.take(self._limits)
        if taken.wait <= 0:
            self._taken = taken.level
            if not self._claim():
                self._pace.give_back(taken.level.at, self._limits)
        return taken

    def enter(self) -> None:
        """Be under way from now on."""
        self._gate.inside.add(self._key)
        self.waits = False

    def leave(self) -> None:
        """The request has ended; again has no effect."""
        self.waits = False
        self._gate.inside.discard(self._key)
        self._gate.wake()

    def withdraw(self) -> None:
        """`leave`, and give the turn back: nothing was sent."""
        self.leave()
        if self._claim():  # no turn is had; one that is being taken is given back by `ask`
            return
        taken, self._taken = self._taken, None
        if taken is not None:
            self._aside(self._pace.give_back, taken.at, self._limits)

    def heard(self, headers: Mapping[str, str], seconds: float, pause: float | None = None) -> None:
        """Follow what the provider said about its rate.

        Args:
            headers: Of its response, names in lower case.
            seconds: How long ago the request was sent; the numbers may be of then.
            pause: For how long it wants no more, where a refusal says so.
        """
        word = Word.of(headers, pause)
        if word is None:
            return
        if self._pace.blocking:
            # Our own count follows the same rule as the provider's; the store is asked only where they differ.
            level = self._taken
            if level is not None and not level.heard(word, seconds, self._pace.now(), self._limits):
                return
        self._aside(self._pace.heard, word, seconds, self._limits)

    def _claim(self) -> bool:
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def _aside(self, work: object, *arguments: object) -> None:
        if self._pace.blocking:
            self._transport.aside(work, *arguments)  # type: ignore[arg-type]
        else:
            work(*arguments)  # type: ignore[operator]

    def __del__(self) -> None:
        self.leave()


class Gate:
    """Where all requests of one payer to one provider queue.

    No lock is held while it changes: only the first in the queue may enter, and finalizers, which may run at any point
    of any thread, leave by one atomic step.
    """

    def __init__(self) -> None:
        self.pace = MemoryPace()
        self.rated: bool | None = None
        """Whether the provider names a rate in its replies, as one does that has one (0g-direct §4.6); None before the
        first: who sets no limits keeps to them where it does."""
        self.forked()

    def forked(self) -> None:
        """This process is a copy: nothing of what is under way or waits is its own."""
        self._queue: deque[weakref.ref[Place]] = deque()
        self.inside: set[int] = set()
        self.pace.forked()

    async def enter(
        self,
        transport: Transport,
        limits: Limits,
        *,
        pace: Pace | None = None,
        patience: float,
        until: float | None = None,
    ) -> Place:
        """Wait for a place and a turn.

        Args:
            transport: How one waits.
            limits: Ours.
            pace: Where turns are counted; by default in this process.
            patience: Seconds of pause, asked for by the provider, that are waited for.
            until: When to give up, by ``time.monotonic``. Never without; but a blocking call made on an event loop
                gives up after `patience`: the places may be those of tasks that cannot end meanwhile.

        Raises:
            RateLimited: it would take longer (code ``no_turn``); ``retry_after`` in ``details`` are the seconds.
            ConfigError: the store cannot be used.
        """
        pace = pace or self.pace
        place = Place(self, pace, limits, transport)
        mark = weakref.ref(place, self._lost)
        self._queue.append(mark)
        try:
            while True:
                wait: float | None = None
                if self._first() is place and len(self.inside) < limits.in_flight:
                    taken = await transport.blocking(place.ask) if pace.blocking else place.ask()
                    if taken.wait <= 0:
                        place.enter()
                        return place
                    wait = taken.wait
                    if taken.pause > patience:
                        raise _no_turn("the provider wants no request", taken.pause)
                left = None if until is None else until - time.monotonic()
                if left is not None and (left <= 0 or (wait or 0) > left):
                    raise _no_turn("the limits leave no turn", wait)
                if place.signal is None:  # then look again: what has happened so far could not wake us
                    place.signal = transport.signal()
                    if place.signal.stalls and until is None:
                        until = time.monotonic() + patience
                else:
                    await place.signal.wait(wait if left is None else left if wait is None else min(wait, left))
        except BaseException:
            place.withdraw()
            raise
        finally:
            self._remove(mark)
            self.wake()

    def wake(self) -> None:
        """Let the first in the queue look whether it may enter."""
        first = self._first()
        if first is not None and first.signal is not None:
            first.signal.set()

    def _first(self) -> Place | None:
        while True:
            try:
                mark = self._queue[0]
            except IndexError:
                return None
            place = mark()
            if place is not None and place.waits and not (place.signal is not None and place.signal.dead):
                return place
            self._remove(mark)

    def _lost(self, mark: weakref.ref[Place]) -> None:
        self._remove(mark)
        self.wake()

    def _remove(self, mark: weakref.ref[Place]) -> None:
        with suppress(ValueError):
            self._queue.remove(mark)


def _no_turn(why: str, seconds: float | None) -> RateLimited:
    when = "" if seconds is None else f" for {seconds:.0f} s"
    hint = "try again later" if seconds is None else f"try again in {seconds:.0f} s"
    return RateLimited(
        f"{why}{when}; nothing was sent",
        code="no_turn",
        hint=f"{hint}, spread the calls over more providers, or allow a longer retry_deadline",
        retry_after=seconds,
    )


_gates: dict[tuple[str, str, str], Gate] = {}


def gate_of(realm: str, payer: str, provider: str) -> Gate:
    """The gate at which all requests of `payer` to `provider` in this process queue."""
    key = (realm, payer.lower(), provider.lower())
    return _gates.get(key) or _gates.setdefault(key, Gate())


def pace_of(store: Store | None, realm: str, payer: str, provider: str) -> Pace | None:
    """The pace that is shared through `store`; None where each process has its own."""
    return None if store is None or store.kind == "memory" else StoredPace(store, realm, payer, provider)


def _forked() -> None:
    for gate in _gates.values():
        gate.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
