"""What the cases of the field share: a server whose handler is a function, a relay before a node, and our two clients.

The cases are those of people who met such servers. Each `expect` is one of their expectations; a test that has several
shows all that are not met.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.patience import PATIENCE
from zg_core import NETWORKS, Network
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.localnet import LocalNet

_LIMIT = 64 << 20


class Expectations:
    """Collects what was expected and not met."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def __call__(self, what: str, met: object, seen: object = "") -> None:
        if not met:
            self.faults.append(f"{what}\n    seen: {seen}")


def told(error: BaseException) -> str:
    """An error in one line: whose it is, its code, its words."""
    name = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
    code = getattr(error, "code", None)
    more = f" code={code} retryable={getattr(error, 'retryable', '-')}" if isinstance(code, str) else ""
    return f"{name}{more}: {str(error)[:260]}"


def ours(error: object) -> bool:
    """Whether this is an error of this package."""
    return isinstance(error, Exception) and type(error).__module__.startswith("zg_core.")


def short(result: Any) -> str:
    """A result in one line."""
    return told(result) if isinstance(result, BaseException) else f"{result[0]} {len(result[1])} B {result[1][:24]!r}"


def attempt(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What `work` gives, or what it raises."""
    try:
        return work(), None
    except Exception as error:
        return None, error


class Connection:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock, self.number, self._pending = sock, number, b""

    def request(self, seconds: float = 30, *, body: bool = True) -> tuple[bytes, bytes] | None:
        """Head and body of the next request, None at the end; without `body` what follows the head stays unread."""
        self.sock.settimeout(seconds)
        data = self._pending
        while b"\r\n\r\n" not in data:
            if not (more := self.sock.recv(65536)):
                return None
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n")[1:] if line.lower().startswith(b"content-length:")]
        length = int(lines[0].split(b":")[1]) if lines and body else 0
        while len(rest) < length:
            if not (more := self.sock.recv(65536)):
                return None
            rest += more
        self._pending = rest[length:]
        return head, rest[:length]

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def reset(self) -> None:
        """Go away without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Handler = Callable[[Connection], object]


class FieldServer:
    """Hands each connection to `handler` in a thread of its own."""

    def __init__(self, handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._handler, self._tls = handler, tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset would take what waits here with it
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._handler(Connection(sock, number))
        except (OSError, ssl.SSLError):
            pass  # the client went away, which is its affair
        finally:
            with contextlib.suppress(OSError):
                sock.close()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def answer(body: bytes | str = b"ok", status: str = "200 OK", **headers: str) -> bytes:
    """A response with its length."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def sync_calls(url: str, count: int = 1, pause: float = 0.0, ca: str | None = None, **more: Any) -> list[Any]:
    """Results of `count` blocking requests over one transport: (status, body, headers), or what was raised."""
    transport = SyncTransport(ca)
    results: list[Any] = []
    try:
        for number in range(count):
            if number:
                time.sleep(pause)
            try:
                results.append(run(_one(transport, url, **more)))
            except Exception as error:
                results.append(error)
    finally:
        transport.close()
    return results


def async_calls(url: str, count: int = 1, pause: float = 0.0, ca: str | None = None, **more: Any) -> list[Any]:
    """The same on an event loop."""

    async def main() -> list[Any]:
        transport = AsyncTransport(ca)
        results: list[Any] = []
        for number in range(count):
            if number:
                await asyncio.sleep(pause)
            try:
                results.append(await _one(transport, url, **more))
            except Exception as error:
                results.append(error)
        await transport.close()
        return results

    return asyncio.run(main())


async def _one(
    transport: Any,
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    *,
    once: bool = False,
    read: float = 60.0,
    connect: float = 60.0,
) -> tuple[int, bytes, dict[str, str]]:
    request = Request(method, url, {}, body, Timeouts(connect=connect, read=read), once=once)
    response = await transport.send(request)
    return response.status, await read_all(response, _LIMIT), dict(response.headers)


CALLS = [sync_calls, async_calls]


class RpcError(Exception):
    """The relay answers with this error object."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class Raw(Exception):  # noqa: N818
    """The relay answers with these bytes, or closes the connection."""

    def __init__(
        self, body: bytes | str, status: int = 200, headers: dict[str, str] | None = None, *, close: bool = False
    ) -> None:
        super().__init__(status)
        self.body = body if isinstance(body, bytes) else body.encode()
        self.status, self.headers, self.close = status, headers or {}, close


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def forward(url: str, method: str, params: Any) -> Any:
    """What the node at `url` answers."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with _DIRECT.open(request, timeout=PATIENCE) as response:
        said = json.loads(response.read())
    if (error := said.get("error")) is not None:
        raise RpcError(error.get("code", 0), error.get("message", ""), error.get("data"))
    return said["result"]


class Relay:
    """A JSON-RPC server before a node.

    Args:
        hook: Called with method, parameters and this relay; gives the result, or raises `RpcError` or `Raw`.
        upstream: The node that `up` asks.
        before: Called with the messages of a request; may raise `Raw`.
    """

    def __init__(
        self,
        hook: Callable[[str, Any, Relay], Any],
        upstream: str | None = None,
        before: Callable[[Any, Relay], None] | None = None,
    ) -> None:
        self._hook, self._upstream, self._before = hook, upstream, before
        self.calls: list[str] = []
        self.posts = 0
        self.path = ""
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                relay.path = self.path
                raw = relay._answer(data)
                if raw.close:
                    self.close_connection = True
                    return
                self.send_response(raw.status)
                for name, value in raw.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw.body)))
                with contextlib.suppress(OSError):
                    self.end_headers()
                    self.wfile.write(raw.body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def up(self, method: str, params: Any) -> Any:
        """What the node behind answers."""
        assert self._upstream is not None
        return forward(self._upstream, method, params)

    def _answer(self, data: bytes) -> Raw:
        self.posts += 1
        try:
            messages = json.loads(data)
            if self._before is not None:
                self._before(messages, self)
            many = isinstance(messages, list)
            answers = [self._one(message) for message in (messages if many else [messages])]
            return Raw(json.dumps(answers if many else answers[0]))
        except Raw as raw:
            return raw

    def _one(self, message: Any) -> dict[str, Any]:
        self.calls.append(message["method"])
        base = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            return base | {"result": self._hook(message["method"], message.get("params", []), self)}
        except RpcError as error:
            data = {} if error.data is None else {"data": error.data}
            return base | {"error": {"code": error.code, "message": error.message, **data}}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def network_of(net: LocalNet, rpc_url: str | None = None) -> Network:
    """The settings of a local network, with another node before it."""
    return replace(NETWORKS["local"], rpc_url=rpc_url or net.rpc_url, ledger=net.ledger, inference=net.inference)


def kept(connections: Any) -> Iterator[Any]:
    """Idle connections in the books of one transport."""
    for idle in connections._idle.values():
        yield from idle
