"""One request of somebody else's client, from its bytes to the last byte of the answer."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Self

from zg_core.calls.reading import Form
from zg_core.errors import ZeroGError
from zg_core.receipts.runs import named_run
from zg_core.serve.answers import (
    GUARDS,
    UNPROVEN,
    HttpError,
    comment,
    error_body,
    error_event,
    error_headers,
    facts_headers,
    passed_on,
    status_of,
)
from zg_core.serve.bodies import Gone, parsed, read_body, renamed
from zg_core.shown.tracebacks import clear_locals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from starlette.types import Receive, Scope, Send

    from zg_core.calls.path import Head
    from zg_core.serve.access import Caller
    from zg_core.serve.clients import Clients
    from zg_core.tasks.base import Task

__all__ = ["Relays", "send_error"]

logger = logging.getLogger(__name__)

_WAITING = 1024 * 1024
_DATA = re.compile(rb"(?:\A|\n)data")
_TRACE = frozenset({b"traceparent", b"tracestate"})


class Relays:
    """Answers requests for tasks, each until its end or until whoever asked has gone.

    Args:
        clients: Who answers.
        most: Most bytes of a request.
        refused: Told the code of every error that is shown.
        traced: Whether calls belong to the traces that requests name.
    """

    def __init__(self, clients: Clients, most: int, refused: Callable[[str], None], *, traced: bool = False) -> None:
        self._clients = clients
        self._traced = traced
        self._most = most
        self._refused = refused
        self.under_way: set[asyncio.Task[None]] = set()
        """Requests that are being answered."""
        self._stopping = False

    def cut(self) -> list[asyncio.Task[None]]:
        """End all that is under way, now; what ends then."""
        self._stopping = True
        left = list(self.under_way)
        for job in left:
            job.cancel()
        return left

    async def answer(self, task: Task, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; once its body has come, it ends when whoever asked has gone."""
        try:
            data = await read_body(scope, receive, self._most)
        except Gone:
            return
        except HttpError as error:
            self._refused(error.code)
            await send_error(send, error, close=True)
            return
        traced = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _TRACE}
        with named_run(caller.run) if caller.run else nullcontext():
            await self._while_wanted(self._relay(task, caller, data, send, traced if self._traced else {}), receive)

    async def _while_wanted(self, work: Coroutine[Any, Any, None], receive: Receive) -> None:
        job = asyncio.get_running_loop().create_task(work)
        self.under_way.add(job)
        job.add_done_callback(self.under_way.discard)
        watch = asyncio.get_running_loop().create_task(_gone(receive))
        try:
            await asyncio.wait({job, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                job.cancel()  # the upstream is left, and the receipt says so
            with suppress(asyncio.CancelledError):
                await job
        except asyncio.CancelledError:
            job.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.shield(job)
            raise
        finally:
            watch.cancel()

    async def _relay(self, task: Task, caller: Caller, data: bytes, send: Send, trace: dict[str, str]) -> None:
        answer = _Answer(send)
        if trace:
            from zg_core.telemetry import continue_trace

            continue_trace(trace)
        try:
            payload = parsed(data, task.form)
            entry = self._clients.entry(payload.get("model"))
            if entry.model is not None:
                data = renamed(payload, entry.model, data)
            streamed = payload.get("stream") is True
            lease = self._clients.lease(entry, task, caller, payload.get("model"))
            del payload
            try:
                head, chunks = await lease.client.calls.relay(data, task.path, form=Form.RAW)
                del data
                try:
                    kind = ("text/event-stream" if streamed else "application/json") if task.form == "json" else ""
                    await _forward(answer, head, chunks, kind=kind, streamed=streamed, hold=entry.hold)
                finally:
                    await chunks.aclose()
            finally:
                lease.leave()
        except (ZeroGError, HttpError) as error:
            clear_locals(error)
            self._refused(error.code)
            await answer.fail(error)
        except Gone:
            return
        except asyncio.CancelledError:
            if self._stopping:
                await answer.fail(HttpError(UNPROVEN, "stopped", "the server was stopped while it was answering"))
            raise
        except Exception as error:  # whatever it is, callers get one line of ours
            clear_locals(error)
            logger.exception("a request for %s failed", task.path)
            self._refused("internal")
            await answer.fail(HttpError(500, "internal", "the server failed; its log says more"))


async def _forward(
    answer: _Answer, head: Head, chunks: AsyncGenerator[bytes, None], *, kind: str, streamed: bool, hold: bool
) -> None:
    """Hand on what comes: of a stream as it comes, of everything else at its end, with the verdict on its head."""
    shown = passed_on(head.headers, kind)
    if not streamed or hold or (b"content-type", b"text/event-stream") not in shown:
        parts = [part async for part in chunks]
        if streamed and (b"content-type", b"text/event-stream") in shown:
            parts.append(_apart(parts[-1] if parts else b"") + comment(head.receipt))
        await answer.begin(head.status, [*shown, *facts_headers(head.receipt)], sum(map(len, parts)))
        await answer.end(b"".join(parts))
        return
    outlet = _Outlet(answer)
    async with outlet:
        async for part in chunks:
            if answer.begun:
                await outlet.put(part)
                continue
            # What goes wrong before the first event has an HTTP status; the event itself goes out at once.
            await answer.begin(head.status, [*shown, *facts_headers(head.receipt, judged=False)])
            await answer.more(part)
    if not answer.begun:
        await answer.begin(head.status, [*shown, *facts_headers(head.receipt)])
    await answer.close(comment(head.receipt))


class _Outlet:
    """Sends parts of a stream as soon as the loop gets to it: those that come in one breath go out in one piece."""

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer
        self._parts: list[bytes] = []
        self._size = 0
        self._wake, self._room = asyncio.Event(), asyncio.Event()
        self._ending = False
        self._sender: asyncio.Task[None] | None = None

    async def put(self, part: bytes) -> None:
        """Send `part`; waits only where much is waiting already.

        Raises:
            Gone: whoever asked has left.
        """
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send())
        self._parts.append(part)
        self._size += len(part)
        self._wake.set()
        if self._size > _WAITING:
            self._room.clear()
            await self._room.wait()
        if self._sender.done():
            self._sender.result()

    async def _send(self) -> None:
        try:
            while self._parts or not self._ending:
                await self._wake.wait()
                self._wake.clear()
                parts, self._parts, self._size = self._parts, [], 0
                if parts:
                    await self._answer.more(b"".join(parts))
                self._room.set()
        finally:
            self._room.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._sender is None:
            return
        if kind is not None and not issubclass(kind, ZeroGError):
            self._sender.cancel()
            with suppress(asyncio.CancelledError, Gone):
                await self._sender
            return
        self._ending = True  # what was understood before an error is shown before it
        self._wake.set()
        await self._sender


class _Answer:
    """The answer that is being sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._last = b""
        self.begun = self.ended = False

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None = None) -> None:
        more = [] if length is None else [(b"content-length", str(length).encode())]
        self.begun = True
        await self._put({"type": "http.response.start", "status": status, "headers": [*GUARDS, *headers, *more]})

    async def more(self, body: bytes) -> None:
        self._last = body or self._last
        await self._put({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes) -> None:
        self.ended = True
        await self._put({"type": "http.response.body", "body": body, "more_body": False})

    async def close(self, words: bytes) -> None:
        """End a stream with `words` of ours, which no unfinished line of a stranger may swallow."""
        await self.end(_apart(self._last) + words)

    async def fail(self, error: ZeroGError | HttpError) -> None:
        """Say `error`: as a response, or in a stream that has begun as its last event, without ``[DONE]``."""
        if self.ended:
            return
        with suppress(Gone):
            if not self.begun:
                self.begun = self.ended = True
                await send_error(self._send, error)
                return
            last = error_event(error)
            if isinstance(error, ZeroGError) and error.receipt is not None:
                last += comment(error.receipt)
            await self.close(last)

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError:
            raise Gone from None


def _apart(before: bytes) -> bytes:
    """What ends the event that a stream has left open: else what comes next would be a part of its last line.

    One with data is shown. Of one without, clients would make an event without data: its type is taken away instead.
    """
    left = before.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rpartition(b"\n\n")[2]
    if _DATA.search(left):
        return b"\n\n"
    return (b"" if left.endswith(b"\n") else b"\n") + b"event:\n" if left else b""


async def send_error(send: Send, error: ZeroGError | HttpError, *, close: bool = False) -> None:
    """Answer with `error`, OpenAI-shaped.

    Args:
        send: Where to.
        error: What to say.
        close: Whether the connection ends with it, because the rest of the request was not read.
    """
    body = json.dumps(error_body(error)).encode()
    headers = [*error_headers(error), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
