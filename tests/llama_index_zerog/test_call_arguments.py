"""What is passed with a call: parameters of requests reach the provider, nothing else does, and a secret in no way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span.simple import SimpleSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, SecretStr

import zg_core
from llama_index_zerog import ZeroG, ZeroGEmbedding
from tests.llama_index_zerog.conftest import SCRIPTED, Way
from tests.patience import hastily, until
from zg_core import Budget, Wallet, neuron
from zg_core.config import Secret
from zg_core.localnet import LocalNet

TOKEN = "app-sk-" + "c2VjcmV0" * 8


class Person(BaseModel):
    """A person."""

    name: str


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


class Told(BaseEventHandler, BaseSpanHandler[SimpleSpan]):
    """Keeps all that events and spans are told."""

    told: list[str] = []  # noqa: RUF012 - pydantic copies it

    @classmethod
    def class_name(cls) -> str:
        return "Told"

    def handle(self, event: Any, **_: Any) -> None:
        self.told.append(repr(event))

    def new_span(self, id_: str, bound_args: Any, **_: Any) -> None:
        self.told.append(repr(bound_args))

    def prepare_to_exit_span(self, *_: Any, **__: Any) -> None:
        return None

    prepare_to_drop_span = prepare_to_exit_span


@pytest.fixture
def told() -> Iterator[list[str]]:
    """All that events and spans are told."""
    dispatcher, handler = get_dispatcher("root"), Told()
    dispatcher.add_event_handler(handler)
    dispatcher.add_span_handler(handler)
    yield handler.told
    dispatcher.event_handlers.remove(handler)
    dispatcher.span_handlers.remove(handler)


@pytest.fixture
def llm(make_llm: Any, net: LocalNet, script: Any) -> ZeroG:
    """An LLM whose provider says what the script says."""
    script.text("ok")
    return make_llm(provider=net.providers[SCRIPTED].address, is_function_calling_model=True, context_window=9000)


def prompts(net: LocalNet) -> int:
    """Prompts and texts that have reached any provider."""
    return sum(r.path.endswith(("/chat/completions", "/embeddings")) for p in net.providers for r in p.requests)


def settings(net: LocalNet) -> dict[str, Any]:
    """Settings of a client as somebody might pass them with a call."""
    key = net.wallet.private_key
    return {
        "private_key": key, "api_key": TOKEN, "wallet": Wallet.from_key(key), "provider": net.providers[0].address,
        "network": "local", "rpc_url": "http://127.0.0.1:9/a-key", "verify": "require", "minimum": "verified",
        "kinds": ["TeeML"], "attest": 2, "budget": Budget(per_call=neuron(1)), "limits": None, "max_retries": 5,
        "store": "sqlite:///x", "http_client": httpx2.Client(), "headers": {"X": "y"}, "default_headers": {"X": "y"},
        "on_receipt": print, "privateKey": key, "APIKEY": TOKEN,
    }  # fmt: skip


def wait(llm: ZeroG, work: Callable[[], Any]) -> Any:
    """The result of async work, streams read to their end."""

    async def whole() -> Any:
        try:
            made = await work()
            return [part async for part in made] if hasattr(made, "__aiter__") else made
        finally:
            await llm.aclose()

    return asyncio.run(whole())


TOOL = FunctionTool.from_defaults(multiply)
MESSAGES = [ChatMessage("q")]
WAYS: dict[str, Callable[[ZeroG, dict[str, Any]], Any]] = {
    "chat": lambda llm, kwargs: llm.chat(MESSAGES, **kwargs),
    "stream_chat": lambda llm, kwargs: list(llm.stream_chat(MESSAGES, **kwargs)),
    "achat": lambda llm, kwargs: wait(llm, lambda: llm.achat(MESSAGES, **kwargs)),
    "astream_chat": lambda llm, kwargs: wait(llm, lambda: llm.astream_chat(MESSAGES, **kwargs)),
    "complete": lambda llm, kwargs: llm.complete("q", **kwargs),
    "stream_complete": lambda llm, kwargs: list(llm.stream_complete("q", **kwargs)),
    "acomplete": lambda llm, kwargs: wait(llm, lambda: llm.acomplete("q", **kwargs)),
    "astream_complete": lambda llm, kwargs: wait(llm, lambda: llm.astream_complete("q", **kwargs)),
    "chat_with_tools": lambda llm, kwargs: llm.chat_with_tools([TOOL], "q", **kwargs),
    "additional_kwargs of a call": lambda llm, kwargs: llm.chat(MESSAGES, additional_kwargs=kwargs),
    "extra_body of a call": lambda llm, kwargs: llm.complete("q", extra_body=kwargs),
    "additional_kwargs": lambda llm, kwargs: ZeroG(provider=llm.provider, additional_kwargs=kwargs),
    "embedding": lambda llm, kwargs: ZeroGEmbedding(model="m", additional_kwargs=kwargs),
}
# They go through LlamaIndex's own functions first, whose spans are told their arguments.
DEEPER: dict[str, Callable[[ZeroG, dict[str, Any]], Any]] = {
    "structured": lambda llm, kwargs: llm.as_structured_llm(Person).chat(MESSAGES, **kwargs),
    "predict_and_call": lambda llm, kwargs: llm.predict_and_call([TOOL], "q", **kwargs),
    "predict_and_call in words": lambda llm, kwargs: in_words(llm).predict_and_call([TOOL], "q", **kwargs),
    "apredict_and_call in words": lambda llm, kwargs: wait(
        llm, lambda: in_words(llm).apredict_and_call([TOOL], "q", **kwargs)
    ),
}


def in_words(llm: ZeroG) -> ZeroG:
    """The same without function calling: LlamaIndex asks for tools in words then, and drops what it does not know."""
    return llm.model_copy(update={"is_function_calling_model": False})


@pytest.mark.parametrize("way", [*WAYS, *DEEPER])
def test_no_setting_reaches_a_provider_or_an_event(llm: ZeroG, net: LocalNet, told: list[str], way: str) -> None:
    before = prompts(net)
    for name, value in settings(net).items():
        with pytest.raises(TypeError, match=name) as caught:
            {**WAYS, **DEEPER}[way](llm, {name: value})
        assert isinstance(caught.value, zg_core.ArgumentError)
        assert caught.value.hint
        shown = f"{caught.value} {told if way in WAYS else ''}"
        for secret in (net.wallet.private_key[2:], TOKEN, "a-key"):
            assert secret not in shown, name
    assert prompts(net) == before


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_known_by_its_value(llm: ZeroG, net: LocalNet, told: list[str], way: str) -> None:
    before, key = prompts(net), net.wallet.private_key
    for value in (key, key[2:].upper(), [{"x": f"it is {key}"}], SecretStr(key), Secret(key), TOKEN, {TOKEN: 1}):
        with pytest.raises(TypeError, match="key or token") as caught:
            WAYS[way](llm, {"user": value})
        assert isinstance(caught.value, zg_core.ArgumentError)
        assert caught.value.code == "secret_in_request"
        assert key[2:].lower() not in f"{caught.value} {told}".lower()
        assert TOKEN not in f"{caught.value} {told}"
    assert prompts(net) == before


BESIDE: dict[str, Callable[[ZeroG, Any], Any]] = {
    "extra_headers": lambda llm, secret: llm.chat(MESSAGES, extra_headers={"X-Note": secret}),
    "in words": lambda llm, secret: in_words(llm).predict_and_call([TOOL], "q", user=secret),
    "field stop": lambda llm, secret: ZeroG(provider=llm.provider, stop=[secret]),
    "field model": lambda llm, secret: ZeroG(secret),
    "field headers": lambda llm, secret: ZeroG(provider=llm.provider, default_headers={"X-Note": secret}),
    "embedding": lambda llm, secret: ZeroGEmbedding(model_name=secret),
}


@pytest.mark.parametrize("name", ["prompt", "user_msg", "chat_history"])
def test_what_another_method_takes_is_refused_before_events_hear_of_it(
    llm: ZeroG, net: LocalNet, told: list[str], name: str
) -> None:
    with pytest.raises(TypeError, match=name):
        llm.chat(MESSAGES, **{name: net.wallet.private_key})
    assert net.wallet.private_key[2:] not in str(told)


@pytest.mark.parametrize("way", BESIDE)
def test_a_secret_is_known_beside_the_parameters_too(llm: ZeroG, net: LocalNet, told: list[str], way: str) -> None:
    before = prompts(net)
    for secret in (net.wallet.private_key, TOKEN):
        with pytest.raises(TypeError, match="key or token") as caught:
            BESIDE[way](llm, secret)
        assert isinstance(caught.value, zg_core.ArgumentError)
        assert caught.value.code == "secret_in_request"
        assert secret.removeprefix("0x") not in f"{caught.value} {'' if way == 'in words' else told}"
    assert prompts(net) == before


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"temperature": 0}, "ZeroG(temperature=…)"),
        ({"additional_kwargs": {"top_k": 4}}, "ZeroG(additional_kwargs=…)"),
        ({"timeout": 5}, "ZeroG(timeout=…)"),
    ],
    ids=str,
)
def test_nothing_is_dropped_where_tools_are_asked_for_in_words(
    llm: ZeroG, net: LocalNet, kwargs: dict[str, Any], said: str
) -> None:
    before = prompts(net)
    with pytest.raises(TypeError) as caught:
        in_words(llm).predict_and_call([TOOL], "q", **kwargs)
    assert said in str(caught.value)
    assert prompts(net) == before
    in_words(llm).predict_and_call([TOOL], "q", verbose=False, allow_parallel_tool_calls=True)
    assert prompts(net) == before + 1


@pytest.mark.parametrize("name", ["temprature", "timeout", "user", "private_key"])
def test_embeddings_of_a_batch_drop_nothing(net: LocalNet, told: list[str], name: str) -> None:
    embedding, key = ZeroGEmbedding(model="m"), net.wallet.private_key
    for ask in (
        embedding.get_text_embedding_batch,
        lambda *a, **k: asyncio.run(embedding.aget_text_embedding_batch(*a, **k)),
    ):
        with pytest.raises(TypeError, match=f"argument '{name}': say it where the model is made") as caught:
            ask(["text"], **{name: key})
        assert key[2:] not in f"{caught.value} {told}"


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"top_k": 4}, "additional_kwargs={'top_k': …}"),
        ({"api_base": "http://x"}, "pass provider='0x…'"),
        ({"extra_query": {"a": 1}}, "takes no query"),
        ({"verify": "off"}, "ZeroG(verify=…)"),
        ({"system_prompt": "x"}, "ZeroG(system_prompt=…)"),
        ({"additional_kwargs": {"messages": []}}, "what a call is made with"),
        ({"additional_kwargs": {"stream": True}}, "stream_chat()"),
        ({"additional_kwargs": {"timeout": 3}}, "timeout=…"),
    ],
    ids=str,
)
def test_an_argument_that_no_call_takes_is_named_with_its_place(
    llm: ZeroG, net: LocalNet, way: Way, kwargs: dict[str, Any], said: str
) -> None:
    before = prompts(net)
    with pytest.raises(TypeError) as caught:
        way.chat(llm, "q", **kwargs)
    assert said in str(caught.value)
    assert prompts(net) == before


def test_parameters_of_requests_pass_and_lllamaindexs_own_arguments_stay(llm: ZeroG, way: Way, sent: Any) -> None:
    parameters = {
        "temperature": 0.5, "max_tokens": 9, "stop": ["x"], "seed": 1, "user": "ada", "logit_bias": {"1": 2},
        "reasoning_effort": "low", "response_format": {"type": "json_object"}, "store": False, "logprobs": True,
    }  # fmt: skip
    way.chat(
        llm,
        "q",
        **parameters,
        formatted=True,
        tool_required=True,
        allow_parallel_tool_calls=True,
        stream_usage=True,
        additional_kwargs={"top_k": 4},
        extra_body={"min_p": 0.1},
    )
    known = ("model", "messages", "stream", "stream_options")
    assert {name: value for name, value in sent().items() if name not in known} == {
        **parameters,
        "top_k": 4,
        "min_p": 0.1,
    }


def test_completions_take_what_chats_take(llm: ZeroG, sent: Any) -> None:
    llm.complete("q", True, seed=1)
    assert sent()["seed"] == 1
    assert "formatted" not in sent()


class Heads(httpx2.BaseTransport):
    """Sends, and keeps the heads of what was sent for an answer."""

    def __init__(self) -> None:
        self.heads: list[httpx2.Headers] = []
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/chat/completions"):
            self.heads.append(request.headers)
        return self._inner.handle_request(request)


def test_headers_and_timeout_of_a_call_are_honoured_and_not_in_the_body(
    make_llm: Any, net: LocalNet, script: Any, sent: Any
) -> None:
    seen = Heads()
    mine = make_llm(
        provider=net.providers[SCRIPTED].address,
        http_client=httpx2.Client(transport=seen),
        default_headers={"X-Team": "search"},
    )
    script.text("ok")
    mine.complete("q", extra_headers={"X-Run": "7"}, timeout=60)
    assert (seen.heads[-1]["x-team"], seen.heads[-1]["x-run"]) == ("search", "7")
    assert set(sent()) == {"model", "messages"}
    list(mine.stream_complete("q", extra_headers={"X-Run": "8"}, timeout=60))
    assert seen.heads[-1]["x-run"] == "8"
    with pytest.raises(zg_core.ConfigError, match="extra_headers: Host is ours"):
        mine.complete("q", extra_headers={"Host": "elsewhere"})

    def given_up(seconds: float) -> None:
        with pytest.raises(zg_core.OutcomeUnknown):
            mine.complete("q", timeout=seconds)

    before = len(net.providers[SCRIPTED].log)
    with net.providers[SCRIPTED].fault("hang", times=None) as hang:
        hastily(given_up, zg_core.ProviderUnavailable)
        until(lambda: hang.fired)
    until(lambda: len(net.providers[SCRIPTED].log) > before)  # not in the next test


def test_several_answers_are_asked_for_in_no_way(llm: ZeroG, net: LocalNet, way: Way) -> None:
    before = prompts(net)
    for kwargs in ({"n": 2}, {"extra_body": {"n": 2}}, {"additional_kwargs": {"n": 3}}):
        with pytest.raises(zg_core.ConfigError, match="n must be 1"):
            way.chat(llm, "q", **kwargs)
    several = ZeroG(provider=llm.provider, additional_kwargs={"n": 2})
    with pytest.raises(zg_core.ConfigError, match="n must be 1"):
        several.complete("q")
    assert prompts(net) == before
