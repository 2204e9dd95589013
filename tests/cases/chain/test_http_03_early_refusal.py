"""A server refuses before the upload is over: nginx, Cloudflare, FastAPI's middlewares (httpcore#723, requests#2422).

The answer is there to be read; without it the call looks like one that may have been served and billed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest

from tests.cases.chain.field import CALLS, Connection, Expectations, FieldServer, answer, short
from tests.patience import PATIENCE
from tests.zg_core.raw_server import certificate

BIG = b"x" * (8 << 20)
TOO_LARGE = answer(b'{"error":"too large"}', status="413 Payload Too Large", Connection="close")
SLOW_DOWN = answer(b'{"error":"slow down"}', status="429 Too Many Requests", Retry_After="7", Connection="close")


class Refusing:
    """The ways in which servers refuse; `over` is set when the client has its answer."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def closes(self, connection: Connection) -> None:
        """Half-closes, waits a little, and goes away with unread data, so that a reset follows.

        What a reset takes away is read before it comes, or not at all: so it waits for the client.
        """
        connection.request(body=False)
        connection.send(TOO_LARGE)
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_WR)
        self.over.wait(PATIENCE)

    def drains(self, connection: Connection) -> None:
        """Reads to the end what it does not want."""
        connection.request(body=False)
        connection.send(TOO_LARGE)
        connection.sock.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            while connection.sock.recv(65536):
                pass

    def slams(self, connection: Connection) -> None:
        """Goes away at once, with unread data: the answer and a reset arrive together."""
        connection.request(body=False)
        connection.send(TOO_LARGE)

    def stops_reading(self, connection: Connection) -> None:
        """Neither reads nor goes away."""
        connection.request(body=False)
        connection.send(SLOW_DOWN)
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_WR)
        self.over.wait(PATIENCE)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("name", "status"), [("drains", 413), ("closes", 413), ("slams", 413), ("stops_reading", 429)])
@pytest.mark.parametrize("calls", CALLS)
def test_the_refusal_is_seen(
    calls: Any, name: str, status: int, secure: bool, expect: Expectations, tmp_path: Any
) -> None:
    refusing = Refusing()
    context, pem, _ = certificate(tmp_path) if secure else (None, None, "")
    with FieldServer(getattr(refusing, name), tls=context) as server:
        (result,) = calls(server.url, method="POST", body=BIG, once=True, read=60, ca=pem and str(pem))
        refusing.over.set()
    met = not isinstance(result, Exception) and result[0] == status
    expect(f"server that {name}: the refusal is seen", met, short(result))
