"""From the core's receipts to LangChain's runs.

Receipts are born in `zg_core`, also those of calls that LangChain never hears of again: broken-off streams, cancelled
tasks. A *sink* knows the run that a call belongs to, and is in force only while the client itself is running: for a
stream that is one step at a time, because between two steps other code runs, perhaps other calls of the same task.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from zg_core.calls import observing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from uuid import UUID

    from langchain_core.callbacks.manager import BaseRunManager

    from zg_core.calls.alike import Words
    from zg_core.calls.streams import AsyncReplyStream, ReplyStream
    from zg_core.receipts.model import Receipt

__all__ = [
    "ACTIVE", "Relay", "Sink", "awatched", "ended", "scope", "sink_of", "started", "trace_runs", "watched",
]  # fmt: skip

ACTIVE: ContextVar[Any] = ContextVar("zerog_receipts", default=None)
"""The handler of the innermost `get_zerog_receipts()`."""
_SINK: ContextVar[Sink | None] = ContextVar("zerog_receipt_sink", default=None)
# LangChain's `stream` and `astream` call a model without its run manager. But they announce the run to its handlers
# first, in the same context, and the handlers leave here what the model then takes.
_STARTED: ContextVar[Sink | None] = ContextVar("zerog_started_run", default=None)


@dataclass(frozen=True, slots=True)
class Sink:
    """Hands receipts to the handlers of one run."""

    handlers: Sequence[Any]
    run_id: UUID | None = None
    parent_run_id: UUID | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None

    def __call__(self, receipt: Receipt) -> None:
        for handler in self.handlers:
            handler.on_zerog_receipt(
                receipt,
                run_id=self.run_id,
                parent_run_id=self.parent_run_id,
                tags=list(self.tags),
                metadata=dict(self.metadata or {}),
            )


@dataclass(frozen=True, slots=True)
class Relay:
    """The `on_receipt` of a client: tells the sink in force, then the user's own listener.

    Two with the same listener are equal, so that a client is not made anew for each call.
    """

    listener: Callable[[Receipt], None] | None

    def __call__(self, receipt: Receipt) -> None:
        sink = _SINK.get()
        try:
            if sink is not None:
                sink(receipt)
        finally:
            if self.listener is not None:
                self.listener(receipt)


def sink_of(run_manager: BaseRunManager | None) -> Sink | None:
    """The sink for a run; None when nobody listens."""
    announced = _STARTED.get()
    if announced is not None:
        _STARTED.set(None)
    if run_manager is None:
        if announced is not None:
            return announced
        active = ACTIVE.get()
        return None if active is None else Sink((active,))
    handlers = [one for one in getattr(run_manager, "handlers", ()) if hasattr(one, "on_zerog_receipt")]
    if not handlers:
        return None
    return Sink(handlers, run_manager.run_id, run_manager.parent_run_id, tuple(run_manager.tags), run_manager.metadata)


def started(sink: Sink) -> None:
    """A handler says that a run of ours begins."""
    before = _STARTED.get()
    if before is not None and before.run_id == sink.run_id:
        sink = replace(sink, handlers=(*before.handlers, *sink.handlers))
    _STARTED.set(sink)


def ended(run_id: UUID) -> None:
    """A run is over; if it was answered from a cache, nobody took its announcement."""
    before = _STARTED.get()
    if before is not None and before.run_id == run_id:
        _STARTED.set(None)


class scope:  # noqa: N801 - used as a function
    """Have `sink` told of the receipts that are made inside; there must be no `yield` of a generator inside.

    Every call goes through it, and a generator as a context manager would cost it three times as much.
    """

    __slots__ = ("_sink", "_token")

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink

    def __enter__(self) -> None:
        self._token = _SINK.set(self._sink)

    def __exit__(self, *_: object) -> None:
        _SINK.reset(self._token)


class watched:  # noqa: N801 - used as a function
    """A stream, by all that comes at once, whose receipt goes to the run's handlers, however the stream ends."""

    def __init__(self, stream: ReplyStream, run_manager: BaseRunManager | None) -> None:
        self._stream = stream
        self._sink = sink_of(run_manager)

    @property
    def receipt(self) -> Receipt | None:
        """As of the stream."""
        return self._stream.receipt

    def __iter__(self) -> Iterator[list[dict[str, Any] | Words]]:
        return self

    def __next__(self) -> list[dict[str, Any] | Words]:
        with scope(self._sink):
            seen = self._stream.more()
        if not seen:
            raise StopIteration
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with scope(self._sink):
            self._stream.close()


class awatched:  # noqa: N801 - used as a function
    """Async twin of `watched`."""

    def __init__(self, stream: AsyncReplyStream, run_manager: BaseRunManager | None) -> None:
        self._stream = stream
        self._sink = sink_of(run_manager)

    @property
    def receipt(self) -> Receipt | None:
        """As of the stream."""
        return self._stream.receipt

    def __aiter__(self) -> AsyncIterator[list[dict[str, Any] | Words]]:
        return self

    async def __anext__(self) -> list[dict[str, Any] | Words]:
        with scope(self._sink):
            seen = await self._stream.more()
        if not seen:
            raise StopAsyncIteration
        return seen

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with scope(self._sink):
            await self._stream.close()


# Spans

# Instrumentations of LangChain are handlers that keep their spans by run, and do not make them current. Which run a
# call belongs to is learnt as LangChain announces it, in the context in which the model is called then.
_RUN: ContextVar[UUID | None] = ContextVar("zerog_traced_run", default=None)


def trace_runs() -> None:
    """Let telemetry find the spans of LangChain instrumentations; nothing is registered before it is asked for."""
    observing.on_watch(_register)


def _register() -> None:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.tracers.context import register_configure_hook

    class Runs(BaseCallbackHandler):
        """Notes which run begins."""

        run_inline = True  # in the context of whoever calls the model

        def on_chat_model_start(self, *_: Any, run_id: UUID, **__: Any) -> None:
            """See `BaseCallbackHandler`."""
            _RUN.set(run_id)

    listening: ContextVar[BaseCallbackHandler | None] = ContextVar("zerog_traced", default=Runs())  # noqa: B039 - it holds nothing
    register_configure_hook(listening, inheritable=False)
    observing.seek(_span)


def _span() -> Any:
    """The span of the run that has begun here, None if no instrumentation has one."""
    from langchain_core.callbacks import BaseCallbackManager

    run_id = _RUN.get()
    if run_id is None:
        return None
    for handler in BaseCallbackManager([]).handlers:  # instrumentations put theirs into every manager
        span = _kept_by(handler, run_id)
        if span is not None and getattr(span, "is_recording", bool)():
            return span
    return None


def _kept_by(handler: Any, run_id: UUID) -> Any:
    if callable(get := getattr(handler, "get_span", None)):
        return get(run_id)
    kept = getattr(handler, "spans", None)
    holder = kept.get(run_id) if isinstance(kept, dict) else None
    return getattr(holder, "span", holder)
