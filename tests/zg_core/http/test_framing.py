"""Every framing of HTTP/1.1 met in the field, over all that sends: our connections, a given client, the library.

What is listed in `FRAMINGS` is answered with exactly these bytes, and every sender, blocking and asynchronous, has to
make the same of it: a body, a body that broke, or no answer. After each, the next request gets its own answer.

- ``Content-Length``: right, none to read (0, 204, 304), blanks around it, twice the same (two lines, one line), twice
  another, too large (the connection ends early), too small (bytes after the end), no number, beside chunks.
- Chunks: with extensions, with trailers, in capitals and with zeros and blanks around the size, without the last one,
  cut within one, larger than said, of a size that is none or endless, with another coding below, byte by byte.
- Until the connection ends: HTTP/1.1 and HTTP/1.0, a reset instead of an end, nothing at all.
- Before the answer: 100, 102 and 103, also many; 101, which nobody asked for.
- The head: folded lines, bare line feeds, no reason, other letters in reason and values, no blank after the colon,
  blanks around a value, empty values, a blank before the colon, no colon, 60 kB, endless, cut, what is not HTTP.
- The end: a server that hangs up without having said so, one that said so, bytes after the end, a second answer.
- Early answers: a refusal before the upload is read, a success before it is over.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cases.chain.field import Connection, FieldServer, answer
from tests.zg_core.driving import with_loop, without_loop
from tests.zg_core.raw_server import chunk
from zg_core.errors import ProviderUnavailable
from zg_core.http import library as http
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import LIBRARY, Transport

QUICK = Timeouts(connect=60.0, read=60.0)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN, NOTHING = "a body that breaks", "no answer"


@dataclass(frozen=True)
class Framing:
    """What a server sends, what is to be made of it, and what the server does then."""

    sent: bytes
    made: bytes | str
    then: str = "keep"  # or "close", "reset"
    drip: bool = False


def head(*lines: str, status: str = "200 OK", version: str = "1.1", end: str = "\r\n") -> bytes:
    return end.join([f"HTTP/{version} {status}", *lines, "", ""]).encode("latin-1")


HELLO = chunk(b"hello")
LAST = b"0\r\n\r\n"
FRAMINGS: dict[str, Framing] = {
    "length: right": Framing(head("Content-Length: 5") + b"hello", b"hello"),
    "length: right, byte by byte": Framing(head("Content-Length: 5") + b"hello", b"hello", drip=True),
    "length: 0": Framing(head("Content-Length: 0"), b""),
    "length: of a 204": Framing(head("Content-Length: 5", status="204 No Content"), b""),
    "length: none in a 204": Framing(head(status="204 No Content"), b""),
    "length: of a 304": Framing(head("Content-Length: 5", status="304 Not Modified"), b""),
    "length: blanks around it": Framing(head("Content-Length: \t 5 \t") + b"hello", b"hello"),
    "length: zeros before it": Framing(head("Content-Length: 0005") + b"hello", b"hello"),
    "length: twice the same": Framing(head("Content-Length: 5", "Content-Length: 5") + b"hello", b"hello"),
    "length: twice the same in one line": Framing(head("Content-Length: 5, 5") + b"hello", b"hello"),
    "length: twice another": Framing(head("Content-Length: 5", "Content-Length: 6") + b"hello", NOTHING),
    "length: too large": Framing(head("Content-Length: 9") + b"hello", BROKEN, "close"),
    "length: too large, reset": Framing(head("Content-Length: 9") + b"hello", BROKEN, "reset"),
    "length: too small": Framing(head("Content-Length: 4") + b"hello", b"hell"),
    "length: negative": Framing(head("Content-Length: -5") + b"hello", NOTHING),
    "length: signed": Framing(head("Content-Length: +5") + b"hello", NOTHING),
    "length: a word": Framing(head("Content-Length: five") + b"hello", NOTHING),
    "length: hexadecimal": Framing(head("Content-Length: 0x5") + b"hello", NOTHING),
    "length: beside chunks": Framing(
        head("Content-Length: 3", "Transfer-Encoding: chunked") + HELLO + LAST, b"hello"
    ),
    "chunks": Framing(CHUNKED + HELLO + chunk(b" world") + LAST, b"hello world"),
    "chunks: byte by byte": Framing(CHUNKED + HELLO + LAST, b"hello", drip=True),
    "chunks: none": Framing(CHUNKED + LAST, b""),
    "chunks: capitals in the coding": Framing(head("Transfer-Encoding: Chunked") + HELLO + LAST, b"hello"),
    "chunks: extensions": Framing(CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "chunks: trailers": Framing(CHUNKED + HELLO + b"0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", b"hello"),
    "chunks: capitals in the size": Framing(CHUNKED + b"A\r\nhellohello\r\n0\r\n\r\n", b"hellohello"),
    "chunks: zeros before the size": Framing(CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "chunks: blanks after the size": Framing(CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n", b"hello"),
    "chunks: no last one": Framing(CHUNKED + HELLO, BROKEN, "close"),
    "chunks: cut within one": Framing(CHUNKED + b"5\r\nhel", BROKEN, "close"),
    "chunks: cut within the last one": Framing(CHUNKED + HELLO + b"0\r\n", BROKEN, "close"),
    "chunks: cut in a size": Framing(CHUNKED + HELLO + b"5", BROKEN, "close"),
    "chunks: reset within one": Framing(CHUNKED + b"5\r\nhel", BROKEN, "reset"),
    "chunks: larger than said": Framing(CHUNKED + b"3\r\nhello\r\n0\r\n\r\n", BROKEN),
    "chunks: a size that is none": Framing(CHUNKED + b"five\r\nhello\r\n0\r\n\r\n", BROKEN),
    "chunks: a negative size": Framing(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", BROKEN),
    "chunks: an endless size": Framing(CHUNKED + b"f" * 40 + b"\r\nhello", BROKEN),
    "chunks: an endless line": Framing(CHUNKED + b"5;" + b"x" * 300_000, BROKEN),
    "chunks: another coding below": Framing(head("Transfer-Encoding: gzip, chunked") + HELLO + LAST, NOTHING),
    "until the end": Framing(OK + b"\r\nhello", b"hello", "close"),
    "until the end: HTTP/1.0": Framing(head(version="1.0") + b"hello", b"hello", "close"),
    "until the end: nothing": Framing(OK + b"\r\n", b"", "close"),
    "until the end: a reset": Framing(OK + b"\r\nhello", BROKEN, "reset"),
    "HTTP/1.0 with a length": Framing(head("Content-Length: 5", version="1.0") + b"hello", b"hello", "close"),
    "HTTP/1.0 that keeps the connection": Framing(
        head("Content-Length: 5", "Connection: keep-alive", version="1.0") + b"hello", b"hello"
    ),
    "before: 100": Framing(head(status="100 Continue") + answer(b"hello"), b"hello"),
    "before: 102 and 103": Framing(
        head(status="102 Processing") + head("Link: </a>", status="103 Early Hints") + answer(b"hello"), b"hello"
    ),
    "before: 50 times 103": Framing(head("Link: </a>", status="103 Early Hints") * 50 + answer(b"hello"), b"hello"),
    "before: 103 and no answer": Framing(head(status="103 Early Hints"), NOTHING, "close"),
    "before: 101 unasked": Framing(head("Upgrade: x", status="101 Switching Protocols") + b"hello", NOTHING),
    "head: folded lines": Framing(head("X-A: one", " two", "\tthree", "Content-Length: 5") + b"hello", b"hello"),
    "head: bare line feeds": Framing(head("Content-Length: 5", end="\n") + b"hello", b"hello"),
    "head: no reason": Framing(head("Content-Length: 5", status="200 ") + b"hello", b"hello"),
    "head: no reason, no blank": Framing(head("Content-Length: 5", status="200") + b"hello", b"hello"),
    "head: other letters": Framing(head("X-A: \u00e4", "Content-Length: 5", status="200 \u00e4") + b"hello", b"hello"),
    "head: no blank after the colon": Framing(head("Content-Length:5", "X-A:b") + b"hello", b"hello"),
    "head: blanks around a value": Framing(head("X-A:  \t b \t ", "Content-Length: 5") + b"hello", b"hello"),
    "head: an empty value": Framing(head("X-A:", "Content-Length: 5") + b"hello", b"hello"),
    "head: a blank before the colon": Framing(head("X-A : b", "Content-Length: 5") + b"hello", NOTHING),
    "head: a line without a colon": Framing(head("X-A", "Content-Length: 5") + b"hello", NOTHING),
    "head: 60 kB": Framing(head(f"X-A: {'b' * 60_000}", "Content-Length: 5") + b"hello", b"hello"),
    "head: endless": Framing(OK + b"X-A: b\r\n" * 100_000, NOTHING),
    "head: cut": Framing(OK + b"Content-Length: 5\r\n", NOTHING, "close"),
    "head: none": Framing(b"", NOTHING, "close"),
    "head: none, reset": Framing(b"", NOTHING, "reset"),
    "head: a banner": Framing(b"SSH-2.0-OpenSSH_9.2\r\n", NOTHING, "close"),
    "head: HTTP/2": Framing(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18, NOTHING, "close"),
    "head: a page without a head": Framing(b"<html>hello</html>\r\n\r\n", NOTHING, "close"),
    "head: two digits": Framing(head("Content-Length: 5", status="20 OK") + b"hello", NOTHING),
    "end: hangs up without a word": Framing(head("Content-Length: 5") + b"hello", b"hello", "close"),
    "end: said so": Framing(head("Content-Length: 5", "Connection: close") + b"hello", b"hello", "close"),
    "end: said so, stays": Framing(head("Content-Length: 5", "Connection: close") + b"hello", b"hello"),
    "end: bytes after it": Framing(head("Content-Length: 5") + b"hello\r\n\r\n", b"hello"),
    "end: a second answer": Framing(head("Content-Length: 5") + b"hello" + answer(b"another's"), b"hello"),
    "end: bytes after the last chunk": Framing(CHUNKED + HELLO + LAST + b"junk", b"hello"),
}  # fmt: skip


@dataclass(frozen=True)
class Sender:
    """One way in which requests go out."""

    name: str
    loop: bool

    def drive(self, work: Callable[[Transport], Any]) -> Any:
        drive = with_loop if self.loop else without_loop
        if self.name == "own":
            return drive(work)
        if self.name == "library":
            return drive(work, client=LIBRARY)
        kind = getattr(http.library(), "AsyncClient" if self.loop else "Client")
        client = kind(trust_env=False, verify=http.ssl_context(None))
        try:
            return drive(work, client=client)
        finally:
            if not self.loop:
                client.close()

    def __str__(self) -> str:
        return f"{self.name}-{'async' if self.loop else 'sync'}"


SENDERS = [Sender(name, loop) for name in ("own", "given", "library") for loop in (False, True)]


@pytest.fixture(params=SENDERS, ids=str)
def sender(request: pytest.FixtureRequest) -> Sender:
    return request.param


async def made_of(transport: Transport, url: str, **request: Any) -> bytes | str:
    """What a request comes to."""
    try:
        response = await transport.send(Request(url=url, timeouts=QUICK, **{"method": "GET", **request}))
    except ProviderUnavailable as error:
        return NOTHING if error.code == "connection_lost" else repr(error)
    try:
        return await read_all(response, 1 << 20, 10.0)
    except BodyBroken:
        return BROKEN


class Scripted:
    """Answers the first request as framed (as often as it is sent again), and every other one with its path."""

    def __init__(self) -> None:
        self.framing: Framing | None = None
        self.over = threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (got := connection.request()) is not None:
            path = got[0].split(b" ")[1]
            if path != b"/framed":
                connection.send(answer(path))
                continue
            assert self.framing is not None
            if self.framing.drip:
                for byte in self.framing.sent:
                    connection.send(bytes([byte]))
            else:
                connection.send(self.framing.sent)
            if self.framing.then == "reset":
                connection.sock.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    connection.sock.recv(1)
                connection.reset()
            if self.framing.then != "keep":
                return


@pytest.fixture(scope="module")
def scripted() -> Iterator[tuple[Scripted, str]]:
    handler = Scripted()
    with FieldServer(handler) as server:
        yield handler, server.url


@pytest.mark.parametrize("name", FRAMINGS)
def test_every_sender_makes_the_same_of_it(name: str, sender: Sender, scripted: tuple[Scripted, str]) -> None:
    handler, url = scripted
    handler.framing = FRAMINGS[name]

    async def work(transport: Transport) -> list[bytes | str]:
        before = await made_of(transport, f"{url}/before")
        framed = await made_of(transport, f"{url}/framed")
        return [before, framed, *[await made_of(transport, f"{url}/after{number}") for number in range(2)]]

    assert sender.drive(work) == [b"/before", FRAMINGS[name].made, b"/after0", b"/after1"]


UPLOAD = b"x" * (4 << 20)


def refuses(connection: Connection) -> None:
    """Refuses what it has not read, and reads on for a while, as servers that mean well do."""
    connection.request(body=False)
    connection.send(answer(b"too large", "413 Payload Too Large", Connection="close"))
    with contextlib.suppress(OSError):
        while connection.sock.recv(65536):
            continue


def succeeds(connection: Connection) -> None:
    """Begins to answer before it has heard all, and goes on to listen."""
    got = connection.request(body=False)
    assert got is not None
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"early"))
    left = len(UPLOAD) - len(connection._pending)
    while left > 0 and (more := connection.sock.recv(65536)):
        left -= len(more)
    connection.send(chunk(b", late" if left <= 0 else b", cut") + LAST)


@pytest.mark.parametrize(("handler", "status", "body"), [(refuses, 413, b"too large"), (succeeds, 200, b"early, late")])
def test_an_early_answer_is_heard(handler: Any, status: int, body: bytes, sender: Sender) -> None:
    async def work(transport: Transport) -> tuple[int, bytes]:
        response = await transport.send(Request("POST", server.url, body=UPLOAD, timeouts=QUICK, once=True))
        return response.status, await read_all(response, 1 << 20)

    with FieldServer(handler) as server:
        assert sender.drive(work) == (status, body)
