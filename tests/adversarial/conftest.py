"""One local network for this suite, and the same call made through the core client and through ChatZeroG."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.zg_core.conftest import CALLERS, Answered, Caller
from zg_core.localnet import LocalNet, LocalProvider, LocalWallet, ProviderSettings, ProviderSpec

SPECS = [
    ProviderSpec(model="chat-ml"),
    ProviderSpec(model="chat-tls", kind="TeeTLS", aliases=("chat-latest",)),
    ProviderSpec(model="chat-separated", kind="TeeML-separated"),
]


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=SPECS, settings=settings) as network:
        for provider in network.providers:
            network.open_account(network.wallet, provider, 20 * 10**18)
        yield network


@pytest.fixture
def provider(net: LocalNet) -> Iterator[LocalProvider]:
    """The TeeML provider; chain and provider are as before afterwards."""
    snapshot = net.snapshot()
    yield net.providers[0]
    for one in net.providers:
        one.clear_faults()
    net.revert(snapshot)


@pytest.fixture
def options(net: LocalNet, provider: LocalProvider) -> dict[str, Any]:
    """Settings that both clients take, for the TeeML provider."""
    return settings_for(net, net.wallet, provider.address)


def settings_for(net: LocalNet, wallet: LocalWallet, provider: str) -> dict[str, Any]:
    return {
        "provider": provider,
        "private_key": wallet.private_key,
        "network": "local",
        "rpc_url": net.rpc_url,
        "max_retries": 0,
    }


class CoreCaller(Caller):
    """Calls through the core client."""

    def call(self, options: dict[str, Any], payload: dict[str, Any], client: Any = None) -> Answered:
        return super().call({"environ": {}, **options}, payload, client)

    def __repr__(self) -> str:
        return f"core-{super().__repr__()}"


@dataclass
class ChatCaller:
    """The same call through ChatZeroG."""

    loop: bool
    stream: bool

    def __repr__(self) -> str:
        return f"chat-{'async' if self.loop else 'sync'}-{'stream' if self.stream else 'create'}"

    def call(self, options: dict[str, Any], payload: dict[str, Any]) -> Answered:
        """One call with a model of its own."""
        from langchain_zerog import ChatZeroG, receipt_of

        told: list[Any] = []
        messages = [(message["role"], message["content"]) for message in payload["messages"]]
        with_receipt = {**options, "on_receipt": told.append}

        async def run() -> Any:
            model = ChatZeroG(**with_receipt)
            try:
                if not self.stream:
                    return await model.ainvoke(messages)
                return _joined([chunk async for chunk in model.astream(messages)])
            finally:
                await model.aclose()

        if self.loop:
            message = asyncio.run(run())
        else:
            model = ChatZeroG(**with_receipt)
            try:
                message = _joined(list(model.stream(messages))) if self.stream else model.invoke(messages)
            finally:
                model.close()
        assert receipt_of(message).id == told[-1].id
        return Answered(message.text, told[-1])


def _joined(chunks: list[Any]) -> Any:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


EVERYONE = [
    *(CoreCaller(loop=caller.loop, stream=caller.stream) for caller in CALLERS),
    *(ChatCaller(loop=caller.loop, stream=caller.stream) for caller in CALLERS),
]


@pytest.fixture(params=EVERYONE, ids=repr)
def everyone(request: pytest.FixtureRequest) -> Any:
    """Core client and ChatZeroG, with and without an event loop, whole and as a stream."""
    return request.param


@pytest.fixture(params=[CoreCaller(loop=False, stream=False), ChatCaller(loop=True, stream=True)], ids=repr)
def each_client(request: pytest.FixtureRequest) -> Any:
    """Core client and ChatZeroG in one way each, where the way makes no difference."""
    return request.param
