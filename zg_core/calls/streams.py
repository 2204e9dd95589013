"""Streams as their readers hold them: events one by one, and the receipt once they have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from zg_core.calls.alike import spread
from zg_core.http.transport import run
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from zg_core.calls.alike import Words
    from zg_core.calls.call import Slot
    from zg_core.receipts.model import Receipt

__all__ = ["AsyncReplyStream", "ReplyStream"]


@forgetful
class ReplyStream:
    """The events of one answer. Read it to its end, or close it: then `receipt` is there."""

    def __init__(self, events: AsyncGenerator[list[dict[str, Any] | Words], None], slot: Slot) -> None:
        self._events = events
        self._slot = slot
        self._here: Iterator[dict[str, Any]] = iter(())  # what has come and was not asked for yet

    @property
    def receipt(self) -> Receipt | None:
        """The receipt; complete once the stream has ended, None if nothing was sent."""
        return self._slot.receipt

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        while (event := next(self._here, None)) is None:
            if not (seen := self.more()):
                raise StopIteration
            self._here = spread(seen)
        return event

    def more(self) -> list[dict[str, Any] | Words]:
        """For who takes them all at once: the events that come next; none at the end."""
        step = self._events.__anext__()  # driven as `run` does, but without a coroutine around each
        try:
            step.send(None)
        except StopIteration as stop:
            seen: list[dict[str, Any] | Words] = stop.value
            return seen
        except StopAsyncIteration:
            return []
        raise RuntimeError("a stream over SyncTransport must not suspend")

    def close(self) -> None:
        """Break off; what was already answered may be billed all the same."""
        self._here = iter(())
        run(_close(self._events))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@forgetful
class AsyncReplyStream:
    """Async twin of `ReplyStream`."""

    def __init__(self, events: AsyncGenerator[list[dict[str, Any] | Words], None], slot: Slot) -> None:
        self._events = events
        self._slot = slot
        self._here: Iterator[dict[str, Any]] = iter(())  # what has come and was not asked for yet

    @property
    def receipt(self) -> Receipt | None:
        """See `ReplyStream.receipt`."""
        return self._slot.receipt

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while (event := next(self._here, None)) is None:
            if not (seen := await self.more()):
                raise StopAsyncIteration
            self._here = spread(seen)
        return event

    async def more(self) -> list[dict[str, Any] | Words]:
        """See `ReplyStream.more`."""
        return await anext(self._events, [])

    async def close(self) -> None:
        """See `ReplyStream.close`."""
        self._here = iter(())
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _close(events: AsyncGenerator[Any, None]) -> None:
    await events.aclose()
