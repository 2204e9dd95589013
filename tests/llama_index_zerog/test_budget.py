"""`budget=`: a call that could cost more than is left is refused before it is sent."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from llama_index_zerog import ZeroG, ZeroGEmbedding, get_zerog_receipts, receipt_of
from tests.llama_index_zerog.conftest import EMBED
from zg_core import Budget, BudgetExceeded, ConfigError
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.money import neuron, og

QUESTION = "What is the capital of France?"


def sent(provider: LocalProvider) -> int:
    """How many requests for answers or vectors reached the provider."""
    return len([r for r in provider.requests if r.path.endswith(("/chat/completions", "/embeddings"))])


def test_a_call_beyond_it_is_not_sent(make_llm: Any, provider: LocalProvider, way: Any) -> None:
    before = sent(provider)
    with get_zerog_receipts() as receipts, pytest.raises(BudgetExceeded) as caught:
        way.chat(make_llm(budget=Budget(per_call=neuron(1))), QUESTION)
    assert caught.value.details["limit"] == "per_call"
    assert caught.value.details["left"] == neuron(1)
    assert caught.value.details["asked"] > neuron(1)
    assert sent(provider) == before
    assert len(receipts) == 0


def test_what_was_paid_is_no_longer_left(make_llm: Any, provider: LocalProvider, way: Any) -> None:
    llm = make_llm(budget=Budget(per_run=og("0.001")), max_tokens=100)
    fee = receipt_of(way.chat(llm, QUESTION)).fee.amount
    before = sent(provider)
    with pytest.raises(BudgetExceeded) as caught:
        way.chat(llm, QUESTION, max_tokens=1_000_000)
    assert caught.value.details["left"] == og("0.001") - fee
    assert sent(provider) == before


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_vectors_beyond_it_are_not_asked_for(net: LocalNet, loop: bool) -> None:
    provider = net.providers[EMBED]
    before = sent(provider)
    with ZeroGEmbedding(provider=provider.address, budget=Budget(per_call=neuron(1))) as embedding:
        with pytest.raises(BudgetExceeded) as caught:
            if loop:
                asyncio.run(embedding.aget_text_embedding("one"))
            else:
                embedding.get_text_embedding("one")
        assert caught.value.details["asked"] > caught.value.details["left"]
    assert sent(provider) == before


def test_llm_and_embedding_share_one(net: LocalNet, make_llm: Any, tmp_path: Path) -> None:
    shared = {"budget": Budget(per_run=og("0.5")), "store": f"sqlite:///{tmp_path}/store.db"}
    llm = make_llm(max_tokens=100, **shared)
    with ZeroGEmbedding(provider=net.providers[EMBED].address, **shared) as embedding, get_zerog_receipts() as receipts:
        llm.complete(QUESTION)
        embedding.get_text_embedding("one")
        left = embedding._clients.blocking(embedding._client_settings()).spending.left(
            receipts[0].payer, net.providers[EMBED].address
        )
    assert left == {"per_run": og("0.5") - receipts.spent().amount}


def test_an_agent_stops_where_it_ends(make_llm: Any, provider: LocalProvider) -> None:
    from llama_index.core.agent.workflow import FunctionAgent

    async def run() -> None:
        agent = FunctionAgent(tools=[], llm=make_llm(budget=Budget(per_call=neuron(1))))
        await agent.run(QUESTION)

    before = sent(provider)
    with pytest.raises(BudgetExceeded):
        asyncio.run(run())
    assert sent(provider) == before


def test_one_per_day_needs_a_store(make_llm: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make_llm(budget=Budget(per_day=og("1")), store="memory:").complete(QUESTION)
    assert caught.value.code == "budget_needs_store"


@pytest.mark.parametrize("kind", [ZeroG, ZeroGEmbedding])
def test_it_is_in_pickles_and_in_nothing_that_is_shown(kind: Any) -> None:
    budget = Budget(per_run=og("0.123"))
    made = kind(model="m", private_key="0x" + "5e" * 32, budget=budget)
    assert pickle.loads(pickle.dumps(made)).budget == budget  # so that the pickled one spends no more
    assert "budget" not in made.to_dict()
    assert "0.123" not in repr(made) + json.dumps(made.to_dict()) + made.to_json()
    assert kind.from_dict(made.to_dict()).budget is None


@pytest.mark.parametrize("kind", [ZeroG, ZeroGEmbedding])
def test_anything_else_is_refused_at_once(kind: Any) -> None:
    with pytest.raises(ValueError, match="Budget"):
        kind(model="m", budget=5)
