"""TLS in the field: tickets and reuse, expired and wrong names, ragged ends, h2-only servers, mute handshakes.

python-poetry/installer#145, urllib3#5110 (strict authorities).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cases.chain.field import CALLS, Connection, Expectations, FieldServer, answer, ours, short
from tests.patience import PATIENCE

x509 = pytest.importorskip("cryptography.x509")


def authority(
    folder: Path, name: str, *, days: tuple[int, int] = (-1, 30), critical: bool = True, host: str = "127.0.0.1"
) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=critical)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private


def context(made: tuple[Path, Path], **options: Any) -> ssl.SSLContext:
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.load_cert_chain(*made)
    for name, value in options.items():
        setattr(settings, name, value)
    return settings


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return authority(tmp_path_factory.mktemp("tls"), "good")


def keep(connection: Connection) -> None:
    while connection.request() is not None:
        connection.send(answer(b"hello"))


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize(
    ("options", "count"),
    [({"num_tickets": 2}, 3), ({"num_tickets": 8}, 3), ({"maximum_version": ssl.TLSVersion.TLSv1_2}, 2)],
    ids=["2 tickets", "8 tickets", "TLS 1.2"],
)
def test_one_connection_serves_several_requests(
    calls: Any, good: Any, options: dict[str, Any], count: int, expect: Expectations
) -> None:
    with FieldServer(keep, tls=context(good, **options)) as server:
        results = calls(server.url, count, 0.3, ca=str(good[0]), connect=60, read=60)
        made = server.connections
    met = all(not isinstance(result, Exception) for result in results) and made == 1
    expect("answered over one connection", met, (made, [short(result) for result in results]))


@pytest.mark.parametrize("calls", CALLS)
def test_an_answer_without_length_that_is_cut_is_no_foreign_error(calls: Any, good: Any, expect: Expectations) -> None:
    def ragged(connection: Connection) -> None:
        connection.request()
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {"a"')
        os.close(connection.sock.detach())  # no close_notify: as an attacker who cuts the wire would look

    with FieldServer(ragged, tls=context(good)) as server:
        (result,) = calls(server.url, ca=str(good[0]), connect=60, read=60)
    expect("told in our words", not isinstance(result, Exception) or ours(result), short(result))


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [("expired", {"days": (-30, -1)}, "expired"), ("other", {"host": "example.org"}, "mismatch")],
)
def test_a_certificate_that_is_none_is_refused(
    calls: Any, name: str, made: dict[str, Any], reason: str, expect: Expectations, tmp_path: Path
) -> None:
    pair = authority(tmp_path, name, **made)
    with FieldServer(keep, tls=context(pair)) as server:
        (result,) = calls(server.url, ca=str(pair[0]), connect=60, read=60)
    met = ours(result) and reason in str(result).lower()
    expect(f"{name}: refused, our error, reason named", met, short(result))
    expect("trying again does not help", getattr(result, "retryable", None) is False, short(result))


@pytest.mark.parametrize("calls", CALLS)
def test_an_authority_that_is_not_marked_as_critical_is_refused_or_taken(
    calls: Any, expect: Expectations, tmp_path: Path
) -> None:
    pair = authority(tmp_path, "loose", critical=False)
    with FieldServer(keep, tls=context(pair)) as server:
        (result,) = calls(server.url, ca=str(pair[0]), connect=60, read=60)
    expect("as the system's OpenSSL sees it", not isinstance(result, Exception) or ours(result), short(result))


@pytest.mark.parametrize("calls", CALLS)
def test_servers_that_speak_something_else_are_told_in_our_words(calls: Any, good: Any, expect: Expectations) -> None:
    newer = context(good)
    newer.set_alpn_protocols(["h2"])
    with FieldServer(keep) as plain, FieldServer(keep, tls=context(good)) as secure, FieldServer(keep, tls=newer) as h2:
        for what, url in (
            ("https to a plain server", plain.url.replace("http:", "https:")),
            ("http to a TLS server", secure.url.replace("https:", "http:")),
        ):
            (result,) = calls(url, ca=str(good[0]), connect=1, read=1)
            expect(f"{what}: our error", ours(result), short(result))
        (result,) = calls(h2.url, ca=str(good[0]), connect=60, read=60)
        expect("h2 only: an answer or our error", not isinstance(result, Exception) or ours(result), short(result))


@pytest.mark.parametrize("calls", CALLS)
def test_a_server_that_never_shakes_hands_is_given_up(calls: Any, good: Any, expect: Expectations) -> None:
    over = threading.Event()
    with FieldServer(lambda _: over.wait(PATIENCE)) as server:
        began = time.monotonic()
        (result,) = calls(server.url.replace("http:", "https:"), ca=str(good[0]), connect=1, read=60)
        took = time.monotonic() - began
        over.set()
    expect("within the time for connecting, not that for reading", took < 30, f"{took:.1f} s")
    expect("with our error", ours(result), short(result))
