"""What is passed with a call: parameters of requests reach the provider, nothing else does, and a secret in no way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import ConfigurableField, Runnable
from pydantic import SecretStr

import zg_core
from langchain_zerog import ChatZeroG, ZeroGEmbeddings
from tests.patience import PATIENCE, hastily, until
from zg_core import Budget, Wallet, neuron
from zg_core.config import Secret
from zg_core.localnet import LocalNet
from zg_core.tasks.parameters import CHAT

Make = Callable[..., ChatZeroG]
TOKEN = "app-sk-" + "c2VjcmV0" * 8
ANSWER = {
    "id": "x",
    "model": "scripted",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
EVENT = {"id": "x", "model": "scripted", "choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}


@pytest.fixture
def wire(script: Any) -> Iterator[list[bytes]]:
    """The bodies that reach the provider's model server."""
    script.body, script.events = ANSWER, [EVENT]
    script.bodies.clear()
    yield script.bodies
    script.body, script.events = {}, []


@pytest.fixture
def model(make_model: Make, local: LocalNet, wire: list[bytes]) -> ChatZeroG:
    """A model whose provider keeps what it is sent."""
    return make_model(provider=local.providers[2].address)


class Everything(BaseCallbackHandler):
    """Keeps all that callbacks, and so traces, are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def _keep(self, *args: Any, **kwargs: Any) -> None:
        self.told.append((args, kwargs))

    on_chat_model_start = on_chain_start = on_llm_end = on_llm_error = on_chain_error = _keep  # type: ignore[assignment]


def settings(net: LocalNet) -> dict[str, Any]:
    """Settings of a client as somebody might pass them with a call."""
    key = net.wallet.private_key
    return {
        "private_key": key,
        "api_key": TOKEN,
        "wallet": Wallet.from_key(key),
        "provider": net.providers[0].address,
        "network": "local",
        "rpc_url": "http://127.0.0.1:9/a-key",
        "verify": "require",
        "minimum": "verified",
        "kinds": ["TeeML"],
        "attest": 2,
        "identity": "openai",
        "budget": Budget(per_call=neuron(1)),
        "limits": None,
        "max_retries": 5,
        "store": "sqlite:///x",
        "http_client": httpx2.Client(),
        "headers": {"X": "y"},
        "default_headers": {"X": "y"},
        "on_receipt": print,
        "keep_bytes": True,
        "streaming": True,
        "privateKey": key,
        "APIKEY": TOKEN,
    }


WAYS: dict[str, Callable[[Any, ChatZeroG, dict[str, Any], dict[str, Any]], Any]] = {
    "invoke": lambda talk, model, kwargs, config: talk.invoke(model, "q", config=config, **kwargs),
    "stream": lambda talk, model, kwargs, config: talk.stream(model, "q", config=config, **kwargs),
    "batch": lambda talk, model, kwargs, config: talk.batch(model, ["q"], config=config, **kwargs),
    "bind": lambda talk, model, kwargs, config: talk.invoke(model.bind(**kwargs), "q", config=config),
    "bind twice": lambda talk, model, kwargs, config: talk.invoke(
        model.bind(seed=1).bind(**kwargs),  # type: ignore[arg-type]
        "q",
        config=config,
    ),
    "bind_tools": lambda talk, model, kwargs, config: talk.invoke(model.bind_tools([], **kwargs), "q", config=config),
    "structured": lambda talk, model, kwargs, config: talk.invoke(
        model.with_structured_output({"title": "f", "type": "object"}, **kwargs), "q", config=config
    ),
    "structured by schema": lambda talk, model, kwargs, config: talk.invoke(
        model.with_structured_output({"title": "f", "type": "object"}, method="json_schema", **kwargs),
        "q",
        config=config,
    ),
    "with_config": lambda talk, model, kwargs, config: talk.invoke(model.with_config(**kwargs), "q", config=config),
    "with_config, whole": lambda talk, model, kwargs, config: talk.invoke(
        model.with_config(kwargs),  # type: ignore[arg-type]
        "q",
        config=config,
    ),
    "extra_body of a call": lambda talk, model, kwargs, config: talk.invoke(
        model, "q", config=config, extra_body=kwargs
    ),
    "model_kwargs of a call": lambda talk, model, kwargs, config: talk.invoke(
        model, "q", config=config, model_kwargs=kwargs
    ),
    "dictionary in extra_body": lambda talk, model, kwargs, config: talk.invoke(
        model, "q", config=config, extra_body={"options": [kwargs]}
    ),
    "extra_body": lambda talk, model, kwargs, config: ChatZeroG(provider=model.provider, extra_body=kwargs),
    "model_kwargs": lambda talk, model, kwargs, config: ChatZeroG(provider=model.provider, model_kwargs=kwargs),
    "embeddings": lambda talk, model, kwargs, config: ZeroGEmbeddings(model="m", model_kwargs=kwargs),
}


HIDING: dict[str, Callable[[str], Any]] = {
    "as it is": lambda secret: secret,
    "upper case": lambda secret: secret.removeprefix("0x").upper(),
    "in a text": lambda secret: f"it is {secret}!",
    "nested": lambda secret: [{"note": (secret,)}],
    "as a name": lambda secret: {secret: 1},
    "bytes": lambda secret: secret.encode(),
    "pydantic's": SecretStr,
    "ours": Secret,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_setting_reaches_a_provider_or_a_trace(
    model: ChatZeroG, local: LocalNet, wire: list[bytes], talk: Any, way: str
) -> None:
    given = settings(local)
    if way == "dictionary in extra_body":  # further down names may mean anything, but for a key
        given = {name: given[name] for name in ("private_key", "privateKey")}
    if way not in ("invoke", "stream", "batch", "bind", "bind twice", "bind_tools", "structured"):
        given.pop("streaming", None)  # no setting of the client, and some server's parameter may be called so
    for name, value in given.items():
        heard = Everything()
        with pytest.raises(TypeError, match=name) as caught:
            WAYS[way](talk, model, {name: value}, {"callbacks": [heard]})
        assert isinstance(caught.value, zg_core.ArgumentError)
        assert caught.value.hint
        assert not wire
        shown = f"{caught.value} {heard.told!r}"
        for secret in (local.wallet.private_key[2:], TOKEN, "a-key"):
            assert secret not in shown


@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("with_config")])
def test_a_secret_is_known_by_its_value(
    model: ChatZeroG, local: LocalNet, wire: list[bytes], talk: Any, way: str
) -> None:
    for secret in (local.wallet.private_key, TOKEN):
        for hiding, hide in HIDING.items():
            heard = Everything()
            with pytest.raises(TypeError, match="key or token") as caught:
                WAYS[way](talk, model, {"user": hide(secret)}, {"callbacks": [heard]})
            assert isinstance(caught.value, zg_core.ArgumentError), hiding
            assert caught.value.code == "secret_in_request"
            assert not wire
            assert secret.removeprefix("0x").lower() not in f"{caught.value} {heard.told!r}".lower()


BESIDE: dict[str, Callable[[Any, ChatZeroG, Any, dict[str, Any]], Any]] = {
    "stop": lambda talk, model, secret, config: talk.invoke(model, "q", stop=[secret], config=config),
    "stop of a stream": lambda talk, model, secret, config: talk.stream(model, "q", stop=[secret], config=config),
    "extra_headers": lambda talk, model, secret, config: talk.invoke(
        model, "q", extra_headers={"X-Note": secret}, config=config
    ),
    "tool_choice": lambda talk, model, secret, config: model.bind_tools([], tool_choice=secret),
    "field stop": lambda talk, model, secret, config: ChatZeroG(provider=model.provider, stop=[secret]),
    "field model": lambda talk, model, secret, config: ChatZeroG(provider=model.provider, model=secret),
    "field reasoning_effort": lambda talk, model, secret, config: ChatZeroG(reasoning_effort=secret),
    "field headers": lambda talk, model, secret, config: ChatZeroG(default_headers={"X-Note": secret}),
    "configured": lambda talk, model, secret, config: talk.invoke(
        model.configurable_fields(stop=ConfigurableField(id="stop")),  # type: ignore[arg-type]
        "q",
        config={"configurable": {"stop": [secret]}},
    ),
    "embeddings": lambda talk, model, secret, config: ZeroGEmbeddings(model=secret),
}


@pytest.mark.parametrize("way", BESIDE)
def test_a_secret_is_known_beside_the_parameters_too(
    model: ChatZeroG, local: LocalNet, wire: list[bytes], talk: Any, way: str
) -> None:
    for secret in (local.wallet.private_key, TOKEN):
        heard = Everything()
        with pytest.raises(TypeError, match="key or token") as caught:
            BESIDE[way](talk, model, secret, {"callbacks": [heard]})
        assert isinstance(caught.value, zg_core.ArgumentError)
        assert caught.value.code == "secret_in_request"
        assert secret.removeprefix("0x") not in f"{caught.value} {heard.told!r}"
    assert not wire


def test_the_key_of_a_wallet_object_is_known_too(
    local: LocalNet, wire: list[bytes], talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    wallet, heard = local.new_wallet(), Everything()
    model = ChatZeroG(provider=local.providers[2].address, wallet=Wallet.from_key(wallet.private_key))
    with pytest.raises(zg_core.ArgumentError, match="key or token"):
        talk.invoke(model, "q", user=wallet.private_key, config={"callbacks": [heard]})
    assert wallet.private_key[2:] not in repr(heard.told)
    assert not wire


def test_a_secret_in_the_place_of_a_name_or_word_is_not_repeated(model: ChatZeroG, local: LocalNet) -> None:
    key = local.wallet.private_key
    refused: list[Callable[[], Any]] = [
        lambda: model.invoke("q", **{key: 1}),
        lambda: ChatZeroG(**{key: 1}),  # type: ignore[arg-type]
        lambda: model.with_structured_output({"title": "f"}, method=key),  # type: ignore[arg-type]
    ]
    for each in refused:
        with pytest.raises((TypeError, ValueError)) as caught:
            each()
        assert key[2:] not in str(caught.value)


@pytest.mark.parametrize("way", ["extra_body", "model_kwargs"])
def test_a_token_that_is_put_into_a_model_afterwards_does_not_leave(
    model: ChatZeroG, wire: list[bytes], talk: Any, way: str
) -> None:
    changed = model.model_copy(update={way: {"user": TOKEN}})
    for ask in (talk.invoke, talk.stream):
        with pytest.raises(zg_core.ConfigError) as caught:
            ask(changed, "q")
        assert caught.value.code == "secret_in_request"
    assert not wire


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"top_k": 4}, "extra_body={'top_k': …}"),
        ({"base_url": "http://x"}, "pass provider='0x…'"),
        ({"extra_query": {"a": 1}}, "takes no query"),
        ({"store": "memory:"}, "ChatZeroG(store=…)"),
        ({"verify": "off"}, "ChatZeroG(verify=…)"),
        ({"extra_body": ["top_k"]}, "not a dictionary"),
        ({"extra_body": {"messages": []}}, "what a call is made with"),
        ({"extra_body": {"stream": True}}, "streaming=True"),
        ({"extra_body": {"timeout": 3}}, "timeout=…"),
        ({"extra_body": {"extra_headers": {}}}, "extra_headers"),
    ],
    ids=str,
)
def test_an_argument_that_no_call_takes_is_named_with_its_place(
    model: ChatZeroG, wire: list[bytes], talk: Any, kwargs: dict[str, Any], said: str
) -> None:
    for way in (talk.invoke, talk.stream):
        with pytest.raises(TypeError) as caught:
            way(model, "q", **kwargs)
        assert said in str(caught.value)
    assert not wire


def test_what_langchain_takes_for_its_traces_is_named_with_the_place_for_a_provider(model: ChatZeroG) -> None:
    with pytest.raises(TypeError, match=r"extra_body=\{'metadata': …\} for the provider"):
        model.bind(metadata={"team": "search"})
    with pytest.raises(TypeError, match=r"pass headers=\{…\}"):
        ChatZeroG(extra_headers={"X-Team": "search"})  # type: ignore[call-arg]


def body(wire: list[bytes]) -> dict[str, Any]:
    """What the last request said beside model, messages and streaming."""
    known = ("model", "messages", "stream", "stream_options")
    return {name: value for name, value in json.loads(wire[-1]).items() if name not in known}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_parameters_of_requests_pass_and_frameworks_own_arguments_stay(
    model: ChatZeroG, wire: list[bytes], talk: Any, streamed: bool
) -> None:
    way = talk.stream if streamed else talk.invoke
    parameters = {
        "temperature": 0.5, "top_p": 0.5, "max_tokens": 9, "stop": ["x"], "seed": 1, "presence_penalty": 0.1,
        "frequency_penalty": 0.2, "logprobs": True, "top_logprobs": 1, "reasoning_effort": "low", "user": "ada",
        "logit_bias": {"1": 2}, "service_tier": "auto", "response_format": {"type": "json_object"}, "store": False,
        "prompt_cache_key": "k", "verbosity": "low",
    }  # fmt: skip
    assert set(parameters) <= CHAT
    way(model, "q", **parameters, stream_usage=True, extra_body={"top_k": 4}, model_kwargs={"min_p": 0.1})
    assert body(wire) == {**parameters, "top_k": 4, "min_p": 0.1}


def test_other_names_of_parameters_mean_the_same_in_a_call(model: ChatZeroG, wire: list[bytes], talk: Any) -> None:
    talk.invoke(model, "q", stop_sequences=["x"], model_name="scripted")
    assert body(wire) == {"stop": ["x"]}
    limited = ChatZeroG(provider=model.provider, max_tokens=50)
    talk.invoke(limited, "q", max_completion_tokens=5)
    assert body(wire) == {"max_completion_tokens": 5}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_the_frameworks_structured_output_arguments_do_not_go_out(
    model: ChatZeroG, wire: list[bytes], talk: Any, streamed: bool
) -> None:
    bound = model.bind(ls_structured_output_format={"kwargs": {"method": "json_mode"}, "schema": {"title": "x"}})
    (talk.stream if streamed else talk.invoke)(bound, "q")
    assert body(wire) == {}


def test_a_configured_setting_is_used_and_does_not_go_out(
    model: ChatZeroG, local: LocalNet, wire: list[bytes], talk: Any
) -> None:
    fields = {name: ConfigurableField(id=name) for name in ("verify", "private_key", "timeout", "temperature")}
    flexible: Runnable[Any, Any] = model.configurable_fields(**fields)  # type: ignore[arg-type]
    configured = {
        "verify": "off", "private_key": SecretStr(local.wallet.private_key), "timeout": 60, "temperature": 0.5,
    }  # fmt: skip
    answer = talk.invoke(flexible, "q", config={"configurable": configured})
    assert answer.response_metadata["zerog"]["status"] == "not_checked"
    assert body(wire) == {"temperature": 0.5}
    assert local.wallet.private_key[2:].encode() not in b"".join(wire)


def test_a_model_configured_for_a_run_is_not_overruled_by_the_environments_provider(
    model: ChatZeroG, local: LocalNet, make_model: Make, talk: Any
) -> None:
    flexible: Any = make_model(verify="off").configurable_fields(model=ConfigurableField(id="model"))
    answer = talk.invoke(flexible, "Hello", config={"configurable": {"model": "scripted"}})
    assert answer.response_metadata["zerog"]["provider"] == local.providers[2].address


class Heads(httpx2.BaseTransport):
    """Sends, and keeps the heads of what was sent for an answer."""

    def __init__(self) -> None:
        self.heads: list[httpx2.Headers] = []
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/chat/completions"):
            self.heads.append(request.headers)
        return self._inner.handle_request(request)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_headers_and_timeout_of_a_call_are_honoured_and_not_in_the_body(
    model: ChatZeroG, wire: list[bytes], script: Any, way: str
) -> None:
    seen = Heads()
    mine = ChatZeroG(
        provider=model.provider, http_client=httpx2.Client(transport=seen), default_headers={"X-Team": "search"}
    )
    ask: Callable[..., Any] = (
        mine.invoke if way == "invoke" else lambda *args, **kwargs: list(mine.stream(*args, **kwargs))
    )
    ask("q", extra_headers={"X-Run": "7"}, timeout=60)
    (head,) = seen.heads
    assert (head["x-team"], head["x-run"]) == ("search", "7")
    assert body(wire) == {}
    with pytest.raises(zg_core.ConfigError, match="extra_headers: Authorization is ours"):
        ask("q", extra_headers={"Authorization": "Bearer mine"})

    def given_up(seconds: float) -> None:
        with pytest.raises(zg_core.OutcomeUnknown):
            ask("q", timeout=seconds)

    before = len(wire)
    script.thinks = PATIENCE
    try:
        hastily(given_up, zg_core.ProviderUnavailable)
        until(lambda: len(wire) > before)  # it was sent, and has arrived: not in the next test
    finally:
        script.thinks = 0.0


def test_several_answers_are_asked_for_in_no_way(model: ChatZeroG, wire: list[bytes], talk: Any) -> None:
    for kwargs in ({"n": 2}, {"extra_body": {"n": 2}}, {"model_kwargs": {"n": "1"}}, {"n": True and 1.5}):
        with pytest.raises(zg_core.ConfigError, match="n must be 1"):
            talk.invoke(model, "q", **kwargs)
    assert not wire
