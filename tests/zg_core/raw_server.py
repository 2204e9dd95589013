"""A server on loopback that answers with scripted bytes, or does something else instead."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import ipaddress
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from tests.patience import PATIENCE

RESET, CLOSE, STALL = object(), object(), object()
Step = bytes | object


@dataclass(frozen=True)
class Pause:
    """Wait that many seconds."""

    seconds: float


@dataclass(frozen=True)
class Drip:
    """Send these, one every 20 ms."""

    SECONDS: ClassVar[float] = 0.02
    pieces: list[bytes]


@dataclass
class Received:
    """One request as it came over the wire."""

    head: bytes
    body: bytes
    connection: int

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if line)}


class Server:
    """Answers the requests it gets, one after the other, with scripted steps: bytes, or what it does instead."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.script: list[list[Step]] = []
        self.arrived = threading.Event()  # there was a request
        self.gone = threading.Event()  # a client hung up in the middle of an answer
        self._tls = tls
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the test server does not stop"

    def _accept(self) -> None:
        for number in range(10_000):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection, number))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            stack.callback(connection.close)
            connection.settimeout(0.05)
            pending = b""
            while (request := self._read(connection, number, pending)) is not None:
                received, pending = request
                self.received.append(received)
                self.arrived.set()
                for step in self.respond(received):
                    if not self._do(connection, step):
                        return

    def respond(self, received: Received) -> list[Step]:
        """What to do for one request."""
        return self.script.pop(0) if self.script else [answer(b"ok")]

    def _read(self, connection: socket.socket, number: int, data: bytes) -> tuple[Received, bytes] | None:
        wanted = None
        while wanted is None or len(data) < wanted:
            if wanted is None and b"\r\n\r\n" in data:
                head = data.partition(b"\r\n\r\n")[0]
                length = Received(head, b"", number).headers.get("content-length", "0")
                wanted = len(head) + 4 + int(length)
                continue
            try:
                more = connection.recv(65536)
            except TimeoutError:
                if self._stopped.is_set():
                    return None
                continue
            if not more:
                return None
            data += more
        head, _, rest = data[:wanted].partition(b"\r\n\r\n")
        return Received(head, rest, number), data[wanted:]

    def _hung_up(self, connection: socket.socket) -> bool:
        connection.settimeout(Drip.SECONDS)
        try:
            over = not connection.recv(65536)
        except TimeoutError:
            return self._stopped.is_set()
        except OSError:
            over = True
        if over:
            self.gone.set()
        return over

    def _do(self, connection: socket.socket, step: Step) -> bool:
        if isinstance(step, Pause):
            return not self._stopped.wait(step.seconds)
        if isinstance(step, Drip):
            return all(self._do(connection, piece) and not self._hung_up(connection) for piece in step.pieces)
        if isinstance(step, bytes):
            connection.settimeout(10)
            try:
                connection.sendall(step)
            except OSError:
                self.gone.set()
                raise
            connection.settimeout(0.05)
            return True
        if step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while step is STALL and not self._stopped.is_set():
            try:
                if connection.recv(65536):
                    continue
            except TimeoutError:
                continue
            except OSError:  # it left bytes unread, so its end is a reset
                pass
            self.gone.set()
            break
        return False


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path, str]:
    """A server's TLS settings, the file to trust, and the SHA-256 of its certificate."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "ca.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    unprotected = serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unprotected)
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return context, pem, hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()
