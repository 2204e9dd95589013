"""Dialling: all addresses of a name within one deadline, the next one tried while the last one is silent (RFC 8305).

A name is looked up once and what it resolved to is what is dialled. The system's resolver cannot be interrupted, so it
is asked in a thread of its own, which nobody waits for longer than the deadline.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zg_core.http.signals import Signal

__all__ = ["Address", "addresses", "dial", "dial_in_loop", "in_turns", "keep_alive"]

Address = tuple[Any, ...]
"""What ``getaddrinfo`` gives: family, type, protocol, canonical name, and what a socket is connected to."""

NEXT_AFTER = 0.25
"""Seconds after which the next address is tried beside those that have not answered."""

_ALIVE_AFTER = 60  # seconds: networks between forget a silent connection after minutes, long before a long answer ends
_ALIVE_EVERY, _ALIVE_TIMES = 15, 4
_OPTIONS = (
    ("TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE", _ALIVE_AFTER),
    ("TCP_KEEPINTVL", _ALIVE_EVERY),
    ("TCP_KEEPCNT", _ALIVE_TIMES),
)


async def addresses(host: str, port: int, seconds: float, signal: Callable[[], Signal]) -> list[Address]:
    """What `host` resolves to, families in turns.

    Args:
        host: A name, or an address as text.
        port: The port.
        seconds: How long the resolver may take.
        signal: Makes what is waited for.

    Raises:
        TimeoutError: it takes longer.
        OSError: there is no such name.
        UnicodeError: there can be none.
    """
    with suppress(socket.gaierror):
        return in_turns(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    told: list[list[Address] | Exception] = []
    ready = signal()

    def look_up() -> None:
        try:
            told.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            told.append(error)
        ready.set()

    threading.Thread(target=look_up, name="zerog-resolver", daemon=True).start()
    await ready.wait(seconds)
    if not told:
        raise TimeoutError
    (answer,) = told
    if isinstance(answer, Exception):
        raise answer
    return in_turns(answer)


def in_turns(found: Iterable[Address]) -> list[Address]:
    """Addresses ordered so that the families take turns, the resolver's first one first (RFC 8305 §4).

    Example:
        >>> [address[0] for address in in_turns([(6, "a"), (6, "b"), (4, "c")])]
        [6, 4, 6]
    """
    families: dict[Any, list[Address]] = {}
    for address in found:
        families.setdefault(address[0], []).append(address)
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]


def keep_alive(connected: Any) -> None:
    """Let the system ask every minute of silence whether the other side is still there."""
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _socket(address: Address) -> socket.socket:
    made = socket.socket(*address[:3])
    made.setblocking(False)
    return made


def dial(found: list[Address], seconds: float) -> socket.socket:
    """A socket connected to the first of these addresses that answers.

    Raises:
        TimeoutError: none does in time.
        OSError: all refuse.
    """
    if len(found) != 1:
        return _race(deque(found), time.monotonic() + seconds)
    made = _socket(found[0])
    try:
        made.settimeout(seconds)
        made.connect(found[0][4])
    except BaseException:
        made.close()
        raise
    return made


def _race(left: deque[Address], end: float) -> socket.socket:
    refused: OSError = OSError("the name has no address")
    due = time.monotonic()
    with selectors.DefaultSelector() as waiting:
        try:
            while left or waiting.get_map():
                now = time.monotonic()
                if now >= end:
                    raise TimeoutError
                if left and (now >= due or not waiting.get_map()):
                    due = now + NEXT_AFTER
                    try:
                        _begin(left.popleft(), waiting)
                    except OSError as error:
                        refused = error
                    continue
                for key, _ in waiting.select((min(due, end) if left else end) - now):
                    ready: Any = waiting.unregister(key.fd).fileobj
                    if (code := ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) == 0:
                        connected: socket.socket = ready
                        return connected
                    ready.close()
                    refused, due = OSError(code, os.strerror(code)), now
        finally:
            for key in list(waiting.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise refused


def _begin(address: Address, waiting: selectors.BaseSelector) -> None:
    made = _socket(address)
    try:
        with suppress(BlockingIOError):
            made.connect(address[4])
        waiting.register(made, selectors.EVENT_WRITE)
    except BaseException:
        made.close()
        raise


async def dial_in_loop(found: list[Address]) -> socket.socket:
    """The same as `dial` on the running event loop, where whoever calls sees to the deadline.

    Raises:
        OSError: all refuse.
    """
    if len(found) == 1:
        return await _connect(found[0])
    left = deque(found)
    refused: BaseException = OSError("the name has no address")
    tasks: set[asyncio.Task[socket.socket]] = set()
    try:
        while left or tasks:
            if left:
                tasks.add(asyncio.ensure_future(_connect(left.popleft())))
            done, _ = await asyncio.wait(
                tasks, timeout=NEXT_AFTER if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is None:
                    tasks.discard(task)
                    return task.result()
                tasks.discard(task)
                refused = error
    finally:
        for task in tasks:
            task.add_done_callback(_hang_up)
            task.cancel()
    raise refused


def _hang_up(task: asyncio.Task[socket.socket]) -> None:
    """Nobody wants this connection any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(address: Address) -> socket.socket:
    made = _socket(address)
    try:
        await asyncio.get_running_loop().sock_connect(made, address[4])
    except BaseException:
        made.close()
        raise
    return made
