"""One local network for all tests of this package, and calls that run the same way with and without an event loop."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, Protocol

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import Runnable

from langchain_zerog import ChatZeroG
from zg_core.localnet import LocalNet, LocalProvider, ProviderSettings, ProviderSpec
from zg_core.localnet.model.upstream import UpstreamReply
from zg_core.money import Amount, Fee
from zg_core.receipts.model import Receipt
from zg_core.types import Kind

SETTINGS = ("OPENAI_", "LANGSMITH_", "LANGCHAIN_", "PRIVATE_KEY", "ZG_", "LC_")
OURS = ("NETWORK", "RPC_URL", "LEDGER", "INFERENCE", "PRIVATE_KEY", "API_KEY", "PROVIDER", "MODEL", "VERIFY", "STORE")


_MOMENTS = itertools.count(1_700_000_000)


class Script:
    """A model that says what a test wants, in the words of any server: set `body` or `events`."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.listed: list[dict[str, Any]] = []  # what /v1/models says of it
        self.thinks = 0.0  # seconds before its first word
        self.bodies: list[bytes] = []  # what reached it

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        self.bodies.append(body)
        await asyncio.sleep(self.thinks)
        # As of every model server, no reply is like an earlier one: else it would be a replay.
        reply = {**self.body, "created": next(_MOMENTS)} if self.body else self.body
        return UpstreamReply(200, {"content-type": "application/json"}, json.dumps(reply).encode())

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        self.bodies.append(body)
        await asyncio.sleep(self.thinks)
        moment = next(_MOMENTS)
        for event in self.events:
            yield b"data: " + json.dumps({**event, "created": moment}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    async def models(self) -> list[dict[str, Any]]:
        return self.listed


@pytest.fixture(scope="session")
def script() -> Script:
    """What the provider of the model "scripted" says."""
    return Script()


@pytest.fixture(scope="session")
def net(script: Script) -> Iterator[LocalNet]:
    """A network: the wallet has sub-accounts with the first and the last provider, not with the one between."""
    specs = [
        ProviderSpec(model="local-chat-1"),
        ProviderSpec(model="local-chat-2"),
        ProviderSpec(model="scripted", upstream=script),
    ]
    # Nothing is settled behind the tests' backs.
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=specs, settings=settings) as running:
        running.open_account(running.wallet, running.providers[0], 100 * 10**18)
        running.open_account(running.wallet, running.providers[2], 10 * 10**18)
        yield running


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith(SETTINGS) or name.removeprefix("ZEROG_") in OURS:
            monkeypatch.delenv(name)


@pytest.fixture
def provider(net: LocalNet) -> Iterator[LocalProvider]:
    """The first provider, behaving again when the test ends."""
    yield net.providers[0]
    net.providers[0].clear_faults()


@pytest.fixture
def local(net: LocalNet, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> LocalNet:
    """The network, with the environment pointing at it."""
    for name, value in net.env().items():
        if name.startswith("ZEROG_"):
            monkeypatch.setenv(name, value)
    return net


@pytest.fixture(scope="session")
def made_before() -> Iterator[dict[str, ChatZeroG]]:
    """Models by arguments and environment: a new one reads the chain first, which takes longer than most tests."""
    models: dict[str, ChatZeroG] = {}
    yield models
    for model in models.values():
        model.close()


@pytest.fixture
def make_model(local: LocalNet, made_before: dict[str, ChatZeroG]) -> Iterator[Callable[..., ChatZeroG]]:
    """Makes models for the local network and closes them; those with plain arguments are shared unless told not to."""
    made: list[ChatZeroG] = []

    def make(*, shared: bool = True, **arguments: Any) -> ChatZeroG:
        plain = shared and all(
            isinstance(value, str | int | float | bool | list | None) for value in arguments.values()
        )
        key = repr((sorted(arguments.items()), sorted(e for e in os.environ.items() if e[0].startswith("ZEROG_"))))
        if plain and key in made_before:
            return made_before[key]
        model = ChatZeroG(**arguments)
        if plain:
            made_before[key] = model
        else:
            made.append(model)
        return model

    yield make
    for model in made:
        model.close()


@pytest.fixture
def model(make_model: Callable[..., ChatZeroG]) -> ChatZeroG:
    """A model that accepts proven replies only."""
    return make_model(verify="require", temperature=0)


class Talk(Protocol):
    """Calls a model."""

    def invoke(self, runnable: Runnable[Any, Any], value: Any, **kwargs: Any) -> Any: ...

    def batch(self, runnable: Runnable[Any, Any], values: list[Any], **kwargs: Any) -> list[Any]: ...

    def stream(self, runnable: Runnable[Any, Any], value: Any, sink: list[Any] | None = None, **kwargs: Any) -> Any:
        """All chunks; `sink` keeps those that came before an error."""
        ...


class Blocking:
    def invoke(self, runnable: Runnable[Any, Any], value: Any, **kwargs: Any) -> Any:
        return runnable.invoke(value, **kwargs)

    def batch(self, runnable: Runnable[Any, Any], values: list[Any], **kwargs: Any) -> list[Any]:
        return runnable.batch(values, **kwargs)

    def stream(
        self, runnable: Runnable[Any, Any], value: Any, sink: list[Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        chunks = [] if sink is None else sink
        chunks.extend(runnable.stream(value, **kwargs))
        return chunks


class Asynchronous:
    def invoke(self, runnable: Runnable[Any, Any], value: Any, **kwargs: Any) -> Any:
        return run(runnable, runnable.ainvoke(value, **kwargs))

    def batch(self, runnable: Runnable[Any, Any], values: list[Any], **kwargs: Any) -> list[Any]:
        return run(runnable, runnable.abatch(values, **kwargs))

    def stream(
        self, runnable: Runnable[Any, Any], value: Any, sink: list[Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        chunks = [] if sink is None else sink

        async def read() -> None:
            async for chunk in runnable.astream(value, **kwargs):
                chunks.append(chunk)

        run(runnable, read())
        return chunks


def run(runnable: Any, work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end in a loop of its own, then close what the model opened in it."""

    async def whole() -> Any:
        try:
            return await work
        finally:
            owner = getattr(runnable, "bound", runnable)
            if isinstance(owner, ChatZeroG):
                await owner.aclose()

    return asyncio.run(whole())


@pytest.fixture(params=[Blocking, Asynchronous], ids=["sync", "async"])
def talk(request: pytest.FixtureRequest) -> Talk:
    """Blocking and async calls, one after the other."""
    made: Talk = request.param()
    return made


@pytest.fixture(scope="session")
def total() -> Callable[[list[AIMessageChunk]], AIMessageChunk]:
    """The message that the chunks of a stream add up to."""

    def add(chunks: list[AIMessageChunk]) -> AIMessageChunk:
        whole: Any = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        assert isinstance(whole, AIMessageChunk)
        return whole

    return add


@pytest.fixture(scope="session")
def make_receipt() -> Callable[..., Receipt]:
    """Makes receipts of calls that never were."""

    def make(**changes: Any) -> Receipt:
        values: dict[str, Any] = {
            "backend": "direct",
            "network": "local",
            "chain_id": 31337,
            "provider": "0x" + "11" * 20,
            "model": "some-model",
            "kind": Kind.TEE_ML,
            "request_sha256": "00" * 32,
            "input_price": 1,
            "output_price": 2,
            "fee": Fee(Amount(5), exact=True),
        }
        return Receipt(**{**values, **changes})

    return make
