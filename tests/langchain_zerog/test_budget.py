"""`budget=`: a call that could cost more than is left is refused before it is sent."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.load import dumps

from langchain_zerog import ChatZeroG, ZeroGEmbeddings, get_zerog_receipts, receipt_of
from zg_core import Budget, BudgetExceeded
from zg_core.localnet import LocalNet, LocalProvider, ProviderSettings, ProviderSpec
from zg_core.money import neuron, og

QUESTION = "What is the capital of France?"
Make = Callable[..., ChatZeroG]


def sent(provider: LocalProvider) -> int:
    """How many requests for answers or vectors reached the provider."""
    return len([r for r in provider.requests if r.path.endswith(("/chat/completions", "/embeddings"))])


def ask(model: ChatZeroG, way: str, **kwargs: Any) -> Any:
    """The answer, or the sum of its chunks."""

    async def chunks() -> Any:
        return [each async for each in model.astream(QUESTION, **kwargs)]

    if way == "invoke":
        return model.invoke(QUESTION, **kwargs)
    if way == "ainvoke":
        return asyncio.run(model.ainvoke(QUESTION, **kwargs))
    first, *others = list(model.stream(QUESTION, **kwargs)) if way == "stream" else asyncio.run(chunks())
    for other in others:
        first += other
    return first


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_call_beyond_it_is_not_sent(make_model: Make, provider: LocalProvider, way: str) -> None:
    before = sent(provider)
    with get_zerog_receipts() as receipts, pytest.raises(BudgetExceeded) as caught:
        ask(make_model(budget=Budget(per_call=neuron(1))), way)
    assert caught.value.details["limit"] == "per_call"
    assert caught.value.details["left"] == neuron(1)
    assert caught.value.details["asked"] > neuron(1)
    assert sent(provider) == before
    assert len(receipts) == 0


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_what_was_paid_is_no_longer_left(make_model: Make, provider: LocalProvider, way: str) -> None:
    model = make_model(budget=Budget(per_run=og("0.001")), max_tokens=100)
    fee = receipt_of(ask(model, way)).fee.amount
    before = sent(provider)
    with pytest.raises(BudgetExceeded) as caught:
        ask(model, way, max_tokens=1_000_000)
    assert caught.value.details["left"] == og("0.001") - fee
    assert sent(provider) == before


@pytest.fixture(scope="module")
def embedding_net() -> Iterator[LocalNet]:
    specs = [ProviderSpec(model="local-embed-1", service_type="embedding", output_price=0, lora=False)]
    with LocalNet(providers=specs, settings=replace(ProviderSettings.fast(), settle_interval=None)) as running:
        running.open_account(running.wallet, running.providers[0], 10 * 10**18)
        yield running


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_vectors_beyond_it_are_not_asked_for(
    embedding_net: LocalNet, monkeypatch: pytest.MonkeyPatch, loop: bool
) -> None:
    for name, value in embedding_net.env().items():
        monkeypatch.setenv(name, value)
    (provider,) = embedding_net.providers
    before = sent(provider)
    with ZeroGEmbeddings(model="local-embed-1", budget=Budget(per_call=neuron(1))) as embeddings:
        with pytest.raises(BudgetExceeded) as caught:
            if loop:
                asyncio.run(embeddings.aembed_query("one"))
            else:
                embeddings.embed_query("one")
        assert caught.value.details["asked"] > caught.value.details["left"]
    assert sent(provider) == before


def test_a_budget_per_day_of_embeddings_is_counted_in_their_store(
    embedding_net: LocalNet, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name, value in embedding_net.env().items():
        monkeypatch.setenv(name, value)
    arguments = {"budget": Budget(per_day=og("1")), "store": f"sqlite:///{tmp_path}/store.db"}
    with ZeroGEmbeddings(model="local-embed-1", **arguments) as embeddings, get_zerog_receipts() as receipts:
        embeddings.embed_query("one")
        spending = embeddings._clients.blocking(embeddings._client_settings()).spending
        (receipt,) = receipts.receipts
        assert spending.left(receipt.payer, receipt.provider) == {"per_day": og("1") - receipt.fee.amount}


@pytest.mark.parametrize("kind", [ChatZeroG, ZeroGEmbeddings])
def test_it_is_in_pickles_and_in_nothing_that_is_shown(kind: Any) -> None:
    budget = Budget(per_run=og("0.123"))
    made = kind(model="m", private_key="0x" + "5e" * 32, budget=budget)
    assert pickle.loads(pickle.dumps(made)).budget == budget  # so that the pickled one spends no more
    assert "0.123" not in repr(made) + str(made.model_dump())
    if kind is ChatZeroG:
        assert "0.123" not in dumps(made)


@pytest.mark.parametrize("kind", [ChatZeroG, ZeroGEmbeddings])
def test_anything_else_is_refused_at_once(kind: Any) -> None:
    with pytest.raises(ValueError, match="Budget"):
        kind(model="m", budget=5)
