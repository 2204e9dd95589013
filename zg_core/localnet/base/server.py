"""One thread with an event loop that runs every HTTP server of a local network."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from zg_core.localnet.base.visitors import objection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

T = TypeVar("T")
_STOP_SECONDS = 2


class CuttableProtocol(H11Protocol):
    """HTTP that tells the application which connection it is on, so that a fault can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where the application finds it: ``scope["state"]``."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def bind(port: int = 0) -> socket.socket:
    """A socket on 127.0.0.1, bound but not yet listening.

    Its protocol is named because asyncio sets TCP_NODELAY only then; without it every response costs 40 ms.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def reset(transport: asyncio.Transport) -> None:
    """End a connection as a crash or a cable would: no closing handshake, what was not sent yet is lost."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _screened(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """`app`, for visitors that may ask; the others' requests are read to their end and refused."""
    why = objection((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers", ()))
    if not why:
        await app(scope, receive, send)
        return
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body", False):
            break
    body = json.dumps({"error": why}).encode()
    kind = (b"content-type", b"application/json")
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 403, "headers": [kind, length]})
    await send({"type": "http.response.body", "body": body})


class ServerThread:
    """Runs ASGI applications on bound sockets. `start` returns when all of them accept connections."""

    def __init__(self) -> None:
        self._servers: list[tuple[uvicorn.Server, socket.socket]] = []
        self._killed: dict[int, int] = {}
        self._at_end: list[Callable[[], Awaitable[None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[asyncio.Future[None]] = set()
        self._stopping = False
        self._ready: Future[None] = Future()
        self._thread: threading.Thread | None = None

    def add(
        self, app: ASGIApp, sock: socket.socket, *, tls: tuple[Path, Path] | None = None, dated: bool = True
    ) -> int:
        """Serve `app` on `sock`, with TLS if a certificate file and a key file are given. Before `start`.

        Args:
            app: What answers.
            sock: Where.
            tls: The two files.
            dated: Whether responses say the time; without it `app` does.

        Returns:
            What `kill` and `restart` take.
        """
        config = uvicorn.Config(
            self._stoppable(app),
            http=CuttableProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=dated,
            proxy_headers=False,
            timeout_keep_alive=600,
            timeout_graceful_shutdown=_STOP_SECONDS,
            ssl_certfile=str(tls[0]) if tls else None,
            ssl_keyfile=str(tls[1]) if tls else None,
        )
        self._servers.append((uvicorn.Server(config), sock))
        return len(self._servers) - 1

    def show(self, place: int, tls: tuple[Path, Path]) -> None:
        """Show another certificate from now on; connections that are open are reset."""

        def show() -> None:
            server, _ = self._servers[place]
            context = server.config.ssl
            assert context is not None  # noqa: S101 - only of a server with TLS
            context.load_cert_chain(*tls)
            for connection in list(server.server_state.connections):
                reset(connection.transport)

        self.call(show)

    def kill(self, place: int) -> None:
        """Close the socket of one server and reset all its connections, as when its process dies."""

        def kill() -> None:
            server, sock = self._servers[place]
            if place not in self._killed:
                self._killed[place] = sock.getsockname()[1]
            for listener in server.servers:
                listener.close()
            server.servers = []
            for connection in list(server.server_state.connections):
                reset(connection.transport)

        self.call(kill)

    def restart(self, place: int) -> None:
        """Serve again where `kill` ended it.

        Raises:
            OSError: the port is taken.
        """
        loop = self._loop
        assert loop is not None  # noqa: S101 - only of a network that runs

        async def listen() -> None:
            if place not in self._killed:
                return
            server, sock = self._servers[place][0], bind(self._killed[place])
            self._servers[place] = server, sock
            del self._killed[place]
            await server.startup(sockets=[sock])

        asyncio.run_coroutine_threadsafe(listen(), loop).result()

    def at_end(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Await this on the loop after the servers have stopped."""
        self._at_end.append(callback)

    def start(self) -> None:
        """Start the thread.

        Raises:
            Exception: what kept a server from starting.
        """
        self._thread = threading.Thread(target=self._run, name="zerog-localnet-http", daemon=True)
        self._thread.start()
        self._ready.result()

    def stop(self) -> None:
        """Stop all servers, cut what is still open, and end the thread. Again is no error."""
        self._stopping = True
        for server, _ in self._servers:
            server.should_exit = True
        self.call(lambda: [request.cancel() for request in self._running])
        if self._thread is not None:
            self._thread.join()
        for _, sock in self._servers:
            sock.close()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function between the steps of the requests, so that it sees each of them finished or not begun."""
        loop = self._loop
        if loop is None or self._thread is threading.current_thread() or not loop.is_running():
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    def _stoppable(self, app: ASGIApp) -> ASGIApp:
        """The same application, but `stop` ends its running requests instead of waiting for them."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            request = asyncio.ensure_future(_screened(app, scope, receive, send))
            self._running.add(request)
            try:
                await request
            except asyncio.CancelledError:
                if not self._stopping:
                    raise
                scope["state"]["transport"].abort()
                await asyncio.sleep(0)
            finally:
                self._running.discard(request)

        return run

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits in start()
            if not self._ready.done():
                self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(server.serve(sockets=[sock])) for server, sock in self._servers
        ]
        try:
            while not all(server.started for server, _ in self._servers):
                done = [task for task in tasks if task.done()]
                for task in done:
                    task.result()
                if done:
                    raise RuntimeError("a server of the local network ended before it had started")
                await asyncio.sleep(0.001)
            self._ready.set_result(None)
            await asyncio.gather(*tasks)
        finally:
            self._loop = None
            for callback in self._at_end:
                await callback()
