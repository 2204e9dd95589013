"""A web page in the developer's browser, or a name of its that resolves to this machine, drives no local network."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.patience import PATIENCE
from zg_core.localnet import LocalNet
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.devaccounts import DEV_KEYS

OWNER = next(iter(DEV_KEYS))

# What a browser sends beside the request, for a page of another machine; the path's server fills in {host} and {port}.
FOREIGN: dict[str, dict[str, str]] = {
    "a form or fetch without preflight": {"Host": "{host}", "Origin": "https://evil.example"},
    "a page of a file or sandbox": {"Host": "{host}", "Origin": "null"},
    "a subdomain that looks like us": {"Host": "{host}", "Origin": "http://127.0.0.1.evil.example"},
    "a user name that looks like us": {"Host": "{host}", "Origin": "http://127.0.0.1:80@evil.example"},
    "an extension": {"Host": "{host}", "Origin": "chrome-extension://abcdef"},
    "an image or a link": {"Host": "{host}", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "a name rebound to us": {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"},
    "a name rebound to us, same origin": {"Host": "evil.example:{port}", "Sec-Fetch-Site": "same-origin"},
    "a name that begins like ours": {"Host": "127.0.0.1.evil.example:{port}"},
    "an address of the network": {"Host": "192.168.1.5:{port}"},
}
LOCAL: dict[str, dict[str, str]] = {
    "a program": {"Host": "{host}"},
    "a program that says localhost": {"Host": "localhost:{port}"},
    "a program over IPv6": {"Host": "[::1]:{port}"},
    "a page that this machine serves": {"Host": "{host}", "Origin": "http://localhost:3000"},
    "a page at an address of this machine": {"Host": "{host}", "Origin": "http://127.0.0.1:5173"},
    "an address that a person types": {"Host": "{host}", "Sec-Fetch-Site": "none"},
}


def ask(
    base: str, method: str, path: str, said: dict[str, str], body: bytes = b""
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of the answer to exactly these headers."""
    place = urlsplit(base).netloc
    connection = http.client.HTTPConnection(place, timeout=PATIENCE)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in said.items():
        connection.putheader(name, value.format(host=place, port=place.rpartition(":")[2]))
    connection.putheader("Content-Type", "text/plain")  # what a page may send without asking first
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def call(method: str, *params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


@pytest.fixture
def own_net(net: LocalNet) -> Iterator[LocalNet]:
    snapshot = net.snapshot()
    yield net
    net.providers[0].clear_faults()
    net.revert(snapshot)


def balance(net: LocalNet) -> Any:
    answer = ask(net.rpc_url, "POST", "/", LOCAL["a program"], call("eth_getBalance", net.wallet.address, "latest"))
    return json.loads(answer[1])["result"]


def rpc_calls(net: LocalNet) -> list[bytes]:
    revoke = abi.inference().encode("revokeTEESignerAcknowledgement", net.providers[0].address)
    data = revoke if isinstance(revoke, str) else "0x" + revoke.hex()
    return [
        call("evm_increaseTime", 86400 * 400),
        call("anvil_setBalance", net.wallet.address, "0x0"),
        call("eth_sendTransaction", {"from": OWNER, "to": net.wallet.address, "value": "0x1"}),
        call("eth_sendTransaction", {"from": OWNER, "to": net.inference, "data": data}),
        call("eth_accounts"),
        b"[" + call("eth_accounts") + b"]",
    ]


@pytest.mark.parametrize("said", FOREIGN.values(), ids=FOREIGN)
class TestNothingIsDone:
    def test_on_the_chain(self, own_net: LocalNet, said: dict[str, str], tally: Callable[..., None]) -> None:
        before = own_net.clock.now(), balance(own_net)
        answers = [ask(own_net.rpc_url, "POST", "/", said, body) for body in rpc_calls(own_net)]
        answers += [ask(own_net.rpc_url, method, "/", said) for method in ("GET", "OPTIONS", "PUT")]
        assert {status for status, _, _ in answers} == {403}
        assert all(b"result" not in body for _, body, _ in answers)
        assert own_net.clock.now() - before[0] < 3600
        assert balance(own_net) == before[1]
        assert own_net._states[0].side.service()["teeSignerAcknowledged"]
        tally("web page at a local network", tried=len(answers), caught=len(answers))

    def test_at_a_provider(self, own_net: LocalNet, said: dict[str, str], tally: Callable[..., None]) -> None:
        provider = own_net.providers[0]
        seen = len(provider.requests)
        fault = b'{"fault":"body_changed"}'
        routes = [("GET", "/_local/log"), ("GET", "/_local/fault"), ("DELETE", "/_local/fault"), ("GET", "/v1/models")]
        routes += [("OPTIONS", "/v1/proxy/chat/completions"), ("POST", "/v1/proxy/chat/completions"), ("GET", "/none")]
        answers = [ask(provider.url, *route, said) for route in routes]
        answers.append(ask(provider.url, "POST", "/_local/fault", said, fault))
        answers.append(ask(provider.url, "POST", "/_local/settle", said))
        assert {status for status, _, _ in answers} == {403}
        assert not any(name.startswith("access-control") for _, _, headers in answers for name in headers)
        assert json.loads(ask(provider.url, "GET", "/_local/fault", LOCAL["a program"])[1])["active"] == []
        assert len(provider.requests) == seen
        tally("web page at a local network", tried=len(answers), caught=len(answers))

    def test_at_the_status_service(self, own_net: LocalNet, said: dict[str, str], tally: Callable[..., None]) -> None:
        for path in ("/health", "/models", "/attestation/root"):
            assert ask(own_net.status_url, "GET", path, said)[0] == 403
            tally("web page at a local network", tried=1, caught=1)


@pytest.mark.parametrize("said", LOCAL.values(), ids=LOCAL)
def test_whoever_is_on_this_machine_is_answered(own_net: LocalNet, said: dict[str, str]) -> None:
    assert b"result" in ask(own_net.rpc_url, "POST", "/", said, call("eth_chainId"))[1]
    assert ask(own_net.providers[0].url, "GET", "/v1/models", said)[0] == 200
    assert ask(own_net.status_url, "GET", "/health", said)[0] == 200


def test_a_page_of_this_machine_gets_its_preflight_and_no_control(own_net: LocalNet) -> None:
    said = LOCAL["a page that this machine serves"]
    status, _, headers = ask(own_net.providers[0].url, "OPTIONS", "/v1/proxy/chat/completions", said)
    assert (status, headers["access-control-allow-origin"]) == (204, "http://localhost:3000")
    assert ask(own_net.providers[0].url, "POST", "/_local/settle", said)[0] == 403
