"""Bad input: one error class each, with a hint that names the way out, before a prompt leaves the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core import exceptions
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField

import zg_core
from langchain_zerog import ChatZeroG, ZeroGEmbeddings
from zg_core.backends.direct.session import make_token
from zg_core.localnet import LocalNet
from zg_core.localnet.chain import abi
from zg_core.wallet import Wallet

PROMPT = "A prompt that must not leave"
NOBODY = "0x" + "99" * 20


def api_key(net: LocalNet, provider: int = 0, **claims: Any) -> str:
    """An API key of the network's wallet."""
    wallet = Wallet.from_key(net.wallet.private_key)
    now = time.time_ns() // 10**6
    values = {"now_ms": now, "generation": 0, "token_id": 3, "expires_at": now + 3_600_000, **claims}
    return make_token(wallet, net.providers[provider].address, **values).reveal()


CASES: dict[str, tuple[Callable[[LocalNet], dict[str, Any]], type[Exception], type[Exception], str]] = {
    "malformed private key": (
        lambda _: {"private_key": "0x1234"},
        zg_core.ConfigError,
        exceptions.ModelAuthenticationError,
        "ZEROG_PRIVATE_KEY",
    ),
    "malformed API key": (
        lambda _: {"api_key": "key-of-another-vendor"},
        zg_core.ConfigError,
        exceptions.ModelAuthenticationError,
        "zerog keys create",
    ),
    "expired API key": (
        lambda net: {"api_key": api_key(net, expires_at=1)},
        zg_core.SessionRejected,
        exceptions.ModelAuthenticationError,
        "zerog keys create",
    ),
    "another provider's API key": (
        lambda net: {"api_key": api_key(net, provider=2)},
        zg_core.SessionRejected,
        exceptions.ModelAuthenticationError,
        "zerog keys create",
    ),
    "API key of an old generation": (
        lambda net: {"api_key": api_key(net, generation=5)},
        zg_core.SessionRejected,
        exceptions.ModelAuthenticationError,
        "zerog keys create",
    ),
    "malformed provider": (
        lambda _: {"provider": "the-good-one"},
        zg_core.ConfigError,
        exceptions.ModelError,
        "provider=",
    ),
    "unknown provider": (
        lambda _: {"provider": NOBODY},
        zg_core.ConfigError,
        exceptions.ModelError,
        "zerog providers",
    ),
    "unknown model": (
        lambda _: {"model": "gpt-17"},
        zg_core.ModelNotServed,
        exceptions.ModelNotFoundError,
        "local-chat-1",
    ),
    "unknown network": (
        lambda _: {"network": "mainet"},
        zg_core.ConfigError,
        exceptions.ModelError,
        "mainnet",
    ),
    "another chain": (
        lambda _: {"network": "testnet"},
        zg_core.WrongChain,
        exceptions.ModelError,
        "rpc",
    ),
    "chain does not answer": (
        lambda _: {"rpc_url": "http://127.0.0.1:9"},
        zg_core.ChainError,
        exceptions.ModelConnectionError,
        "ZEROG_RPC_URL",
    ),
    "no sub-account": (
        lambda net: {"provider": net.providers[1].address},
        zg_core.InsufficientFunds,
        exceptions.ModelPermissionDeniedError,
        "zerog transfer",
    ),
    "empty wallet": (
        lambda net: {"private_key": net.new_wallet(0).private_key},
        zg_core.InsufficientFunds,
        exceptions.ModelPermissionDeniedError,
        "zerog deposit",
    ),
    "a kind that is not allowed": (
        lambda _: {"kinds": ["TeeTLS"]},
        zg_core.VerificationUnavailable,
        exceptions.ModelError,
        "kinds",
    ),
    "no number": (
        lambda _: {"temperature": float("nan")},
        zg_core.ConfigError,
        exceptions.ModelInvalidRequestError,
        "numbers",
    ),
    "several answers": (
        lambda _: {"model_kwargs": {"n": 2}},
        zg_core.ConfigError,
        exceptions.ModelInvalidRequestError,
        "batch()",
    ),
    "timeout of no time": (
        lambda _: {"timeout": 0},
        zg_core.ConfigError,
        exceptions.ModelError,
        "timeout=",
    ),
}


def on_chain_with_url(net: LocalNet, url: str) -> str:
    """Register a provider with this URL; its address."""
    wallet = net.new_wallet()
    record = ("chatbot", url, "m", "TeeML", 1, 1, "{}", wallet.address)
    inference = abi.inference()
    data = inference.encode("addOrUpdateService", record)
    net.chain.send(wallet.private_key, to=inference.address, data=data, value=100 * 10**18)
    return wallet.address


@pytest.mark.parametrize("url", ["http://provider.example.com", "ftp://provider.example.com", "no url"])
def test_a_provider_without_https_is_refused(
    local: LocalNet, make_model: Callable[..., ChatZeroG], talk: Any, url: str
) -> None:
    with pytest.raises(zg_core.ConfigError) as caught:
        talk.invoke(make_model(provider=on_chain_with_url(local, url)), PROMPT)
    assert caught.value.code in ("insecure_url", "bad_url")
    assert isinstance(caught.value, exceptions.ModelError)
    assert caught.value.hint


def sent(net: LocalNet) -> int:
    """Requests that have reached any provider."""
    return sum(len(provider.requests) for provider in net.providers)


