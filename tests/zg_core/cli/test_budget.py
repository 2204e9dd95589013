"""``zerog budget``: what is held, what was charged beyond the receipts, and holds whose outcome is known."""

from __future__ import annotations

from typing import Any

import pytest

from tests.zg_core.cli.running import Zerog
from zg_core import Budget, ChatClient, OutcomeUnknown, og
from zg_core.localnet import LocalNet

QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}


def client(who: Zerog, provider: str, **options: Any) -> ChatClient:
    """A client with a budget in the command line's store."""
    environ = {name: value for name, value in who.environ.items() if name != "ZEROG_HOME"}
    where = f"sqlite:///{who.environ['ZEROG_HOME']}/store.db"
    options = {"budget": Budget(per_wallet=og("1")), "store": where, "verify": "off", "max_retries": 0} | options
    return ChatClient(provider=provider, environ=environ, **options)


def test_an_honest_provider_has_no_discrepancy(rich: Zerog, provider: str) -> None:
    with client(rich, provider) as asking:
        asking.create(QUESTION)
    document = rich.json("budget", "reconcile")
    assert (document["held"], document["discrepancies"]) == ([], [])
    said = rich("budget", "show").out
    assert "no provider charged more" in said
    assert provider in said


def test_what_is_spent_and_left_is_shown_limit_by_limit(rich: Zerog, provider: str) -> None:
    limits = {"per_wallet": og("1"), "per_provider": og("0.5"), "per_day": og("0.25"), "per_run": og("0.1")}
    with client(rich, provider, budget=Budget(**limits, run="mine")) as asking:
        cost = asking.create(QUESTION).receipt.fee.amount
        payer = asking.backend.payer
    document = rich.json("budget", "show")
    shown = {each["limit"]: each for each in document["counted"]}
    assert shown.keys() == limits.keys()
    for name, each in shown.items():
        most, left = int(each["most"]["neuron"]), int(each["left"]["neuron"])
        assert (int(each["spent"]["neuron"]), most, left) == (cost.units, limits[name].units, most - cost.units)
    assert [shown[name]["of"] for name in limits] == [payer, f"{payer} at {provider}", payer, "mine"]
    text = rich("budget", "show").out
    assert str(og("0.1") - cost) in text
    assert str(cost) in text


def test_a_limit_that_was_changed_is_shown_as_it_was_said_last(rich: Zerog, provider: str) -> None:
    for most in (og("1"), og("2")):
        with client(rich, provider, budget=Budget(per_wallet=most)) as asking:
            asking.create(QUESTION)
    (counted,) = rich.json("budget", "show")["counted"]
    assert counted["most"]["amount"] == "2"


def test_where_nothing_was_compared_that_is_said(rich: Zerog, provider: str) -> None:
    ran = rich("budget", "reconcile", ok=False)
    assert ran.code == 3
    assert "nothing was compared with the chain: no call under a budget" in ran.out
    assert f"{rich.environ['ZEROG_HOME']}/store.db" in ran.out
    assert "no provider charged more" not in ran.out
    with client(rich, provider) as asking:
        asking.create(QUESTION)
    assert "`zerog budget reconcile` does" in rich("budget", "show").out
    (one,) = rich.json("budget", "show")["compared"]
    assert (one["provider"], one["looked"]) == (provider, None)
    (one,) = rich.json("budget", "reconcile")["compared"]
    assert one["looked"] is not None


def test_what_was_charged_beyond_the_receipts_is_shown(rich: Zerog, provider: str, market: LocalNet) -> None:
    with client(rich, provider) as asking, market.providers[0].fault("settlement_inflated", times=None, factor=3):
        asking.create(QUESTION)
        market.providers[0].settle()
    ran = rich("budget", "reconcile", "--json", ok=False)
    assert ran.code == 1
    (found,) = ran.document["discrepancies"]
    assert found["counted"]
    assert "kept in memory" in ran.document["warnings"][0]
    assert rich.json("budget", "show")["discrepancies"][0]["excess"] == found["excess"]


def test_an_unknown_hold_is_released_once_its_outcome_is_known(rich: Zerog, provider: str, market: LocalNet) -> None:
    with client(rich, provider) as asking, market.providers[0].fault("cut_before_first_byte"):
        with pytest.raises(OutcomeUnknown):
            asking.create(QUESTION)
        assert asking.spending is not None
        (held,) = rich.json("budget", "show")["held"]
        assert held["state"] == "unknown"
        refused = rich("budget", "release", held["hold"], "--json", ok=False)
        assert refused.error["code"] == "cost_unknown"
        rich("budget", "release", held["hold"][:10], "--cost", "0.0000001")
        assert asking.spending.held() == []
        left = asking.spending.left(asking.backend.payer, provider)["per_wallet"]
        assert left == og("1") - og("0.0000001")
    again = rich("budget", "release", held["hold"], "--cost", "0", "--json", ok=False)
    assert again.error["code"] == "not_held"
