"""The JSON-RPC server: an envelope around `Chain.rpc`, over HTTP/1.1 on the loopback interface."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from zg_core.localnet.base.visitors import objection
from zg_core.localnet.chain.error import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from zg_core.localnet.chain.chain import Chain

__all__ = ["Reply", "RpcError", "RpcServer", "answer"]

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
MAX_BODY: Final = 5 * 2**20  # as geth
MAX_BATCH: Final = 1_000  # as geth
MAX_NESTING: Final = 100
MAX_CONNECTIONS: Final = 256
IDLE_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 10.0
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


class Asked(Protocol):
    """What answers JSON-RPC calls."""

    def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Answer one, or raise `RpcError`."""
        ...


@dataclass(frozen=True)
class Reply:
    """What goes back over HTTP; `body` None for no content."""

    body: bytes | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(chain: Asked, body: bytes) -> bytes | None:
    """Answer one JSON-RPC request or batch.

    Args:
        chain: what answers.
        body: the JSON text.

    Returns:
        The JSON text of the response; None if the request was only notifications.
    """
    try:
        if _nesting(body) > MAX_NESTING:
            raise ValueError("nested too deeply")
        request = json.loads(body)
    except ValueError:
        return _encode(_failure(None, RpcError(PARSE_ERROR, "parse error: the body is not JSON")))
    if not isinstance(request, list):
        response = _answer_one(chain, request)
        return None if response is None else _encode(response)
    if not request:
        return _encode(_failure(None, RpcError(INVALID_REQUEST, "empty batch")))
    if len(request) > MAX_BATCH:
        return _encode(_failure(None, RpcError(INVALID_REQUEST, f"batch too large: at most {MAX_BATCH} calls")))
    responses = [response for each in request if (response := _answer_one(chain, each)) is not None]
    return _encode(responses) if responses else None


def _nesting(body: bytes) -> int:
    """Return how deep the brackets go at most; those inside strings count too, which does not hurt."""
    depth = deepest = 0
    if body.count(b"[") + body.count(b"{") <= MAX_NESTING:
        return 0
    for bracket in _BRACKETS.findall(body):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _answer_one(chain: Asked, request: Any) -> dict[str, Any] | None:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _failure(None, RpcError(INVALID_REQUEST, "invalid request"))
    call_id = request.get("id")
    if isinstance(call_id, (dict, list, bool)):
        return _failure(None, RpcError(INVALID_REQUEST, "invalid request: id must be a string or a number"))
    params = request.get("params")
    try:
        if params is not None and not isinstance(params, list):
            raise RpcError(INVALID_PARAMS, "non-array args")
        result = chain.rpc(request["method"], params or [])
        response = {"jsonrpc": "2.0", "id": call_id, "result": result}
    except RpcError as error:
        response = _failure(call_id, error)
    except Exception:
        logger.exception("%s failed", request["method"])
        response = _failure(call_id, RpcError(INTERNAL_ERROR, "internal error"))
    return response if "id" in request else None


