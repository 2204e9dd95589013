"""Permits that calls share (opengradient §2.5): one payer, one gateway, one path; one call at a time brings a permit.

A gateway answers a permit with the id of a session; later and concurrent calls show that and sign nothing. A session is
used until the gateway says that it is over: no clock here guesses when that will be.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.opengradient.payment import Permit
    from zg_core.config import Secret
    from zg_core.http.signals import Signal
    from zg_core.http.transport import Transport

__all__ = ["Seat", "Session", "seat_of"]

_LOOK_AGAIN = 5.0  # seconds after which a waiter looks by itself: whoever went to pay may be gone without a word
_GIVE_UP = 600.0


@dataclass(slots=True)
class Session:
    """A permit that a gateway has accepted.

    Attributes:
        id: What requests show; whoever has it can spend what the permit allows.
        facts: Those of the permit.
        cap: The most that all its calls can cost together.
    """

    id: Secret = field(repr=False)
    facts: Mapping[str, Any]
    cap: int


class Seat:
    """Where the calls of one payer to one gateway sit: the session they share, or the one among them that pays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._payer: object | None = None  # who has gone to pay
        self._unsent: Permit | None = None
        self._waiting: list[Signal] = []
        self.permits = 0
        """How many permits were sent."""

    async def take(self, transport: Transport, who: object, *, alone: bool = False) -> Session | Permit | None:
        """The session to use; else `who` has to pay now: with a permit that was signed and not sent, or a new one.

        Whoever gets no session must call `paid`, whatever happens. With `alone`, `who` pays for itself: the sessions of
        others have ended under its feet.
        """
        if alone:
            return None
        waited = 0.0
        while True:
            with self._lock:
                if self._session is not None:
                    return self._session
                if self._payer is None or waited >= _GIVE_UP:
                    self._payer = who
                    permit, self._unsent = self._unsent, None
                    return permit
                signal = transport.signal()
                self._waiting.append(signal)
            if signal.stalls:  # nobody can pay while we wait in the thread of the loop
                with self._lock:
                    self._waiting.remove(signal)
                    self._payer = who
                    return None
            await signal.wait(_LOOK_AGAIN)
            waited += _LOOK_AGAIN

    def paid(self, who: object, session: Session | None, *, unsent: Permit | None = None) -> None:
        """`who` has paid: with this session, with nothing to share, or not at all (`unsent`)."""
        with self._lock:
            if session is not None:
                self._session = session
            if unsent is not None:
                self._unsent = unsent
            if self._payer is not who:
                return
            self._payer = None
            waiting, self._waiting = self._waiting, []
        for signal in waiting:
            signal.set()

    def over(self, session_id: str) -> None:
        """The gateway says that this session is over."""
        with self._lock:
            if self._session is not None and self._session.id.reveal() == session_id:
                self._session = None


_seats: dict[tuple[str, ...], Seat] = {}
_guard = threading.Lock()


def seat_of(*key: str) -> Seat:
    """The seat of all calls with this key (payer, gateway, path, mode) in this process."""
    with _guard:
        return _seats.setdefault(key, Seat())


def _forked() -> None:
    """This process is a copy: sessions are the parent's to use, and nobody here has gone to pay."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    _seats.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
