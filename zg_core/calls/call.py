"""What a call is made of: the call under way, its reply, and where a stream may end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.http.bodies import BodyBroken
from zg_core.tasks.chat import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.base import Route
    from zg_core.calls.gate import Place
    from zg_core.exchange import Exchange
    from zg_core.http.messages import Response
    from zg_core.http.timeouts import Timeouts
    from zg_core.receipts.model import Receipt
    from zg_core.types import Usage

__all__ = ["Call", "Options", "Reply", "Slot", "Tail"]

# What may follow the last event: a server that talks on is cut off, and its bytes cannot be compared.
TAIL_BYTES = 64 * 1024
TAIL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and its receipt.

    Attributes:
        body: The response as the provider sent it, parsed.
        receipt: The record of the call, verdict included.
    """

    body: dict[str, Any]
    receipt: Receipt

    @property
    def text(self) -> str:
        """Content of the first choice, "" if it has none (a tool call, for example)."""
        return text_of(self.body)


@dataclass(frozen=True, slots=True)
class Options:
    """What one call asks for beside its payload.

    Attributes:
        timeouts: Instead of the client's.
        headers: Beside the client's and our own.
    """

    timeouts: Timeouts | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Slot:
    """Where a running stream leaves its receipt."""

    receipt: Receipt | None = None


@dataclass(slots=True)
class Call:
    """A call under way."""

    route: Route
    exchange: Exchange
    receipt: Receipt
    started: float
    options: Options = field(default_factory=Options)
    response: Response | None = None
    usage: Usage | None = None
    text: list[str] = field(default_factory=list)
    hasty: bool = False  # there are other providers: a refusal that may pass is not waited for
    sent: bool = False  # a request is on its way, or was answered
    renewed: bool = False  # the session was signed anew for it
    finished: bool = False  # a finish_reason was seen
    done: bool = False  # [DONE] was seen
    kept: list[bytes] | None = None  # the response, where bytes are kept
    place: Place | None = None  # among the requests under way, where these are limited

    def leave(self) -> None:
        """The request is not under way any more; again has no effect."""
        if self.place is not None:
            self.place.leave()


class Tail:
    """Bounds what a server may send after ``[DONE]``; `size` is where the stream ended."""

    __slots__ = ("_began", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._began = time.monotonic()

    def check(self, size: int) -> None:
        """Look at how far the response has come.

        Raises:
            BodyBroken: more than 64 kB, or longer than a second, after the end.
        """
        if size - self._size > TAIL_BYTES or time.monotonic() - self._began > TAIL_SECONDS:
            raise BodyBroken("the provider talks on after the end of the stream")
