"""`routing=`: LlamaIndex's models go on to the next provider where one did not serve, and explain their choice."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

from llama_index_zerog import ZeroG, ZeroGEmbedding, receipt_of
from zg_core import ConfigError, Routing, og
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.routing.health import BOOK

GIGA = 10**9
MESSAGES = [ChatMessage("What is the capital of France?")]
CHEAP, DEAR, EMBED, OTHER_EMBED = range(4)


@pytest.fixture(scope="module")
def pairs() -> Iterator[LocalNet]:
    """Two providers of one chat model, and two of one embedding model."""
    chat = [ProviderSpec(model="m", input_price=n * GIGA, output_price=n * GIGA) for n in (1, 2)]
    embed = [
        ProviderSpec(model="e", service_type="embedding", input_price=n * GIGA, output_price=0, lora=False)
        for n in (1, 2)
    ]
    with LocalNet(providers=[*chat, *embed]) as network:
        for one in network.providers:
            network.open_account(network.wallet, one, 20 * 10**18)
        yield network


@pytest.fixture
def routed(pairs: LocalNet, monkeypatch: pytest.MonkeyPatch, local: None) -> Iterator[LocalNet]:
    """The network, with the environment pointing at it, a provider included."""
    for name, value in pairs.env().items():
        if name.startswith("ZEROG_"):
            monkeypatch.setenv(name, value)
    BOOK.clear()
    yield pairs
    BOOK.clear()
    for one in pairs.providers:
        one.clear_faults()


@pytest.fixture
def llm(routed: LocalNet) -> Iterator[ZeroG]:
    with ZeroG(model="m", verify="require", routing=Routing(max_price=og("0.01"))) as made:
        yield made


def ask(llm: ZeroG, way: str) -> Any:
    async def streamed() -> list[Any]:
        return [each async for each in await llm.astream_chat(MESSAGES)]

    if way == "chat":
        return llm.chat(MESSAGES)
    if way == "achat":
        return asyncio.run(llm.achat(MESSAGES))
    return (list(llm.stream_chat(MESSAGES)) if way == "stream_chat" else asyncio.run(streamed()))[-1]


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
def test_a_provider_that_does_not_serve_is_passed_over(routed: LocalNet, llm: ZeroG, way: str) -> None:
    routed.providers[CHEAP].fault("unavailable", times=None)
    reply = ask(llm, way)
    assert "Paris" in reply.message.content
    assert receipt_of(reply).provider == routed.providers[DEAR].address


def test_it_explains_its_choice(routed: LocalNet, llm: ZeroG) -> None:
    assert [one.code for one in llm.explain()] == ["chosen", "next"]
    assert str(llm.explain()) == str(asyncio.run(llm.aexplain()))


def test_it_survives_serialisation_and_pickles(llm: ZeroG) -> None:
    again = ZeroG.from_dict(llm.to_dict())
    assert again.routing == pickle.loads(pickle.dumps(llm)).routing == llm.routing
    assert again.provider is None


def test_it_excludes_a_provider(routed: LocalNet) -> None:
    with (
        ZeroG(model="m", provider=routed.providers[CHEAP].address, routing=Routing()) as llm,
        pytest.raises(ConfigError) as caught,
    ):
        llm.chat(MESSAGES)
    assert caught.value.code == "bad_routing"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_embeddings_of_one_model_may_come_from_several_providers(
    routed: LocalNet, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    monkeypatch.setattr("zg_core.routing.health.COOLDOWN", 300.0)  # longer than what is between failure and question

    def vector(embedding: ZeroGEmbedding, text: str) -> list[float]:
        if asynchronous:
            return asyncio.run(embedding.aget_text_embedding(text))
        return embedding.get_text_embedding(text)

    receipts: list[Any] = []
    with ZeroGEmbedding(model="e", routing=Routing(), on_receipt=receipts.append) as embedding:
        first = vector(embedding, "a text")
        routed.providers[EMBED].fault("unavailable", times=None)
        assert vector(embedding, "a text") == first
        assert [one.code for one in embedding.explain()] == ["chosen", "cooling"]
    assert [(one.provider, one.outcome) for one in receipts] == [
        (routed.providers[EMBED].address, "answered"),
        (routed.providers[EMBED].address, "refused"),
        (routed.providers[OTHER_EMBED].address, "answered"),
    ]
