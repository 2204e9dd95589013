"""What an ordinary read of the chain does where the environment names proxies, in all the forms that people write.

Aider#3048, OpenHands-CLI#632, omnigent#4245 (SOCKS); basic-memory#1541, safedep/pmg#340, httpx#3221, httpx2#899
(NO_PROXY).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cases.chain.field import Connection, Expectations, FieldServer, Relay, answer, attempt, ours
from tests.patience import PATIENCE
from zg_core import AsyncBroker, Broker
from zg_core.http import library as http

ELSEWHERE = "http://rpc.test:8545"
SOCKS = "socks5://127.0.0.1:1089"
NO_SERVICES = "0x" + "0" * 62 + "40" + "0" * 64 + "0" * 64
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def node() -> Iterator[Relay]:
    with Relay(lambda method, _params, _relay: {"eth_chainId": "0x40da"}.get(method) or NO_SERVICES) as relay:
        yield relay


@pytest.fixture
def proxy(node: Relay) -> Iterator[str]:
    """A proxy that knows one node, and wants a password for https."""

    def serve(connection: Connection) -> None:
        if (got := connection.request()) is None:
            return
        if got[0].startswith(b"CONNECT"):
            refusal = (
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
            )
            connection.send(refusal)
            return
        request = urllib.request.Request(node.url, got[1], {"Content-Type": "application/json"})
        with DIRECT.open(request, timeout=PATIENCE) as response:
            connection.send(answer(response.read()))

    with FieldServer(serve) as server:
        yield f"127.0.0.1:{server.port}"


def blocking(url: str) -> Any:
    with Broker.read_only(network="testnet", rpc_url=url, environ={}) as broker:
        return broker.services()


def looping(url: str) -> Any:
    async def main() -> Any:
        async with AsyncBroker.read_only(network="testnet", rpc_url=url, environ={}) as broker:
            return await broker.services()

    return asyncio.run(main())


READS = [blocking, looping]
MADE = {
    "HTTP proxy, plain": {"HTTP_PROXY": "http://{proxy}", "http_proxy": "http://{proxy}"},
    "proxy without a scheme": {"http_proxy": "{proxy}"},
    "NO_PROXY with [::1]": {"http_proxy": "http://{proxy}", "no_proxy": "localhost,127.0.0.1,::1,[::1]"},
    "NO_PROXY with an IPv6 net": {"http_proxy": "http://{proxy}", "no_proxy": "fe11::/16,localhost"},
    "NO_PROXY with an IPv4 net": {"http_proxy": "http://{proxy}", "no_proxy": "10.0.0.0/8,localhost"},
}
REFUSED = {
    "SOCKS in ALL_PROXY": ({"ALL_PROXY": SOCKS}, "ALL_PROXY"),
    "socks in all_proxy": ({"all_proxy": SOCKS}, "all_proxy"),
    "proxy URL that is none": ({"http_proxy": "http://proxy corp:3128"}, "http_proxy"),
    "proxy with a bad port": ({"http_proxy": "http://proxy:31x8"}, "http_proxy"),
}


def setting(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(proxy=proxy))


@pytest.fixture(params=["httpx2", "httpx"])
def each_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setenv("ZEROG_HTTP_LIBRARY", request.param)
    http.library.cache_clear()
    yield
    http.library.cache_clear()


@pytest.mark.usefixtures("each_library")
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("name", MADE)
def test_the_call_is_made(read: Any, name: str, proxy: str, expect: Expectations, monkeypatch: Any) -> None:
    setting(monkeypatch, MADE[name], proxy)
    services, error = attempt(lambda: read(ELSEWHERE))
    expect(f"{name}: the call is made", error is None and list(services) == [], error)


@pytest.mark.usefixtures("each_library")
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_proxy_that_cannot_be_used_names_its_variable(
    read: Any, name: str, proxy: str, expect: Expectations, monkeypatch: Any
) -> None:
    if "socks" in name.lower() and importlib.util.find_spec("socksio") is not None:
        pytest.skip("socksio is installed")
    variables, culprit = REFUSED[name]
    setting(monkeypatch, variables, proxy)
    _, error = attempt(lambda: read(ELSEWHERE))
    expect(f"{name}: an error of ours that says what to do", ours(error), error)
    expect(f"{name}: it names the variable", culprit in str(error), error)


@pytest.mark.parametrize("read", READS)
def test_a_better_proxy_for_the_scheme_goes_before_a_socks_one(
    read: Any, proxy: str, expect: Expectations, monkeypatch: Any
) -> None:
    setting(monkeypatch, {"all_proxy": SOCKS, "http_proxy": "http://{proxy}", "https_proxy": "http://{proxy}"}, proxy)
    _, error = attempt(lambda: read(ELSEWHERE))
    expect("the call is made, or an error of ours", error is None or ours(error), error)


@pytest.mark.parametrize("read", READS)
def test_a_proxy_that_wants_a_password_is_told(read: Any, proxy: str, expect: Expectations, monkeypatch: Any) -> None:
    setting(monkeypatch, {"https_proxy": "http://{proxy}"}, proxy)
    _, error = attempt(lambda: read(ELSEWHERE.replace("http:", "https:")))
    expect("an error of ours that says what to do", ours(error), error)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    "variables",
    [{"all_proxy": SOCKS}, {"http_proxy": "http://127.0.0.1:9", "no_proxy": "[::1],localhost,127.0.0.1"}],
    ids=["SOCKS", "NO_PROXY [::1]"],
)
def test_a_broken_proxy_does_not_stop_what_goes_to_this_machine(
    read: Any, variables: dict[str, str], node: Relay, expect: Expectations, monkeypatch: Any
) -> None:
    setting(monkeypatch, variables, "")
    _, error = attempt(lambda: read(node.url))
    expect("works, no proxy is needed for this machine", error is None, error)


def test_the_command_line_shows_no_traceback(node: Relay, expect: Expectations, repository: Path) -> None:
    command = [sys.executable, "-m", "zg_core.cli", "providers", "--network", "testnet", "--rpc-url", node.url]
    done = subprocess.run(
        command, env={**os.environ, "all_proxy": SOCKS}, cwd=repository, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    expect("command line with a SOCKS variable: no traceback", "Traceback" not in done.stderr, done.stderr[-200:])
