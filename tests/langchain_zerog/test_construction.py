"""How a model is made, and what it says about itself."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.load import dumps, loads
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from langchain_zerog import ChatZeroG
from zg_core import Limits, Network, Policy, Timeouts
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.verify import AllOf, AnyOf, Kinds, ResponseBound, Verified

CONDITION = AllOf(ResponseBound(), AnyOf(Kinds("TeeML"), Verified()))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pays: else no model is made."""
    monkeypatch.setenv("ZEROG_PRIVATE_KEY", "0x" + "22" * 32)


@tool
def weather(zone: str, city: str) -> str:
    """Say the weather."""
    return f"fine in {city}, {zone}"


def test_a_constructor_reads_and_sends_nothing(net: LocalNet, provider: LocalProvider) -> None:
    before = len(provider.requests)
    ChatZeroG(provider="nonsense", private_key="nonsense", network="local", rpc_url="http://127.0.0.1:9")
    assert len(provider.requests) == before


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"base_url": "http://x"}, "pass provider='0x…'"),
        ({"openai_api_key": "sk-x"}, "private_key"),
        ({"top_k": 3}, "model_kwargs or extra_body"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_argument_nobody_reads_is_refused(arguments: dict[str, Any], advice: str) -> None:
    with pytest.raises(TypeError, match=next(iter(arguments))) as caught:
        ChatZeroG(**arguments)
    assert advice in str(caught.value)


def test_other_names_of_arguments_mean_the_same() -> None:
    model = ChatZeroG(model_name="m", stop_sequences=["x"])
    assert (model.model, model.model_name, model.stop) == ("m", "m", ["x"])


def test_settings_come_from_the_environment_when_it_is_made(local: LocalNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROG_VERIFY", "require")
    model = ChatZeroG()
    assert (model.provider, model.network, model.verify) == (local.providers[0].address, "local", "require")
    assert model.private_key is not None
    assert model.private_key.get_secret_value() == local.wallet.private_key


@pytest.mark.parametrize(
    ("arguments", "pays"),
    [
        ({}, "private_key"),
        ({"api_key": "app-sk-x"}, "api_key"),
        ({"private_key": "0xother"}, "private_key"),
    ],
    ids=["environment", "api key given", "private key given"],
)
def test_the_credential_that_was_given_wins_over_the_environments(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], pays: str
) -> None:
    monkeypatch.setenv("ZEROG_PRIVATE_KEY", "0xfromenv")
    monkeypatch.setenv("ZEROG_API_KEY", "app-sk-fromenv")
    model = ChatZeroG(**arguments)
    held = {name for name in ("private_key", "api_key") if getattr(model, name) is not None}
    assert held == {pays}
    again = ChatZeroG(**{name: getattr(model, name) for name in ChatZeroG.model_fields})
    assert {name for name in ("private_key", "api_key") if getattr(again, name) is not None} == {pays}


def test_traces_name_provider_model_and_parameters() -> None:
    model = ChatZeroG(model="m", temperature=0.5, max_tokens=9, stop="x")
    assert model._get_ls_params() == {
        "ls_provider": "zerog",
        "ls_model_type": "chat",
        "ls_model_name": "m",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["x"],
    }
    over = model._get_ls_params(stop=["y"], model="other", temperature=1.0)
    assert (over["ls_model_name"], over["ls_temperature"], over["ls_stop"]) == ("other", 1.0, ["y"])
    assert model._llm_type == "chat-zerog"
    assert model.metadata is not None
    assert model.metadata["lc_versions"]["langchain-zerog"]


def test_tokens_are_counted_offline() -> None:
    model = ChatZeroG(model="m")
    assert 2 <= model.get_num_tokens("Hello there, world") <= 8
    short = model.get_num_tokens_from_messages([HumanMessage("Hello")])
    assert short < model.get_num_tokens_from_messages([HumanMessage("Hello " * 50)])
    assert short < model.get_num_tokens_from_messages([HumanMessage("Hello")], tools=[weather])
    assert ChatZeroG(custom_get_token_ids=lambda text: [1] * len(text)).get_num_tokens("abc") == 3


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"limits": Limits(per_minute=9, burst=2)}, {"limits": Limits(per_minute=9, burst=2)}),
        ({"limits": Limits(in_flight=2)}, {"limits": Limits(in_flight=2)}),
        ({"limits": None}, {"limits": None}),
        ({"retry_deadline": 5.0, "retry_unknown": True}, {"retry_deadline": 5.0, "retry_unknown": True}),
        (
            {"timeout": Timeouts(connect=1.0, read=2.0, first_token=3.0, stall=4.0)},
            {"timeout": Timeouts(connect=1.0, read=2.0, first_token=3.0, stall=4.0)},
        ),
        ({"verify": Policy.of("warn", attest=2)}, {"verify": "warn", "attest": 2}),
        ({"verify": CONDITION}, {"verify": Policy.of(CONDITION)}),
        ({"verify": Policy.of(CONDITION, stream="hold")}, {"verify": Policy.of(CONDITION, stream="hold")}),
        (
            {"verify": Policy.of("require", minimum="verified", kinds=["TeeML"], stream="hold", identity="v")},
            {
                "verify": "require",
                "minimum": "verified",
                "kinds": ["TeeML"],
                "stream_policy": "hold",
                "identity": "v",
            },
        ),
        (
            {"network": Network("mine", 5, "https://rpc.example.com/key", "0x" + "aa" * 20, "0x" + "bb" * 20)},
            {"network": "mine", "rpc_url": None, "ledger": "0x" + "aa" * 20, "inference": "0x" + "bb" * 20},
        ),
    ],
    ids=[
        "limits",
        "in flight",
        "no limits",
        "retries",
        "timeout",
        "attest",
        "condition",
        "whole policy",
        "policy",
        "network",
    ],
)
def test_objects_among_the_arguments_survive_serialisation_as_plain_values(
    arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    written = dumps(ChatZeroG(provider="0x" + "11" * 20, **arguments))
    assert "not_implemented" not in written
    assert "rpc.example.com" not in written
    again = loads(written, allowed_objects=[ChatZeroG], valid_namespaces=["langchain_zerog"])
    assert {name: getattr(again, name) for name in expected} == expected