def _failure(call_id: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "error": error.as_json()}


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class RpcServer:
    """Serves a chain at http://127.0.0.1:port, one thread for each connection.

    Usable as a context manager; can be started again after `stop`.
    """

    def __init__(self, chain: Chain, port: int = 0, respond: Callable[[bytes], Reply | None] | None = None) -> None:
        """Prepare a server; nothing listens before `start`.

        Args:
            chain: what answers.
            port: TCP port, 0 for any free one.
            respond: what makes the reply to a request instead, None where the connection is to be closed without one.

        Raises:
            ValueError: if `port` is not between 0 and 65535.
        """
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
            raise ValueError(f"port must be between 0 and 65535, not {port!r}")
        self.chain = chain
        self.respond = respond or (lambda body: Reply(answer(chain, body)))
        self._port = port
        self._listener: socket.socket | None = None
        self._url = ""
        self._accepting: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self.down_until = 0.0
        """Until then, on the chain's clock, every connection is closed without an answer."""

    def __repr__(self) -> str:
        return f"RpcServer({'stopped' if self._listener is None else self._url})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens.

        Raises:
            RuntimeError: if it is not started.
        """
        if self._listener is None:
            raise RuntimeError("the RPC server is not running; call start() first")
        return self._url

    def start(self) -> str:
        """Listen and serve in background threads.

        Returns:
            The URL.

        Raises:
            RuntimeError: if it runs already.
            OSError: if the port is taken; the message names it.
        """
        if self._listener is not None:
            raise RuntimeError(f"the RPC server already runs at {self._url}")
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self._port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise OSError(
                    errno.EADDRINUSE,
                    f"port {self._port} on {HOST} is already in use; choose another, or 0 for a free one",
                ) from error
            raise OSError(error.errno, f"cannot listen on {HOST} port {self._port}: {error.strerror}") from error
        self._listener = listener
        self._url = f"http://{HOST}:{listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, args=(listener,), name="zerog-rpc", daemon=True)
        self._accepting.start()
        return self._url

    def stop(self) -> None:
        """Finish the requests that run, close all sockets and join all threads. Does nothing when stopped."""
        listener, self._listener = self._listener, None
        if listener is None or self._accepting is None:
            return
        address = listener.getsockname()
        # A connection to itself is the portable way to wake accept().
        try:
            socket.create_connection(address, timeout=1.0).close()
        except OSError:
            logger.debug("the listening socket was closed already")
        self._accepting.join(_STOP_SECONDS)
        self._accepting = None
        listener.close()
        deadline = time.monotonic() + _STOP_SECONDS
        with self._lock:
            connections = dict(self._connections)
        for connection in connections.values():
            _shut(connection, socket.SHUT_RD)
        for thread, connection in connections.items():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logger.warning("an RPC request still ran %.0f s after stop(); its connection is cut", _STOP_SECONDS)
                _shut(connection, socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                if self._listener is not listener:
                    return
                # Such as too many open files: the next try may do.
                time.sleep(0.05)
                continue
            if self._listener is not listener:
                connection.close()
                return
            with self._lock:
                if len(self._connections) >= MAX_CONNECTIONS:
                    connection.close()
                    continue
                thread = threading.Thread(
                    target=self._serve, args=(connection, peer), name="zerog-rpc-connection", daemon=True
                )
                self._connections[thread] = connection
            try:
                thread.start()
            except RuntimeError:
                logger.warning("no thread could be started for an RPC connection")
                self._forget(thread)
                connection.close()

    def _serve(self, connection: socket.socket, peer: Any) -> None:
        try:
            with connection:
                _Handler(connection, peer, self)  # type: ignore[arg-type]
        except OSError as error:
            logger.debug("RPC connection ended: %s", error)
        finally:
            self._forget(threading.current_thread())

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            del self._connections[thread]


def _shut(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError as error:
        logger.debug("RPC connection was closed already: %s", error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: RpcServer  # type: ignore[assignment]

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            self._refuse(411, "send the body with a Content-Length, not chunked")
            return
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit()):
            self._refuse(411, "a Content-Length is needed")
            return
        length = int(text)
        if length > MAX_BODY:
            self._refuse(413, f"the body has {length} bytes; at most {MAX_BODY} are read")
            return
        body = self.rfile.read(length)
        if why := objection(self.headers.items()):
            self._refuse(403, why)
            return
        if len(body) < length or self.server.chain.clock.now() < self.server.down_until:
            self.close_connection = True
            return
        reply = self.server.respond(body)
        if reply is None:
            self.close_connection = True
        elif reply.body is None:
            self._write(204, b"")
        else:
            self._write(reply.status, reply.body, reply.headers)

    def do_GET(self) -> None:
        if why := objection(self.headers.items()):
            self._refuse(403, why)
        else:
            self._refuse(405, "this is a JSON-RPC endpoint: send a POST")

    do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_GET  # noqa: N815 - names http.server looks for

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True
        self._write(status, _encode({"error": reason}))

    def _write(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        phrase = self.responses[status][0] if status in self.responses else ""
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        if status != 204:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode()
        # One write, so that a response is one segment.
        self.wfile.write(head if self.command == "HEAD" else head + body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        logger.debug(format, *args)
