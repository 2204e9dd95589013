"""The models that the matrix runs on: ours, and where its package is installed, LlamaIndex's own as a control."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from llama_index_zerog import ZeroG
from zg_core import Wallet
from zg_core.backends.direct.session import make_token
from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec

MODELS = ["ZeroG", *(["OpenAILike"] if importlib.util.find_spec("llama_index.llms.openai_like") else [])]


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=[ProviderSpec(model="local-chat-1")], settings=settings) as running:
        running.open_account(running.wallet, running.providers[0], 100 * 10**18)
        yield running


@pytest.fixture(params=MODELS)
def llm(request: pytest.FixtureRequest, net: LocalNet) -> Iterator[Any]:
    """One of the models, for the same provider."""
    provider = net.providers[0]
    if request.param == "ZeroG":
        with ZeroG(
            provider=provider.address,
            private_key=net.wallet.private_key,
            network="local",
            rpc_url=net.rpc_url,
            model=provider.model,
            verify="require",
        ) as made:
            yield made
        return
    from llama_index.llms.openai_like import OpenAILike

    now = time.time_ns() // 1_000_000
    token = make_token(Wallet.from_key(net.wallet.private_key), provider.address, now_ms=now, generation=0).reveal()
    yield OpenAILike(
        model=provider.model,
        api_base=f"{provider.url}/v1/proxy",
        api_key=token.removeprefix("Bearer "),
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=False,
        max_retries=0,
    )
