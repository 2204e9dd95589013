"""A local OpenGradient, shared by the session, and clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zg_core import AsyncChatClient, ChatClient
from zg_core.backends.opengradient import sessions
from zg_core.backends.opengradient.options import OpenGradient
from zg_core.localnet.opengradient.network import OpenGradientNet

Make = Callable[..., ChatClient]
QUESTION = {"messages": [{"role": "user", "content": "What is 2+3?"}], "max_tokens": 50}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_token_price",
            "description": "Get the current USD price of a token",
            "parameters": {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]},
        },
    }
]
ASKS_TOOL = {"role": "user", "content": "What is the price of ETH? Use get_token_price with symbol ETH."}


def options(net: OpenGradientNet, **more: Any) -> OpenGradient:
    """What reaches the local network."""
    urls = {"registry_rpc_url": net.registry_rpc_url, "rpc_url": net.rpc_url, "blobs_url": net.blobs_url}
    return OpenGradient(**{**urls, "nitro_root": net.hypervisor.root_sha256, **more})


def arguments(net: OpenGradientNet, **more: Any) -> dict[str, Any]:
    """What a client for the local network takes."""
    own = {name: more.pop(name) for name in list(more) if name in OpenGradient.__dataclass_fields__}
    base = {"backend": options(net, **own), "model": "openai/gpt-5", "environ": {}}
    if "wallet" not in more:
        base["private_key"] = net.wallet.private_key
    return {**base, **more}


@pytest.fixture
def og(zerog_opengradient: OpenGradientNet) -> OpenGradientNet:
    """The network, as it was when the session began; no session of an earlier test is known."""
    sessions._seats.clear()
    return zerog_opengradient


@pytest.fixture
def make(og: OpenGradientNet) -> Iterator[Make]:
    """Makes blocking clients, closed afterwards."""
    made: list[ChatClient] = []

    def client(**more: Any) -> ChatClient:
        made.append(ChatClient(**arguments(og, **more)))
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
def amake(og: OpenGradientNet) -> Callable[..., AsyncChatClient]:
    """Makes clients for an event loop."""
    return lambda **more: AsyncChatClient(**arguments(og, **more))
