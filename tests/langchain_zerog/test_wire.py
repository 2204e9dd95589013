"""What goes over the wire, and where to: exactly what was set, to the provider and nobody else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.load import dumpd, load
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool

from langchain_zerog import ChatZeroG
from zg_core.localnet import LocalProvider

Make = Callable[..., ChatZeroG]
CHAT = "/v1/proxy/chat/completions"


def chats(provider: LocalProvider) -> list[Any]:
    """The chat requests that have reached the provider."""
    return [request for request in provider.requests if request.path == CHAT]


def sha256(payload: dict[str, Any]) -> str:
    """The hash of a request as it is sent."""
    return hashlib.sha256(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def test_a_bare_call_sends_the_model_and_the_messages_and_nothing_else(
    make_model: Make, provider: LocalProvider, talk: Any
) -> None:
    model = make_model()
    talk.invoke(model, "Hellö")
    expected = {"model": "local-chat-1", "messages": [{"role": "user", "content": "Hellö"}]}
    assert chats(provider)[-1].body_sha256 == sha256(expected)
    talk.stream(model, "Hellö")
    expected |= {"stream": True, "stream_options": {"include_usage": True}}
    assert chats(provider)[-1].body_sha256 == sha256(expected)


@tool
def weather(zone: str, city: str) -> str:
    """Say the weather."""
    return f"fine in {city}, {zone}"


def test_everything_that_is_set_is_sent_in_one_order_and_schemas_keep_theirs(
    make_model: Make, provider: LocalProvider, talk: Any
) -> None:
    model = make_model(
        temperature=0.5,
        top_p=0.9,
        max_tokens=50,
        stop_sequences=["END"],
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        n=1,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="low",
        parallel_tool_calls=False,
        model_kwargs={"user": "ada"},
        extra_body={"top_k": 3},
    )
    bound = model.bind_tools([weather], tool_choice="auto")
    talk.invoke(bound, [SystemMessage("Be terse."), HumanMessage("Hello")])
    expected = {
        "model": "local-chat-1",
        "messages": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 50,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "n": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
        "user": "ada",
        "top_k": 3,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Say the weather.",
                    "parameters": {
                        "properties": {"zone": {"type": "string"}, "city": {"type": "string"}},
                        "required": ["zone", "city"],
                        "type": "object",
                    },
                },
            }
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
    }
    made = model._payload([SystemMessage("Be terse."), HumanMessage("Hello")], None, bound.kwargs)  # type: ignore[attr-defined]
    expected["model"] = "local-chat-1"
    assert list(made) == [name for name in expected if name != "model"]
    assert chats(provider)[-1].body_sha256 == sha256(expected), json.dumps(made, indent=1)


def test_what_is_passed_to_a_call_wins_and_none_takes_back(make_model: Make) -> None:
    model = make_model(temperature=0.5, max_tokens=50, stop=["a"], extra_body={"top_k": 3})
    messages = [HumanMessage("Hello")]
    made = model._payload(
        messages, ["b"], {"temperature": 0, "max_tokens": None, "extra_body": {"top_k": 4}, "seed": 1}
    )
    assert {name: made[name] for name in made if name != "messages"} == {
        "temperature": 0,
        "stop": ["b"],
        "top_k": 4,
        "seed": 1,
    }
    assert "stop" not in model._payload(messages, [], {})


def test_what_only_goes_with_tools_is_not_sent_without(make_model: Make) -> None:
    model = make_model(parallel_tool_calls=False)
    assert list(model._payload([HumanMessage("Hello")], None, {})) == ["messages"]
    bound = model.bind_tools([], tool_choice="any")
    assert list(model._payload([HumanMessage("Hello")], None, bound.kwargs)) == ["messages"]  # type: ignore[attr-defined]


def test_a_model_named_in_the_call_is_asked(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    adapter = provider.adapter
    message = talk.invoke(make_model(), "Hello", model=adapter)
    assert message.response_metadata["model_name"] == adapter


# no other vendor's settings


def test_no_setting_of_another_vendor_reroutes_a_prompt(
    make_model: Make, provider: LocalProvider, talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_PROXY", "LANGSMITH_GATEWAY_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/gateway")
    for name in ("OPENAI_API_KEY", "LANGSMITH_API_KEY", "LANGSMITH_GATEWAY_API_KEY"):
        monkeypatch.setenv(name, "not-ours")
    monkeypatch.setenv("LANGSMITH_GATEWAY", "true")
    before = len(chats(provider))
    assert talk.invoke(make_model(verify="require"), "Hello").response_metadata["zerog"]["provider"] == provider.address
    assert talk.stream(make_model(verify="require"), "Hello")[-1].response_metadata["zerog"]["status"] == "verified"
    assert len(chats(provider)) == before + 2


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_langsmiths_gateway_context_reroutes_nothing(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    gateway = pytest.importorskip("langchain_core.utils._gateway")
    if not hasattr(gateway, "langsmith_gateway"):
        pytest.skip("this langchain-core has no langsmith_gateway()")
    before = len(chats(provider))
    written = dumpd(make_model(verify="require"))
    with gateway.langsmith_gateway(api_key="lsv2_x", base_url="http://127.0.0.1:9"):
        # A gateway is looked up where a model is made.
        made = make_model(shared=False, verify="require")
        loaded = load(written, allowed_objects=[ChatZeroG], valid_namespaces=["langchain_zerog"], secrets_from_env=True)
        for model in (made, loaded):
            assert talk.invoke(model, "Hello").response_metadata["zerog"]["provider"] == provider.address
            assert talk.stream(model, "Hello")[-1].response_metadata["zerog"]["status"] == "verified"
            assert "lsv2_x" not in repr(vars(model))
    loaded.close()
    assert len(chats(provider)) == before + 4
