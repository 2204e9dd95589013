"""What is made or known without LangChain's way round is what that would make or say."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel

from langchain_zerog import ChatZeroG
from langchain_zerog._convert import chat_result
from langchain_zerog._history import openai_messages
from zg_core.calls.call import Reply
from zg_core.receipts.model import Receipt


def insides(model: BaseModel) -> list[Any]:
    kept = [getattr(model, f"__pydantic_{name}__") for name in ("fields_set", "extra", "private")]
    return [type(model), {name: type(value) for name, value in vars(model).items()}, vars(model), *kept]


@pytest.mark.parametrize(
    "said",
    [
        {"role": "assistant", "content": "Hi"},
        {"content": ""},
        {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": [], "reasoning_content": ""},
        {"role": "assistant", "content": "Hi", "reasoning_content": "because"},
        {"role": "assistant", "content": "Hi", "of_the_server": 0},
    ],
)
def test_a_reply_makes_what_langchains_constructors_make(make_receipt: Callable[..., Receipt], said: Any) -> None:
    body = {"choices": [{"message": said, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    made = chat_result(Reply(body, make_receipt()))
    generation = made.generations[0]
    message = generation.message
    assert isinstance(message, AIMessage)
    given = {"additional_kwargs", "tool_calls", "invalid_tool_calls", "usage_metadata", "response_metadata"}
    whole = AIMessage(content=said["content"], **{name: getattr(message, name) for name in given})
    validated = ChatGeneration(message=whole, generation_info=generation.generation_info)
    assert insides(message) == insides(whole)
    assert insides(generation) == insides(validated)
    assert insides(made) == insides(ChatResult(generations=[validated], llm_output=made.llm_output))
    assert message.additional_kwargs == {
        name: said[name] for name in said if said[name] not in ("Hi", "assistant", "", None, [])
    }


def test_two_replies_share_nothing_that_can_be_changed(make_receipt: Callable[..., Receipt]) -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "Hi"}}]}
    one, other = (chat_result(Reply(body, make_receipt())).generations[0].message for _ in range(2))
    for name, value in vars(one).items():
        assert value is not vars(other)[name] or not isinstance(value, dict | list), name
    assert one.__pydantic_fields_set__ is not other.__pydantic_fields_set__
    assert one.__pydantic_extra__ is not other.__pydantic_extra__


@pytest.mark.parametrize("kind", [HumanMessage, SystemMessage, AIMessage])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"name": "ada"},
        {"name": ""},
        {"id": "run-1", "response_metadata": {"images_in_content": True, "reasoning_name": "thought"}},
        {"additional_kwargs": {"refusal": "no"}},
        {"additional_kwargs": {"__openai_role__": "developer"}},
    ],
)
def test_plain_texts_go_out_as_langchain_converts_them(kind: type[BaseMessage], more: dict[str, Any]) -> None:
    messages = [kind(content=text, **more) for text in ("Hi", "")]
    assert openai_messages(messages) == convert_to_openai_messages(messages)


@pytest.mark.parametrize("method", ["_generate", "_agenerate"])
def test_what_langchain_reads_of_our_methods_is_what_they_take(model: ChatZeroG, method: str) -> None:
    kept = getattr(ChatZeroG, method).__signature__
    function = getattr(ChatZeroG, method)
    del function.__signature__
    try:
        assert inspect.signature(function) == kept
    finally:
        function.__signature__ = kept
    assert list(inspect.signature(getattr(model, method)).parameters) == ["messages", "stop", "run_manager", "kwargs"]


def test_traces_are_told_what_langchain_itself_would_tell_them(make_model: Callable[..., ChatZeroG]) -> None:
    model = make_model(temperature=0.5, stop=["a"])
    ours = model._get_invocation_params(stop=["b"], seed=1)
    assert ours == BaseChatModel._get_invocation_params(model, stop=["b"], seed=1)
    assert list(ours) == list(BaseChatModel._get_invocation_params(model, stop=["b"], seed=1))

    class Own(ChatZeroG):
        def dict(self, **_: Any) -> dict[str, Any]:  # deprecated, and still asked where a class has its own
            return {"mine": True}

    own = Own(**{name: getattr(model, name) for name in ("private_key", "rpc_url", "network", "provider")})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert own._get_invocation_params(stop=None) == {"mine": True, "stop": None}
