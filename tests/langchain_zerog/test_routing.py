"""`routing=`: LangChain's models go on to the next provider where one did not serve, and explain their choice."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.load import dumps, loads

from langchain_zerog import ChatZeroG, ZeroGEmbeddings, get_zerog_receipts, receipt_of
from zg_core import ConfigError, ProviderUnavailable, Routing, og
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.routing.health import BOOK

GIGA = 10**9
QUESTION = "What is the capital of France?"
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
def routed(pairs: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNet]:
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
def make(routed: LocalNet) -> Iterator[Callable[..., ChatZeroG]]:
    made: list[ChatZeroG] = []

    def model(**arguments: Any) -> ChatZeroG:
        made.append(ChatZeroG(**{"model": "m", "verify": "require", "routing": Routing(), **arguments}))
        return made[-1]

    yield model
    for one in made:
        one.close()


def ask(model: ChatZeroG, way: str) -> Any:
    async def chunks() -> list[Any]:
        return [chunk async for chunk in model.astream(QUESTION)]

    if way == "invoke":
        return model.invoke(QUESTION)
    if way == "ainvoke":
        return asyncio.run(model.ainvoke(QUESTION))
    first, *others = list(model.stream(QUESTION)) if way == "stream" else asyncio.run(chunks())
    for other in others:
        first += other
    return first


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_provider_that_does_not_serve_is_passed_over(
    routed: LocalNet, make: Callable[..., ChatZeroG], way: str
) -> None:
    routed.providers[CHEAP].fault("unavailable", times=None)
    reply = ask(make(), way)
    assert "Paris" in reply.text
    assert receipt_of(reply).provider == routed.providers[DEAR].address
    assert receipt_of(reply).verdict.satisfies("verified")


def test_when_all_fail_the_causes_are_kept(routed: LocalNet, make: Callable[..., ChatZeroG]) -> None:
    from langchain_core.exceptions import ModelAPIError

    for one in routed.providers[:2]:
        one.fault("unavailable", times=None)
    with pytest.raises(ProviderUnavailable) as caught:
        make(max_retries=0).invoke(QUESTION)
    assert isinstance(caught.value, ModelAPIError)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


def test_it_explains_its_choice(routed: LocalNet, make: Callable[..., ChatZeroG]) -> None:
    model = make(routing=Routing(max_price=og("0.0015")))
    table = str(model.explain())
    assert table == str(asyncio.run(model.aexplain()))
    assert [one.code for one in model.explain()] == ["chosen", "too_dear"]
    assert routed.providers[DEAR].address in table


def test_it_wins_over_a_provider_of_the_environment_but_not_over_an_argument(
    routed: LocalNet, make: Callable[..., ChatZeroG]
) -> None:
    assert make().provider is None
    with pytest.raises(ConfigError) as caught:
        make(provider=routed.providers[CHEAP].address).invoke(QUESTION)
    assert caught.value.code == "bad_routing"


def test_it_survives_serialisation_and_pickles(make: Callable[..., ChatZeroG]) -> None:
    routing = Routing("latency", og("0.5"), ["TeeML"], {"tools"}, sticky=True)
    model = make(routing=routing)
    again = loads(dumps(model), allowed_objects=[ChatZeroG], valid_namespaces=["langchain_zerog"])
    assert again.routing == pickle.loads(pickle.dumps(model)).routing == model.model_copy().routing == routing


def test_something_else_is_refused(make: Callable[..., ChatZeroG]) -> None:
    with pytest.raises(ValueError, match="Routing"):
        make(routing="price")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_embeddings_are_routed_too(routed: LocalNet, asynchronous: bool) -> None:
    routed.providers[EMBED].fault("rate_limited", times=None, reset=300)
    embeddings = ZeroGEmbeddings(model="e", routing=Routing())
    with embeddings, get_zerog_receipts() as receipts:
        vector = asyncio.run(embeddings.aembed_query("text")) if asynchronous else embeddings.embed_query("text")
        assert [one.code for one in embeddings.explain()] == ["chosen", "cooling"]
    assert vector
    assert [(receipt.provider, receipt.outcome) for receipt in receipts] == [
        (routed.providers[EMBED].address, "refused"),
        (routed.providers[OTHER_EMBED].address, "answered"),
    ]
