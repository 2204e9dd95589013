"""Comparisons through the Router and at OpenGradient: in their currencies, within budgets, and never mixed up."""

from __future__ import annotations

import os

import pytest

from zg_core import Amount, ConfigError, og
from zg_core.compare import compare, estimate, together
from zg_core.localnet import GatewaySettings, LocalNet, OpenGradientNet
from zg_core.verify.attestation import AttestationOptions

PROMPTS = [{"prompt": "What is the capital of France?", "expected": "Paris"}]


@pytest.fixture(scope="module")
def net():
    with LocalNet(router=True) as running:
        yield running


@pytest.fixture
def routed(net, tmp_path, monkeypatch):
    """How the Router is asked, with a place for finished calls."""
    for name in list(os.environ):
        if name.startswith("ZEROG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZEROG_HOME", str(tmp_path))
    monkeypatch.setenv("ZEROG_ROUTER_URL", net.router.base_url)
    way = {"backend": "router", "network": "local", "rpc_url": net.rpc_url, "api_key": net.router.api_key}
    return {**way, "targets": [net.providers[0].model], "prompts": PROMPTS}


def test_what_the_router_saw_open_is_told_from_what_it_saw_sealed(net, routed, tmp_path):
    hardware = AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url)
    kept = {"cache": tmp_path / "calls"}  # one place for both: they are other calls all the same
    (open_,) = compare(**routed, **kept)
    (sealed,) = compare(**routed, **kept, sealed=True, attestation=hardware)
    assert (open_.verdict, open_.readers, open_.backend) == ("signer_only", "open", "router")
    assert (sealed.verdict, sealed.readers, sealed.cached) == ("verified", "sealed", False)
    (again,) = compare(**routed, **kept)
    assert (again.verdict, again.cached) == ("signer_only", True)


def test_by_name_on_a_local_network_nothing_is_known_of_an_earlier_one(routed):
    assert not next(iter(compare(**routed))).cached
    assert not next(iter(compare(**routed))).cached


def test_a_budget_holds_calls_whose_price_nobody_signs_at_their_share(routed):
    two = {**routed, "prompts": [*PROMPTS, "What is 2 plus 2?"], "cache": None}
    rows = compare(**two, budget=og("0.01")).rows
    assert [row.error for row in rows] == ["", ""]
    plan = estimate(**two, budget=og("0.01"))
    assert plan.unpriced == [routed["targets"][0]]
    assert "whose price is not on chain" in str(plan)


def test_opengradient_is_counted_in_its_own_currency_and_joins_the_others(net, routed, monkeypatch):
    (open_,) = result = compare(**routed)
    with OpenGradientNet(gateways=1, settings=GatewaySettings(idle=None)) as gradient:
        for name, value in gradient.env().items():
            if name.endswith("_RPC_URL"):
                monkeypatch.setenv(name, value)
        asked = {"backend": "opengradient", "network": "local", "private_key": gradient.wallet.private_key}
        vendors = compare(["openai/gpt-5-nano"], PROMPTS, budget=Amount("20", "OPG"), **asked)
        refused = compare(["openai/gpt-5-nano"], PROMPTS, budget=og("20"), **asked)
    assert vendors.cost.currency == "OPG"
    assert vendors.spent.units > 0
    assert "cost (OPG)" in vendors.summary().to_markdown()
    assert refused.rows[0].error
    assert "bills in OPG" in refused.rows[0].message
    assert refused.cost.units == 0
    both = together({"Router": result, "OG": vendors}, rates={"0G": "0.8", "OPG": "0.05"})
    assert both.rows[0].fee.units == -(-open_.fee.units * 8 // 10)
    assert {row.fee.currency for row in both} == {"USD"}


def test_a_budget_of_another_currency_is_refused_where_0g_is_billed(net):
    with pytest.raises(ConfigError, match="an amount of 0G"):
        estimate(None, PROMPTS, budget=Amount("1", "OPG"), network="local", rpc_url=net.rpc_url, environ={})
