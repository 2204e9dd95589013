"""Runs a server on a socket until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import uvicorn

from zg_core.errors import ConfigError
from zg_core.serve.app import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zg_core.serve.settings import ServeSettings

__all__ = ["bound", "serve"]

_IDLE_SECONDS = 75


class _Runner(uvicorn.Server):
    """Leaves the signals to us: uvicorn raises them again when it has ended, and the process would die of them."""

    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when connections are taken."""
        await super().startup(sockets)
        if self.started:
            self.ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound, and not listening yet.

    Raises:
        ConfigError: the address is taken, or none of this machine's (code ``cannot_listen``).
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    except OSError as error:
        raise _cannot(host, port, error) from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise _cannot(host, port, error) from None
    return made


def _cannot(host: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot listen on {host} port {port}: {error.strerror or error}",
        code="cannot_listen",
        hint="another program may listen there: choose another --port (0 takes a free one)",
    )


async def serve(
    settings: ServeSettings, sock: socket.socket, ready: Callable[[Server, Callable[[], None]], None]
) -> None:
    """Serve on `sock` until SIGINT or SIGTERM: then calls under way may end, and nothing new begins.

    A second signal ends them at once; their receipts say so.

    Args:
        settings: What is served, and to whom.
        sock: Where (`bound`).
        ready: Called when connections are taken, with the server and what stops it.

    Raises:
        ConfigError: a setting is missing or malformed.
    """
    server = Server(settings)
    config = uvicorn.Config(
        server,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=None,
        h11_max_incomplete_event_size=64 * 1024,
    )
    runner = _Runner(config)
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        if runner.should_exit:
            runner.force_exit = True
            server.relays.cut()
            return
        runner.should_exit = True
        stopping.append(loop.create_task(_after(settings.grace, server)))

    numbers = [signal.SIGINT, signal.SIGTERM]
    for number in numbers:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread, or not here
            loop.add_signal_handler(number, stop)
    runner.ready = lambda: ready(server, stop)
    try:
        await runner.serve(sockets=[sock])
    finally:
        for task in stopping:
            task.cancel()
        for number in numbers:
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)
        await server.close()
        sock.close()


async def _after(seconds: float, server: Server) -> None:
    await asyncio.sleep(seconds)
    server.relays.cut()