def prompts_sent(net: LocalNet) -> int:
    """Prompts that have reached any provider."""
    return sum(request.path.endswith("/chat/completions") for p in net.providers for request in p.requests)


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_error_and_no_prompt_leaves(
    local: LocalNet, make_model: Callable[..., ChatZeroG], talk: Any, case: str, way: str
) -> None:
    arguments, ours, theirs, advice = CASES[case]
    before = prompts_sent(local)
    model = make_model(**arguments(local))
    with pytest.raises(ours) as caught:
        getattr(talk, way)(model, PROMPT)
    error = caught.value
    assert isinstance(error, theirs), f"{type(error).__mro__}"
    assert isinstance(error, zg_core.ZeroGError)
    assert advice.lower() in str(error).lower(), str(error)
    assert error.hint
    assert prompts_sent(local) == before
    assert PROMPT not in str(error)


@pytest.mark.parametrize("make", [ChatZeroG, ZeroGEmbeddings])
def test_a_missing_credential_is_found_by_the_constructor_and_the_hint_names_both_ways(
    local: LocalNet, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    with pytest.raises(exceptions.ModelAuthenticationError) as caught:
        make()
    assert isinstance(caught.value, zg_core.ConfigError)
    assert caught.value.code == "no_credential"
    assert "ZEROG_PRIVATE_KEY" in str(caught.value)
    assert "ZEROG_API_KEY" in str(caught.value)


def test_a_keystore_is_credential_enough_and_not_opened(local: LocalNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    asked: list[str] = []

    def password() -> str:
        asked.append("password")
        return ""

    ChatZeroG(wallet=Wallet.from_keystore("no-such-file.json", password))
    assert not asked


def test_a_key_may_come_later_as_a_configurable_field(
    local: LocalNet, talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    later = ChatZeroG(private_key=None).configurable_fields(private_key=ConfigurableField(id="key"))
    with pytest.raises(exceptions.ModelAuthenticationError):
        talk.invoke(later, PROMPT)
    config = {"configurable": {"key": local.wallet.private_key}}
    assert talk.invoke(later, "Hello", config=config).response_metadata["zerog"]["provider"]


@pytest.mark.parametrize("make", [ChatZeroG, ZeroGEmbeddings])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"verify": "requre"}, "require"),
        ({"minimum": "proven"}, "verified"),
        ({"kinds": ["TeeXX"]}, "TeeML"),
        ({"attest": 9}, "attest"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_unknown_word_of_a_policy_is_found_by_the_constructor(
    local: LocalNet, make: Callable[..., Any], arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(zg_core.ConfigError, match=said) as caught:
        make(**arguments)
    assert isinstance(caught.value, exceptions.ModelError)


def test_a_policy_of_the_environment_is_blamed_on_its_variable(
    local: LocalNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROG_VERIFY", "requre")
    with pytest.raises(zg_core.ConfigError, match="ZEROG_VERIFY says so"):
        ChatZeroG()


def test_without_provider_and_model_the_hint_names_both(
    local: LocalNet, make_model: Callable[..., ChatZeroG], talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_PROVIDER")
    with pytest.raises(zg_core.ConfigError) as caught:
        talk.invoke(make_model(), PROMPT)
    assert "provider=" in str(caught.value)
    assert "model=" in str(caught.value)


def test_a_model_nobody_serves_is_named_with_those_there_are(
    local: LocalNet, make_model: Callable[..., ChatZeroG], talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_PROVIDER")
    with pytest.raises(zg_core.ModelNotServed) as caught:
        talk.invoke(make_model(model="gpt-17"), PROMPT)
    assert "local-chat-1" in caught.value.hint


def test_a_model_alone_chooses_its_funded_provider(
    local: LocalNet, make_model: Callable[..., ChatZeroG], talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_PROVIDER")
    message = talk.invoke(make_model(model="local-chat-1"), "Hello")
    assert message.response_metadata["zerog"]["provider"] == local.providers[0].address


def test_an_api_key_alone_is_enough(
    local: LocalNet, make_model: Callable[..., ChatZeroG], talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    monkeypatch.delenv("ZEROG_PROVIDER")
    message = talk.invoke(make_model(api_key=api_key(local), verify="require"), "Hello")
    assert message.response_metadata["zerog"]["status"] == "verified"
    assert local.providers[0].log[-1].user == local.wallet.address


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_message_that_cannot_be_sent_is_not_sent(model: ChatZeroG, local: LocalNet, talk: Any, way: str) -> None:
    before = sent(local)
    with pytest.raises(exceptions.ModelInvalidRequestError) as caught:
        getattr(talk, way)(model, [HumanMessage([{"type": "image", "nothing": "here"}])])
    assert isinstance(caught.value, zg_core.ConfigError)
    assert sent(local) == before


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_what_the_provider_refuses_says_what_it_said(model: ChatZeroG, talk: Any, way: str) -> None:
    with pytest.raises(exceptions.ModelInvalidRequestError) as caught:
        getattr(talk, way)(model, "Hello", temperature=9)
    assert isinstance(caught.value, zg_core.RequestError)
    assert "temperature" in str(caught.value)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_prompt_longer_than_the_context_is_an_overflow(model: ChatZeroG, talk: Any, way: str) -> None:
    with pytest.raises(exceptions.ContextOverflowError) as caught:
        getattr(talk, way)(model, "word " * 40_000)
    assert "shorten" in str(caught.value)
