"""Which addresses a stranger's URL may lead to, and that nothing else is dialled for one."""

from __future__ import annotations

import ast
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.driving import fetch, with_loop
from tests.zg_core.raw_server import Server, answer, certificate
from zg_core.errors import ProviderUnavailable
from zg_core.http import library as http
from zg_core.http import reach
from zg_core.http.messages import Request, read_all
from zg_core.http.reach import OutOfReach, check_host, objection, reachable
from zg_core.http.transport import Transport

PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.0.0.5",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:5",
    "64:ff9b:1::a00:5",
    "2002:7f00:1::",
    "2002:a00:5::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "3fff::1",
    "2606:4700::5efe:10.0.0.5",
    "2606:4700::200:5efe:127.0.0.1",
    "100::1",
    "5f00::1",
    "not an address",
    "",
]
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.63.255.255", "223.255.255.254", "2606:4700::1111", "64:ff9b::8.8.8.8"]


class TestAddresses:
    @pytest.mark.parametrize("address", PRIVATE)
    def test_what_is_not_on_the_internet_is_objected_to(self, address: str) -> None:
        assert objection(address)

    @pytest.mark.parametrize("address", PUBLIC)
    def test_the_internet_is_not(self, address: str) -> None:
        assert objection(address) == ""

    @given(st.ip_addresses(v=4))
    def test_no_form_of_ipv6_hides_an_ipv4_address(self, address: ipaddress.IPv4Address) -> None:
        inner = int(address)
        for base in (0xFFFF << 32, 0xFFFF0000 << 32, 0, 0x0064FF9B0001 << 80, 0x2002 << 112 | inner << 80):
            assert objection(str(ipaddress.IPv6Address(base | inner)))
        nat64 = ipaddress.IPv6Address(0x0064FF9B << 96 | inner)
        assert objection(str(nat64)) == objection(str(address))
        assert bool(objection(str(address))) >= (not address.is_global or address.is_multicast)

    @given(st.ip_addresses(v=6))
    def test_python_s_own_list_is_a_part_of_ours(self, address: ipaddress.IPv6Address) -> None:
        if not address.is_global or address.is_multicast:
            assert objection(str(address))


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        [
            *(text for text in PRIVATE if text != "not an address"),
            *("[::1]", "127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "0", "1.2.3.4.5"),
            *("8.8.2056", "0x08080808", "localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain"),
            *("printer.local", "metadata.google.internal", "router.home.arpa", "%31%32%37.0.0.1", "."),
            *("ip6-loopback", "localhost6", "a.ip6-localhost.", "LAN.", "nas.lan", "x.corp", "a.home"),
        ],
    )
    def test_what_names_no_public_machine_is_refused(self, host: str) -> None:
        with pytest.raises(OutOfReach):
            check_host(host)

    @pytest.mark.parametrize(
        "host",
        [
            *PUBLIC,
            "provider.example",
            "1password.example",
            "internal.example",
            "x0.example",
            "lan.homes",
            "corporate.xn--p1ai",
        ],
    )
    def test_names_and_public_addresses_are_not(self, host: str) -> None:
        check_host(host)

    def test_of_several_addresses_the_public_ones_stay(self) -> None:
        infos = [(socket.AF_INET, 1, 6, "", (address, 443)) for address in ("10.0.0.1", "8.8.8.8", "127.0.0.1")]
        assert reachable(infos) == infos[1:2]
        assert reachable([]) == []
        with pytest.raises(OutOfReach, match="private"):
            reachable([infos[0], infos[2]])


Answers = list[list[str]]
NAME = "provider.example"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """What `NAME` resolves to, question after question; the last answer stays."""
    answers: Answers = []
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return genuine(host, port, *rest, **named)
        asked.append(NAME)
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answers
    assert asked or not answers, "the name was never looked up"


def needs_the_resolver_here(sender: Any) -> None:
    """Where the library looks names up by itself, uvloop does so in C, and cannot be told what to find."""
    if os.environ.get("ZEROG_LOOP") == "uvloop" and "driven" in repr(sender):
        pytest.skip("uvloop has a resolver of its own")


@pytest.fixture(params=["own", "library", "given"])
def sender(request: pytest.FixtureRequest, drive: Any) -> Callable[..., Any]:
    """Drives work over connections of our own, over the library's own client, and over one that a user gives."""
    if request.param == "own":
        return drive  # type: ignore[no-any-return]
    kind = getattr(http.library(), "AsyncClient" if drive is with_loop else "Client")

    def driven(work: Any, **_: Any) -> Any:
        return drive(work, client=kind(trust_env=False))

    return driven


