"""The profile: what the provider says about the model, asked for once and never in a constructor."""

from __future__ import annotations

import asyncio
import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core import exceptions
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool
from pydantic import BaseModel, Field

import zg_core
from langchain_zerog import ChatZeroG, _profile
from langchain_zerog._profile import default_method, profile_of
from zg_core import ModelInfo
from zg_core.localnet import LocalNet, LocalProvider

Make = Callable[..., ChatZeroG]


@pytest.fixture(autouse=True)
def forgotten(script: Any) -> Iterator[None]:
    """Nothing is known of any model before a test, and after it."""
    _profile._KNOWN.clear()
    yield
    _profile._KNOWN.clear()
    script.listed = []


@pytest.fixture(params=["sync", "async"])
def load(request: pytest.FixtureRequest) -> Callable[[ChatZeroG], Any]:
    """Loads the profile in either way."""

    def blocking(model: ChatZeroG) -> Any:
        return model.load_profile()

    def asynchronous(model: ChatZeroG) -> Any:
        async def work() -> Any:
            async with model:
                return await model.aload_profile()

        return asyncio.run(work())

    return blocking if request.param == "sync" else asynchronous


class Person(BaseModel):
    """A person."""

    name: str = Field(description="the person's name")
    age: int = Field(description="age in years")


ABOUT = "'Ada' is 36 years old."


def test_the_profile_is_what_the_provider_says(make_model: Make, provider: LocalProvider, load: Any) -> None:
    model = make_model(shared=False)
    before = len(provider.requests)
    assert model.profile is None
    profile = load(model)
    assert model.profile == profile
    assert [request.path for request in provider.requests[before:]] == ["/v1/models"]
    assert profile["name"] == "local-chat-1"
    assert profile["max_input_tokens"] == provider.spec.context_length
    for name in ("tool_calling", "tool_choice", "structured_output", "image_inputs", "audio_inputs", "text_outputs"):
        assert profile[name] is True, name
    assert profile["video_inputs"] is False


def test_langchain_knows_every_word_of_it(make_model: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ChatZeroG(profile=make_model(shared=False).load_profile())


def test_a_later_model_knows_what_an_earlier_one_was_told(make_model: Make, provider: LocalProvider, load: Any) -> None:
    profile = load(make_model(shared=False))
    before = len(provider.requests)
    assert make_model(shared=False, temperature=0.5).profile == profile
    assert make_model(shared=False, provider=provider.address.lower()).profile == profile
    assert make_model(shared=False, model=provider.adapter).profile is None
    assert len(provider.requests) == before


def test_a_profile_that_is_given_stays(make_model: Make) -> None:
    make_model(shared=False).load_profile()
    assert make_model(shared=False, profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}


def test_copies_and_pickles_keep_the_profile(make_model: Make) -> None:
    model = make_model(shared=False)
    profile = model.load_profile()
    for again in (copy.copy(model), copy.deepcopy(model), model.model_copy(), pickle.loads(pickle.dumps(model))):
        assert again.profile == profile


def test_only_so_many_models_are_remembered() -> None:
    for number in range(300):
        _profile.remember(("n", str(number)), ModelInfo("m"))
    assert len(_profile._KNOWN) == 256
    assert (_profile.recall(("n", "0")), _profile.recall(("n", "299"))) == (None, ModelInfo("m"))


def test_what_is_not_said_is_not_in_it() -> None:
    assert profile_of(ModelInfo("m")) == {"name": "m"}


def test_a_provider_that_cannot_be_asked_is_langchains_error_too(
    net: LocalNet, make_model: Make, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any) -> Any:
        raise zg_core.ProviderUnavailable("down", code="connect_failed")

    monkeypatch.setattr("zg_core.backends.direct.catalogue.Catalogue.info", refused)
    with pytest.raises(exceptions.ModelConnectionError) as caught:
        load(make_model(shared=False))
    assert isinstance(caught.value, zg_core.ProviderUnavailable)


# what follows from it


@pytest.mark.parametrize(
    ("parameters", "strict", "method"),
    [
        (None, None, "function_calling"),
        (["tools", "structured_outputs"], None, "json_schema"),
        (["structured_outputs"], True, "json_schema"),
        (["tools", "response_format"], None, "function_calling"),
        (["response_format"], None, "json_mode"),
        (["response_format"], True, "function_calling"),
        (["temperature"], None, "function_calling"),
    ],
    ids=str,
)
def test_structured_output_goes_the_way_the_provider_knows(
    make_model: Make, net: LocalNet, script: Any, parameters: Any, strict: bool | None, method: str
) -> None:
    script.listed = [{"id": "scripted", "supported_parameters": parameters}]
    model = make_model(shared=False, provider=net.providers[2].address)
    info = model._client().model_info()
    model._learn(info)
    assert default_method(model.profile, info, strict=strict) == method
    traced = model.with_structured_output(Person, strict=strict).first.kwargs["ls_structured_output_format"]  # type: ignore[attr-defined]
    assert traced["kwargs"]["method"] == method


def test_without_a_profile_it_is_function_calling(make_model: Make, talk: Any) -> None:
    asked = make_model(shared=False, verify="require").with_structured_output(Person)
    assert "tools" in asked.first.kwargs  # type: ignore[attr-defined]
    assert talk.invoke(asked, ABOUT) == Person(name="Ada", age=36)


def test_with_the_profile_of_the_local_model_it_is_a_schema(make_model: Make, talk: Any) -> None:
    model = make_model(shared=False, verify="require")
    model.load_profile()
    asked = model.with_structured_output(Person)
    assert asked.first.kwargs["response_format"]["type"] == "json_schema"  # type: ignore[attr-defined]
    assert talk.invoke(asked, ABOUT) == Person(name="Ada", age=36)


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


class Started(BaseCallbackHandler):
    """Keeps the parameters of every call."""

    def __init__(self) -> None:
        self.parameters: list[dict[str, Any]] = []

    def on_chat_model_start(self, *_: Any, invocation_params: dict[str, Any], **__: Any) -> None:
        self.parameters.append(invocation_params)


@pytest.mark.parametrize("loaded", [False, True], ids=["without a profile", "with one"])
def test_an_agent_gives_structured_answers_with_and_without_a_profile(make_model: Make, loaded: bool) -> None:
    model = make_model(shared=False, verify="require")
    if loaded:
        model.load_profile()
    started = Started()
    agent = create_agent(model, tools=[multiply], response_format=Person)
    found = agent.invoke({"messages": [("user", ABOUT)]}, config={"callbacks": [started]})
    assert found["structured_response"] == Person(name="Ada", age=36)
    assert started.parameters
    assert all(("response_format" in asked) is loaded for asked in started.parameters)


def test_summarisation_takes_its_limit_from_the_profile(make_model: Make) -> None:
    model = make_model(shared=False)
    with pytest.raises(ValueError, match="profile"):
        SummarizationMiddleware(model=model, trigger=("fraction", 0.5))
    model.load_profile()
    assert SummarizationMiddleware(model=model, trigger=("fraction", 0.5)).model is model
