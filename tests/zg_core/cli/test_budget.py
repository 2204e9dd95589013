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
    assert "no provider charged more" in rich("budget", "show").out


def test_what_was_charged_beyond_the_receipts_is_shown(rich: Zerog, provider: str, market: LocalNet) -> None:
    with client(rich, provider) as asking, market.providers[0].fault("settlement_inflated", times=None, factor=3):
        asking.create(QUESTION)
        market.providers[0].settle()
    ran = rich("budget", "reconcile", "--json", ok=False)
    assert ran.code == 1
    (found,) = ran.document["discrepancies"]
    assert found["counted"]
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
