"""One local network for the tests of the core, and callers that run one case with and without an event loop."""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.postgres import running
from tests.zg_core import scripted_node
from tests.zg_core.driving import with_loop, without_loop
from tests.zg_core.hand_clock import Clock
from tests.zg_core.raw_server import Server
from zg_core import AsyncChatClient, ChatClient
from zg_core.http import library as http
from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zg_core import Receipt
    from zg_core.localnet import LocalProvider, LocalWallet

KINDS = {"TeeML": 0, "TeeTLS": 1, "TeeML-separated": 2, "standard": 3}
CALM = replace(ProviderSettings.fast(), settle_interval=None)
"""Nothing is settled but where a test says so: how much of it a slow machine had settled by then would be chance."""
SPECS = [
    ProviderSpec(model="chat-ml"),
    ProviderSpec(model="chat-tls", kind="TeeTLS"),
    ProviderSpec(model="chat-separated", kind="TeeML-separated"),
    ProviderSpec(model="chat-standard", kind="standard"),
    ProviderSpec(model="embed", service_type="embedding", output_price=0, lora=False),
]


@pytest.fixture(scope="session")
def postgres(postgres_bin: str | None) -> Iterator[str]:
    """The URL of an empty PostgreSQL server of our own."""
    assert postgres_bin is not None
    with running(postgres_bin) as url:
        yield url


@pytest.fixture
def node() -> Iterator[Any]:
    """A node that answers JSON-RPC as scripted."""
    with scripted_node.running() as made:
        yield made


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=SPECS, settings=CALM) as network:
        yield network


@pytest.fixture(scope="session")
def wallet(net: LocalNet) -> LocalWallet:
    """A wallet with a funded sub-account at every provider."""
    rich = net.new_wallet()
    for provider in net.providers:
        net.open_account(rich, provider, 20 * 10**18)
    return rich


@pytest.fixture
def provider(net: LocalNet) -> Iterator[LocalProvider]:
    """The TeeML provider, honest again afterwards."""
    yield net.providers[0]
    for one in net.providers:
        one.clear_faults()


@pytest.fixture
def options(net: LocalNet, wallet: LocalWallet) -> dict[str, Any]:
    """Client settings for the network, without a provider."""
    return {
        "private_key": wallet.private_key,
        "network": "local",
        "rpc_url": net.rpc_url,
        "ledger": net.ledger,
        "inference": net.inference,
        "environ": {},
    }


def ask(text: str, **more: Any) -> dict[str, Any]:
    """A payload with one question."""
    return {"messages": [{"role": "user", "content": text}], **more}


@dataclass
class Answered:
    """What one call gave, whichever way it was made."""

    text: str
    receipt: Receipt
    events: list[dict[str, Any]] = field(default_factory=list)
    body: dict[str, Any] | None = None


class Caller:
    """Makes the same call in four ways: with or without an event loop, whole or as a stream."""

    def __init__(self, *, loop: bool, stream: bool) -> None:
        self.loop = loop
        self.stream = stream

    def __repr__(self) -> str:
        return f"{'async' if self.loop else 'sync'}-{'stream' if self.stream else 'create'}"

    def call(self, options: dict[str, Any], payload: dict[str, Any], client: Any = None) -> Answered:
        """One call with a client of its own, or with `client`."""
        if self.loop:
            return asyncio.run(self._async(options, payload))
        made = client or ChatClient(**options)
        try:
            if not self.stream:
                reply = made.create(payload)
                return Answered(reply.text, reply.receipt, body=reply.body)
            stream = made.stream(payload)
            events = list(stream)
            return Answered(text_of(events), stream.receipt, events)
        finally:
            if client is None:
                made.close()

    async def _async(self, options: dict[str, Any], payload: dict[str, Any]) -> Answered:
        async with AsyncChatClient(**options) as client:
            if not self.stream:
                reply = await client.create(payload)
                return Answered(reply.text, reply.receipt, body=reply.body)
            stream = client.stream(payload)
            events = [event async for event in stream]
            return Answered(text_of(events), stream.receipt, events)


def text_of(events: list[dict[str, Any]]) -> str:
    choices = (c for e in events for c in e.get("choices") or [] if isinstance(c, dict))
    texts = ((choice.get("delta") or {}).get("content") for choice in choices)
    return "".join(text for text in texts if isinstance(text, str))


CALLERS = [Caller(loop=loop, stream=stream) for loop in (False, True) for stream in (False, True)]


@pytest.fixture(params=CALLERS, ids=repr)
def caller(request: pytest.FixtureRequest) -> Caller:
    return request.param


@pytest.fixture
def callers() -> type[Caller]:
    """The class, for cases that choose the way themselves."""
    return Caller


@pytest.fixture
def server() -> Iterator[Any]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["httpx2", "httpx"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both HTTP libraries, as far as they are installed."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setenv("ZEROG_HTTP_LIBRARY", request.param)
    http.library.cache_clear()
    assert http.library().__name__ == request.param
    yield request.param
    http.library.cache_clear()


@pytest.fixture(params=[without_loop, with_loop], ids=["sync", "async"])
def drive(request: pytest.FixtureRequest, library: str) -> Callable[..., Any]:
    """Runs the same coroutine over either transport."""
    return request.param
