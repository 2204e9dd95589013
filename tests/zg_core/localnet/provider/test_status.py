"""The network's status API (0g-direct §1.3)."""

import pytest

from zg_core.localnet import LocalNet


@pytest.fixture(scope="module")
def net():
    with LocalNet(providers=5) as running:
        yield running


def test_health_lists_every_provider(net, http, connect):
    connect(net).chat()
    net.providers[1].fault("unavailable", times=None)
    services = http.get(net.status_url + "/health").json()["services"]
    assert [s["provider"] for s in services] == [p.address for p in net.providers]
    assert [s["status"] for s in services] == ["healthy", "warning", "healthy", "healthy", "healthy"]
    first = services[0]
    assert set(first) == {"serviceType", "model", "provider", "status", "checks", "performance", "lastCheck"}
    assert set(first["checks"]) == {"total", "successful", "failed", "uptime"}
    assert first["checks"]["total"] == 1
    net.providers[1].clear_faults()


def test_models_carry_prices_trust_and_the_provider(net, http):
    data = http.get(net.status_url + "/models").json()["data"]
    assert [(m["provider"], m["id"]) for m in data] == [(p.address, p.model) for p in net.providers]
    assert [m.get("provider_type") for m in data] == [None, "centralized", None, "standard", None]
    assert [m["type"] for m in data] == ["chatbot"] * 4 + ["embedding"]
    for model, provider in zip(data, net.providers, strict=True):
        assert model["pricing"]["prompt"] == str(provider.prices[0])
        own = http.get(provider.url + "/v1/models").json()["data"][0]
        assert {**own, "provider": provider.address} == model
