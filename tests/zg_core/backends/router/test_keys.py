"""Only the Router's own inference keys go to it; every other kind is named, and not shown."""

from __future__ import annotations

import pytest

from zg_core.backends.router.keys import inference_key, management_key
from zg_core.backends.router.networks import ROUTERS, router_of
from zg_core.config import NETWORKS
from zg_core.errors import ConfigError

NETWORK, SECRET = ROUTERS["testnet"], "4f9a7c21e5b84d06"


@pytest.mark.parametrize(
    ("prefix", "named"),
    [
        ("mk-", "management key"),
        ("pk-", "partner key"),
        ("app-sk-", "0G Direct"),
        ("sk-proj-", "OpenAI"),
        ("sk-svcacct-", "OpenAI"),
        ("sk-ant-", "Anthropic"),
        ("sk-or-", "OpenRouter"),
        ("0x", "no key"),
        ("", "no key"),
    ],
)
def test_what_is_no_inference_key_is_refused_by_name(prefix: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        inference_key(prefix + SECRET, NETWORK)
    assert (caught.value.code, named in str(caught.value)) == ("wrong_key", True)
    assert "sk-" in caught.value.hint
    assert SECRET not in str(caught.value)


def test_its_own_key_is_taken_and_hidden() -> None:
    key = inference_key(f" sk-{SECRET}\n", NETWORK)
    assert key.reveal() == f"sk-{SECRET}"
    assert SECRET not in repr(key)


@pytest.mark.parametrize("text", ["sk-", "sk-a b c d e f", "sk-é" + SECRET, "sk-a\r\nb" + SECRET])
def test_a_key_that_was_cut_or_mangled_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        inference_key(text, NETWORK)


def test_only_a_management_key_sees_the_account() -> None:
    assert management_key(f"mk-{SECRET}", NETWORK).reveal() == f"mk-{SECRET}"
    with pytest.raises(ConfigError, match="may not see the account"):
        management_key(f"sk-{SECRET}", NETWORK)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "https://router-api.0g.ai/v1"),
        ("https://router.example", "https://router.example/v1"),
        ("https://router.example/v1/", "https://router.example/v1"),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
    ],
)
def test_where_the_router_is(given: str | None, expected: str) -> None:
    assert str(router_of(NETWORKS["mainnet"], given).base_url) == expected


@pytest.mark.parametrize("given", ["http://router.example/v1", "ftp://x", "https://user:pw@router.example"])
def test_a_key_is_sent_over_https_only(given: str) -> None:
    with pytest.raises(ConfigError):
        router_of(NETWORKS["mainnet"], given)


def test_a_network_without_a_router_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        router_of(NETWORKS["local"])
    assert caught.value.code == "no_router"
