"""A gateway that is given a permit and refuses can be paid by it all the same: budgets hold it until it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.zg_core.backends.opengradient.conftest import QUESTION, arguments
from zg_core import Amount, Budget, BudgetExceeded, ChatClient, ZeroGError
from zg_core.backends.opengradient import sessions
from zg_core.localnet.opengradient.network import OpenGradientNet

LIMIT, PERMIT = Amount("6", "OPG"), Amount("5", "OPG")
REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "503": ("unavailable", {"granted": True}),
    "429": ("unavailable", {"granted": True, "status": 429}),
    "400": ("unavailable", {"granted": True, "status": 400, "retryable": False}),
    "402": ("payment_refused", {}),
}


def whole(client: ChatClient) -> None:
    client.create(QUESTION)


def streamed(client: ChatClient) -> None:
    with client.stream(QUESTION) as events:
        list(events)


def through_openai(client: ChatClient) -> None:
    pytest.importorskip("openai")
    client.openai_client().chat.completions.create(model="openai/gpt-5", **QUESTION)


@pytest.fixture
def og(zerog_opengradient: OpenGradientNet) -> Iterator[OpenGradientNet]:
    sessions._seats.clear()
    yield zerog_opengradient
    sessions._seats.clear()


def permits(og: OpenGradientNet) -> int:
    return sum(bool(each.permit) for gateway in og.gateways for each in gateway.seen)


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("ask", [whole, streamed, through_openai])
def test_permits_that_were_refused_count_whole(og, tally, tmp_path, ask: Callable[[ChatClient], None], name: str):
    fault, options = REFUSALS[name]
    before = permits(og)
    for gateway in og.gateways:
        gateway.fail(fault, times=None, **options)
    given = arguments(og, budget=Budget(per_run=LIMIT), max_retries=2, store=f"sqlite:///{tmp_path}/store.db")
    with ChatClient(**given) as client:
        assert client.spending is not None
        ends: list[Exception] = []
        for _ in range(4):
            with pytest.raises(Exception) as caught:
                ask(client)
            ends.append(caught.value)
        signed = permits(og) - before
        held = client.spending.held()
    assert signed * PERMIT.units <= LIMIT.units, "more can be taken than the budget allows"
    assert [(each.state, each.upper) for each in held] == [("unknown", PERMIT)] * signed
    if ask is whole:
        assert isinstance(ends[0], ZeroGError)
        assert isinstance(ends[-1], BudgetExceeded)
    tally("permit that is refused and kept", tried=4, caught=4)


@pytest.mark.parametrize("ask", [whole, streamed])
def test_an_honest_refusal_before_a_permit_was_given_costs_nothing(
    og, tally, tmp_path, ask: Callable[[ChatClient], None]
):
    for gateway in og.gateways:
        gateway.fail("unavailable", times=1)
    given = arguments(og, budget=Budget(per_run=LIMIT), max_retries=2, store=f"sqlite:///{tmp_path}/store.db")
    with ChatClient(**given) as client:
        assert client.spending is not None
        ask(client)
        assert [each.upper for each in client.spending.held()] == [PERMIT]
    tally("permit that is answered", honest=1, accepted=1)
