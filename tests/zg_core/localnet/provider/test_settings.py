"""Numbers of the real network, and how `fast` relates to them."""

import dataclasses

import pytest

from zg_core.localnet.provider.settings import ProviderSettings, ProviderSpec, standard_specs


def test_production_has_the_networks_numbers():
    real = ProviderSettings.production()
    assert dataclasses.asdict(real) == {
        "account_cache": 120,  # 0g-direct §3.2
        "service_cache": 120,
        "session_cache": 300,
        "ephemeral_lifetime": 86_400,
        "signature_ttl": 1_200,  # §5.2
        "signature_delay": 0,
        "minimum_balance": 10**18,  # §4.5
        "estimate_input_fee": True,
        "requests_per_minute": 30,  # §4.6
        "burst": 5,
        "concurrent_per_user": 5,
        "concurrent_global": 20,
        "tokens_per_minute": None,
        "ip_requests_per_second": 15,
        "ip_burst": 20,
        "model_mismatches": 5,
        "model_mismatch_window": 300,
        "model_block": 3_600,
        "max_body": 32 * 2**20,  # §4.1
        "max_silent_read": 10 * 2**20,  # §4.3
        "image_ttl": 1_800,  # services §3
        "job_poll": 5,
        "settle_interval": 300,  # §2.5
        "settle_force_interval": 600,
        "settle_buffer": 60,
        "error_prefix": "Provider proxy: handle proxied service, ",
    }


def test_fast_divides_cache_lives_and_intervals_by_a_thousand_and_lifts_limits():
    real, fast = dataclasses.asdict(ProviderSettings.production()), dataclasses.asdict(ProviderSettings.fast())
    divided = {
        "account_cache",
        "service_cache",
        "session_cache",
        "model_mismatch_window",
        "model_block",
        "job_poll",
        "settle_interval",
        "settle_force_interval",
        "settle_buffer",
    }
    lifted = {
        "requests_per_minute",
        "concurrent_per_user",
        "concurrent_global",
        "ip_requests_per_second",
        "model_mismatches",
    }
    for name, value in real.items():
        if name in divided:
            assert fast[name] == pytest.approx(value / 1000), name
        elif name in lifted:
            assert fast[name] is None, name
        else:
            assert fast[name] == value, name


def test_the_standard_mix_differs_in_model_price_and_kind():
    specs = standard_specs(12)
    assert (specs[0].kind, specs[0].model) == ("TeeML", "local-chat-1")
    assert {spec.kind for spec in specs[:4]} == {"TeeML", "TeeTLS", "TeeML-separated", "standard"}
    assert len({spec.model for spec in specs}) == 12
    assert len({spec.input_price for spec in specs}) == 12
    assert {spec.service_type for spec in specs} == {"chatbot", "embedding"}
    assert [spec.model for spec in standard_specs(2)] == ["local-chat-1", "local-chat-2"]
    assert standard_specs(0) == []


def test_the_services_asked_for_have_a_provider_each_and_take_turns():
    assert [spec.service_type for spec in standard_specs(1, ["embedding"])] == ["embedding"]
    assert [spec.model for spec in standard_specs(1, ["chat", "embedding", "chat"])] == [
        "local-chat-1",
        "local-embed-1",
    ]
    specs = standard_specs(9, ["embedding", "chat"])
    assert [spec.service_type for spec in specs] == ["embedding", "chatbot"] * 4 + ["embedding"]
    assert len({spec.model for spec in specs}) == 9
    media = standard_specs(6, ["image", "edit", "speech"])
    assert [spec.service_type for spec in media] == ["text-to-image", "image-editing", "speech-to-text"] * 2
    assert [spec.model for spec in media[:4]] == ["local-image-1", "local-edit-1", "local-speech-1", "local-image-2"]
    assert [spec.model for spec in standard_specs(6, ["chat"])][3:] == ["local-chat-4", "local-chat-5", "local-chat-6"]


def test_a_service_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match=r"no 'video' service; it can serve chat, embedding, image, edit, speech"):
        standard_specs(1, ["chat", "video"])


def test_bodies_are_rewritten_where_the_model_is_outside():
    rewriting = {kind: ProviderSpec(kind=kind).rewrites for kind in ("TeeML", "TeeTLS", "TeeML-separated", "standard")}
    assert rewriting == {"TeeML": False, "TeeTLS": True, "TeeML-separated": True, "standard": False}
    assert ProviderSpec(rewrite_body=True).rewrites
    assert not ProviderSpec(kind="TeeTLS", rewrite_body=False).rewrites


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "model name"),
        ({"input_price": -1}, "prices"),
        ({"kind": "TeeTLS", "identities": ()}, "identities"),
        ({"kind": "TeeTLS", "identities": ("a:b",)}, "':'"),
    ],
)
def test_impossible_providers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ProviderSpec(**changes)


def test_a_negative_number_of_providers_is_refused():
    with pytest.raises(ValueError, match="negative"):
        standard_specs(-1)