class Listener:
    """Counts who connects, and says nothing."""

    def __init__(self, address: str) -> None:
        self.sock = socket.create_server((address, 0))
        self.port = self.sock.getsockname()[1]
        self.connected = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                self.sock.accept()[0].close()
            except OSError:
                return
            self.connected += 1

    def stop(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._thread.join()


@pytest.fixture
def loopback() -> Iterator[Listener]:
    made = Listener("127.0.0.1")
    yield made
    made.stop()


class TestDialling:
    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "10.0.0.5", "169.254.169.254", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::1"],
    )
    def test_a_name_that_leads_into_a_private_network_is_not_dialled(
        self, sender: Any, names: Answers, loopback: Listener, address: str
    ) -> None:
        names.append([address])
        with pytest.raises(ProviderUnavailable, match="may not") as caught:
            sender(fetch(f"http://{NAME}:{loopback.port}/v1", public=True, once=True))
        assert (caught.value.code, caught.value.retryable) == ("insecure_url", False)
        assert "allow_private_providers" in caught.value.hint
        assert loopback.connected == 0

    def test_without_the_rule_it_is(self, sender: Any, names: Answers, server: Server) -> None:
        needs_the_resolver_here(sender)
        names.append(["127.0.0.1"])
        assert sender(fetch(f"http://{NAME}:{server.port}/v1"))[2] == b"ok"

    def test_the_address_that_was_judged_is_the_one_that_is_dialled(
        self, sender: Any, names: Answers, loopback: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name leads elsewhere from its second answer on: for this test, 127.0.0.2 counts as the internet."""
        monkeypatch.setattr(reach, "_of_v4", lambda address: "" if str(address) == "127.0.0.2" else "a private address")
        monkeypatch.setattr("zg_core.http.guarding._FRESH_SECONDS", -1.0)
        public = socket.create_server(("127.0.0.2", loopback.port))
        try:
            threading.Thread(target=_answer_once, args=(public,), daemon=True).start()
            # A client of the library's is asked once before it sends, and once when it dials.
            names += [["127.0.0.2"], ["127.0.0.2" if "driven" in repr(sender) else "127.0.0.1"], ["127.0.0.1"]]
            assert sender(fetch(f"http://{NAME}:{loopback.port}/v1", public=True))[2] == b"ok"
        finally:
            public.close()
        assert loopback.connected == 0

    def test_a_name_that_changes_between_judging_and_dialling_is_refused(
        self, drive: Any, names: Answers, loopback: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A client of the library's looks it up by itself: what it finds then is judged again."""
        monkeypatch.setattr(reach, "_of_v4", lambda address: "" if str(address) == "127.0.0.2" else "a private address")
        monkeypatch.setattr("zg_core.http.guarding._FRESH_SECONDS", -1.0)
        kind = getattr(http.library(), "AsyncClient" if drive is with_loop else "Client")
        names += [["127.0.0.2"], ["127.0.0.1"]]
        with pytest.raises(ProviderUnavailable, match="a private address"):
            drive(fetch(f"http://{NAME}:{loopback.port}/v1", public=True), client=kind(trust_env=False))
        assert loopback.connected == 0

    def test_a_connection_into_the_private_network_serves_no_stranger(
        self, sender: Any, names: Answers, server: Server
    ) -> None:
        """An RPC endpoint of the user's own has the same name and port as a provider's record."""
        needs_the_resolver_here(sender)
        names.append(["127.0.0.1"])
        url = f"http://{NAME}:{server.port}"

        async def work(transport: Transport) -> None:
            await read_all(await transport.send(Request("GET", url)), 100)
            await transport.send(Request("GET", url, public=True))

        with pytest.raises(ProviderUnavailable) as caught:
            sender(work)
        assert caught.value.code == "insecure_url"
        assert len(server.received) == 1

    def test_the_certificate_is_that_of_the_name(
        self, drive: Any, names: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(reach, "_of_v4", lambda _: "")
        settings, ca_file, _ = certificate(tmp_path)  # of 127.0.0.1
        secure = Server(tls=settings)
        try:
            names.append(["127.0.0.1"])
            with pytest.raises(ProviderUnavailable) as caught:
                drive(fetch(f"https://{NAME}:{secure.port}", public=True), ca_file=str(ca_file))
            assert ssl.SSLCertVerificationError.__name__ in str(caught.value)
            assert drive(fetch(secure.url, public=True), ca_file=str(ca_file))[2] == b"ok"
        finally:
            secure.stop()


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer(b"ok"))


class TestProxies:
    """Through a proxy only what a URL says is judged; what a proxy is not asked for is dialled, and judged, here."""

    @pytest.fixture
    def proxy(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
        monkeypatch.setenv("http_proxy", server.url)
        return server

    def test_a_name_is_the_proxy_s_to_resolve(self, drive: Any, proxy: Server) -> None:
        assert drive(fetch("http://nowhere.invalid/v1", public=True))[2] == b"ok"
        assert proxy.received[0].head.startswith(b"POST http://nowhere.invalid/v1 ")

    def test_what_it_is_not_asked_for_is_judged(
        self, drive: Any, proxy: Server, names: Answers, loopback: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("no_proxy", NAME)
        names.append(["127.0.0.1"])
        with pytest.raises(ProviderUnavailable) as caught:
            drive(fetch(f"http://{NAME}:{loopback.port}/", public=True))
        assert caught.value.code == "insecure_url"
        assert (loopback.connected, proxy.received) == (0, [])


def test_every_request_says_whether_a_stranger_chose_its_url(repository: Path) -> None:
    """A request to a provider is made by `provider_request`; any other has to say ``public=``."""
    silent = []
    for path in sorted((repository / "zg_core").rglob("*.py")):
        if "localnet" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "Request":
                continue
            if all(keyword.arg != "public" for keyword in node.keywords):
                silent.append(f"{path.relative_to(repository)}:{node.lineno}")
    assert not silent, "use zg_core.http.provider_requests.provider_request for a chain's URL, else say public=False"
