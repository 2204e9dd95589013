"""Who runs a call may hold it to a budget beside its client's: it has to fit into each, and each counts it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from zg_core import AsyncChatClient, Budget, BudgetExceeded, ChatClient, Store, ZeroGError, neuron, og
from zg_core.budget import Spending
from zg_core.calls.budgets import budgets_of, held_to, is_held

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 20}


def purse(limit: Any) -> Spending:
    return Spending(Budget(per_run=limit), Store("memory:"), 31337)


def spent(counted: Spending, limit: Any) -> int:
    left = counted.left("0x" + "1" * 40, "0x" + "2" * 40)["per_run"]
    return int((limit - left).units)


@pytest.fixture
def given(options: dict[str, Any], provider: Any) -> dict[str, Any]:
    return {**options, "provider": provider.address, "verify": "off"}


def test_a_client_without_a_budget_is_held_to_that_of_its_caller(given, provider):
    outer, inner = purse(og("1")), purse(og("1"))
    with ChatClient(**given) as client:
        with held_to(outer):
            first = client.create(QUESTION).receipt
            with held_to(inner):
                second = client.create(QUESTION).receipt
        third = client.create(QUESTION).receipt
    assert third.fee.amount.units > 0
    assert spent(outer, og("1")) == (first.fee.amount + second.fee.amount).units
    assert spent(inner, og("1")) == second.fee.amount.units
    assert outer.held() == inner.held() == []


def test_what_one_refuses_the_others_give_back_and_nothing_is_sent(given, provider):
    before, plenty, little = len(provider.requests), purse(og("1")), purse(neuron(1))
    with ChatClient(**given, budget=Budget(per_run=og("1"))) as client:
        assert client.spending is not None
        with held_to(plenty), held_to(little), pytest.raises(BudgetExceeded):
            client.create(QUESTION)
        assert client.spending.left(client.backend.payer, provider.address) == {"per_run": og("1")}
    assert spent(plenty, og("1")) == spent(little, neuron(1)) == 0
    assert len(provider.requests) == before


def test_each_holds_what_was_not_answered(given, provider):
    mine = purse(og("1"))
    with ChatClient(**given, budget=Budget(per_run=og("1")), max_retries=0) as client:
        assert client.spending is not None
        with held_to(mine), provider.fault("cut_before_first_byte"), pytest.raises(ZeroGError) as caught:
            client.create(QUESTION)
        receipt = caught.value.receipt
        held = [each for each in client.spending.held() if each.receipt == receipt.id]
        assert [each.upper for each in mine.held()] == [each.upper for each in held] == [neuron(receipt.fee.upper)]


def test_a_price_is_read_before_the_request_leaves(given, provider, net):
    snapshot = net.snapshot()
    try:
        with ChatClient(**given, record_age=0) as client:
            client.create(QUESTION)
            provider.set_price(provider.prices[0] * 1000, provider.prices[1] * 1000)
            with held_to(purse(og("0.001"))), pytest.raises(BudgetExceeded):
                client.create(QUESTION)
    finally:
        net.revert(snapshot)


def test_tasks_and_threads_have_their_callers(given, provider):
    counted = purse(og("1"))

    async def ask() -> list[Any]:
        async with AsyncChatClient(**given) as client:
            with held_to(counted):
                asked = [asyncio.create_task(client.create(QUESTION)) for _ in range(3)]
            free = client.create(QUESTION)
            return [reply.receipt.fee.amount.units for reply in await asyncio.gather(*asked, free)]

    *paid, _ = asyncio.run(ask())
    assert spent(counted, og("1")) == sum(paid)
    with held_to(counted), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, is_held).result()
        assert not pool.submit(is_held).result(), "a thread without the context is another's"
    assert not is_held()
    assert budgets_of(None) is None
