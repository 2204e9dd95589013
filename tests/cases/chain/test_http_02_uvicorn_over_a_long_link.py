"""uvicorn (vLLM, FastAPI, most model servers) hangs up after 5 s of silence; a real one, 60 ms away in each direction.

uvicorn#152, halogen-flash-server#25, NeMo-Gym#1555: every call whose idle time fell within a round trip of the server's
5 s was lost as one whose outcome is unknown.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, async_calls, short, sync_calls
from tests.patience import PATIENCE

uvicorn = pytest.importorskip("uvicorn")

LINK = 0.060
IDLE = [4.80, 4.90, 4.95, 5.00, 5.02, 5.04, 5.06, 5.08, 5.10, 5.12, 5.14, 5.16, 5.2, 5.3]


async def app(scope: Any, receive: Any, send: Any) -> None:
    more = scope["type"] == "http"
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


class Link:
    """A relay that delivers everything, ends included, `LINK` seconds later."""

    def __init__(self, to: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._to = to
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        due: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._deliver, args=(due, source, target), daemon=True).start()
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            due.put((time.monotonic() + LINK, data))

    def _deliver(self, due: Any, source: socket.socket, target: socket.socket) -> None:
        while True:
            at, data = due.get()
            time.sleep(max(0.0, at - time.monotonic()))
            try:
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)
            except OSError:  # the far side is gone: the sender learns it by a reset, as over a real link
                with contextlib.suppress(OSError):
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    source.close()
                return


@pytest.fixture
def url() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_keep_alive=5, lifespan="off"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    link = Link(listener.getsockname()[1])
    yield f"http://127.0.0.1:{link.port}/v1/proxy/chat/completions"
    link.stop()
    server.should_exit = True
    thread.join(PATIENCE)
    listener.close()


def test_paid_posts_use_no_connection_that_uvicorn_may_be_closing(url: str, expect: Expectations) -> None:
    found: dict[tuple[str, float], Any] = {}

    def work(calls: Callable[..., list[Any]], idle: float) -> None:
        found[calls.__name__, idle] = calls(url, 2, idle, method="POST", body=b"{}", once=True)[1]

    ways = [(calls, idle) for calls in (sync_calls, async_calls) for idle in IDLE]
    threads = [threading.Thread(target=work, args=way) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = {which: short(result) for which, result in found.items() if isinstance(result, Exception)}
    expect("idle time for POSTs that may be billed below the 5 s of uvicorn/Node", not lost, lost)
    expect("every one was made", len(found) == len(ways), len(found))
