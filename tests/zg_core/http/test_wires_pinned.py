"""A connection to exactly one certificate: whoever shows another does not get a byte."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zg_core.errors import ConfigError, ProviderUnavailable
from zg_core.http.library import library
from zg_core.http.messages import Request, read_all
from zg_core.http.transport import LIBRARY, AsyncTransport, SyncTransport, run
from zg_core.localnet.opengradient.enclave import Certificate


class Site:
    """A TLS server that shows a certificate, notes what it hears, and says "hi"."""

    def __init__(self, certificate: Certificate, directory: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate.write(directory, "site"))
        self.heard = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                with connection, self.context.wrap_socket(connection, server_side=True) as secured:
                    while data := secured.recv(65536):
                        self.heard += data
                        if b"\r\n\r\n" in self.heard:
                            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                            break
            except OSError:
                continue


@contextmanager
def serving(certificate: Certificate, directory: Path) -> Iterator[Site]:
    site = Site(certificate, directory)
    site.thread.start()
    try:
        yield site
    finally:
        site.listener.shutdown(socket.SHUT_RDWR)
        site.listener.close()
        site.thread.join()


def pin(certificate: Certificate) -> str:
    return hashlib.sha256(certificate.der).hexdigest()


@pytest.fixture(scope="module")
def own() -> Certificate:
    return Certificate()


@pytest.fixture(params=["own", LIBRARY])
def client(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "own" else LIBRARY


def fetched(request: Request, client: str | None, *, asynchronous: bool) -> bytes:
    if not asynchronous:
        transport = SyncTransport(client=client)
        try:
            return run(read_all(run(transport.send(request)), 100))
        finally:
            transport.close()

    async def fetch() -> bytes:
        waiting = AsyncTransport(client=client)
        try:
            return await read_all(await waiting.send(request), 100)
        finally:
            await waiting.close()

    return asyncio.run(fetch())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_one_certificate_is_enough(own, tmp_path, client, asynchronous):
    with serving(own, tmp_path) as site:
        assert fetched(Request("GET", site.url, pin=pin(own)), client, asynchronous=asynchronous) == b"hi"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_another_certificate_gets_no_byte_even_if_the_known_key_has_signed_it(
    own, tmp_path, client, asynchronous, signed
):
    other = Certificate(issuer=own if signed else None)
    with serving(other, tmp_path) as site:
        request = Request("POST", site.url, {"Authorization": "Bearer secret"}, b"{}", once=True, pin=pin(own))
        with pytest.raises(ProviderUnavailable) as refused:
            fetched(request, client, asynchronous=asynchronous)
        assert (refused.value.code, refused.value.retryable) == ("connect_failed", False)
        assert site.heard == b""


def test_a_trusted_authority_would_have_let_it_pass(own, tmp_path):
    """What the comparison is for: the context that official clients make accepts the other certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=own.der)
    with (
        serving(Certificate(issuer=own), tmp_path) as site,
        socket.create_connection(("127.0.0.1", site.listener.getsockname()[1])) as plain,
        context.wrap_socket(plain) as secured,
    ):
        assert secured.getpeercert(True) != own.der


def test_a_pinned_connection_is_not_shared_with_requests_of_another_pin(own, tmp_path):
    other = "ab" * 32
    with serving(own, tmp_path) as site:
        transport = SyncTransport()
        run(read_all(run(transport.send(Request("GET", site.url, pin=pin(own)))), 100))
        with pytest.raises(ProviderUnavailable):
            run(transport.send(Request("GET", site.url, pin=other)))
        with pytest.raises(ProviderUnavailable):  # nor with those that the system's authorities must vouch for
            run(transport.send(Request("GET", site.url)))
        transport.close()


def test_a_given_client_is_refused_before_anything_is_sent(own, tmp_path):
    with serving(own, tmp_path) as site, library().Client(verify=False) as given:
        transport = SyncTransport(client=given)
        with pytest.raises(ConfigError) as refused:
            run(transport.send(Request("GET", site.url, pin=pin(own))))
        assert refused.value.code == "pin_impossible"
        assert site.heard == b""


def test_no_second_handshake_can_show_another_certificate_within_a_connection():
    from zg_core.http.wires import pinned_context

    assert ssl.OP_NO_RENEGOTIATION in ssl.Options(pinned_context("ab" * 32).options)
