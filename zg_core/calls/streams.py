"""Streams as their readers hold them: events one by one, and the receipt once they have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from zg_core.http.transport import run
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from zg_core.calls.call import Slot
    from zg_core.receipts.model import Receipt

__all__ = ["AsyncReplyStream", "ReplyStream"]


@forgetful
class ReplyStream:
    """The events of one answer. Read it to its end, or close it: then `receipt` is there."""

    def __init__(self, events: AsyncGenerator[dict[str, Any], None], slot: Slot) -> None:
        self._events = events
        self._slot = slot

    @property
    def receipt(self) -> Receipt | None:
        """The receipt; complete once the stream has ended, None if nothing was sent."""
        return self._slot.receipt

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        step = self._events.__anext__()  # driven as `run` does, but without a coroutine around each
        try:
            step.send(None)
        except StopIteration as stop:
            event: dict[str, Any] = stop.value
            return event
        except StopAsyncIteration:
            raise StopIteration from None
        raise RuntimeError("a stream over SyncTransport must not suspend")

    def close(self) -> None:
        """Break off; what was already answered may be billed all the same."""
        run(_close(self._events))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@forgetful
class AsyncReplyStream:
    """Async twin of `ReplyStream`."""

    def __init__(self, events: AsyncGenerator[dict[str, Any], None], slot: Slot) -> None:
        self._events = events
        self._slot = slot

    @property
    def receipt(self) -> Receipt | None:
        """See `ReplyStream.receipt`."""
        return self._slot.receipt

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await self._events.__anext__()

    async def close(self) -> None:
        """See `ReplyStream.close`."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _close(events: AsyncGenerator[dict[str, Any], None]) -> None:
    await events.aclose()
