"""One local network for the tests of this package, and calls that run the same way with and without an event loop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, ChatResponse

from llama_index_zerog import ZeroG, ZeroGEmbedding
from zg_core.exchange import encode_body
from zg_core.localnet import LocalNet, LocalProvider, ProviderSettings, ProviderSpec

OURS = ("NETWORK", "RPC_URL", "LEDGER", "INFERENCE", "PRIVATE_KEY", "API_KEY", "PROVIDER", "MODEL", "VERIFY", "STORE")
CHAT, OTHER, EMBED = 0, 1, 2


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    specs = [
        ProviderSpec(model="local-chat-1"),
        ProviderSpec(model="local-chat-2", kind="TeeTLS"),
        ProviderSpec(model="local-embed-1", service_type="embedding", output_price=0, lora=False),
    ]
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=specs, settings=settings) as running:
        for provider in running.providers:
            running.open_account(running.wallet, provider, 100 * 10**18)
        yield running


@pytest.fixture(autouse=True)
def local(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the network's wallet and nothing of the machine's."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "PRIVATE_KEY", "ZG_")) or name.removeprefix("ZEROG_") in OURS:
            monkeypatch.delenv(name)
    for name in ("NETWORK", "RPC_URL", "PRIVATE_KEY"):
        monkeypatch.setenv(f"ZEROG_{name}", net.env()[f"ZEROG_{name}"])


@pytest.fixture
def provider(net: LocalNet) -> Iterator[LocalProvider]:
    yield net.providers[CHAT]
    for one in net.providers:
        one.clear_faults()


@pytest.fixture
def sent(provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the last request to the provider said, as it arrived there."""
    bodies: list[bytes] = []

    def recorded(payload: Any) -> bytes:
        bodies.append(encode_body(payload))
        return bodies[-1]

    monkeypatch.setattr("zg_core.calls.encode_body", recorded)

    def last() -> dict[str, Any]:
        arrived = [request for request in provider.requests if request.path.endswith("/chat/completions")][-1]
        assert arrived.body_sha256 == hashlib.sha256(bodies[-1]).hexdigest()
        return json.loads(bodies[-1])

    return last


@pytest.fixture
def make_llm(provider: LocalProvider) -> Iterator[Any]:
    made: list[ZeroG] = []

    def make(**arguments: Any) -> ZeroG:
        llm = ZeroG(**{"provider": provider.address, "verify": "require", **arguments})
        made.append(llm)
        return llm

    yield make
    for llm in made:
        llm.close()


@pytest.fixture
def llm(make_llm: Any) -> ZeroG:
    return make_llm()


@pytest.fixture
def embedding(net: LocalNet) -> Iterator[ZeroGEmbedding]:
    with ZeroGEmbedding(provider=net.providers[EMBED].address, verify="require") as made:
        yield made


@dataclass(frozen=True)
class Way:
    """The same call in four ways: with or without an event loop, whole or as a stream."""

    loop: bool
    stream: bool

    def __repr__(self) -> str:
        return f"{'async' if self.loop else 'sync'}-{'stream' if self.stream else 'whole'}"

    def chat(self, llm: ZeroG, text: str, *, seen: list[ChatResponse] | None = None, **kwargs: Any) -> ChatResponse:
        """The answer to one user message; of a stream, the last response."""
        messages = [ChatMessage(text)]
        responses = [] if seen is None else seen
        if not self.loop:
            if not self.stream:
                return llm.chat(messages, **kwargs)
            for response in llm.stream_chat(messages, **kwargs):
                responses.append(response)
            return responses[-1]

        async def work() -> ChatResponse:
            try:
                if not self.stream:
                    return await llm.achat(messages, **kwargs)
                async for response in await llm.astream_chat(messages, **kwargs):
                    responses.append(response)
                return responses[-1]
            finally:
                await llm.aclose()

        return asyncio.run(work())


WAYS = [Way(loop, stream) for loop in (False, True) for stream in (False, True)]


@pytest.fixture(params=WAYS, ids=repr)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param
