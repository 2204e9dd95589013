"""Tools and structured output on the local network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from langchain_core import exceptions
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_zerog import ChatZeroG, receipt_of
from zg_core.errors import VerificationFailed
from zg_core.localnet import LocalNet, LocalProvider

Make = Callable[..., ChatZeroG]


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


@tool
def weather(city: str) -> str:
    """Get the weather in a city."""
    return f"fine in {city}"


ASKED = "What is 6 times 7? Use the multiply tool."


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_tool_is_called_answered_and_talked_about(
    make_model: Make, talk: Any, total: Any, version: str, way: str
) -> None:
    model = make_model(verify="require", output_version=version).bind_tools([multiply, weather])

    def ask(messages: list[BaseMessage]) -> AIMessage:
        made: AIMessage = talk.invoke(model, messages) if way == "invoke" else total(talk.stream(model, messages))
        assert made.response_metadata["zerog"]["status"] == "verified"
        return made

    messages: list[BaseMessage] = [HumanMessage(ASKED)]
    first = ask(messages)
    (call,) = first.tool_calls
    assert (call["name"], call["args"]) == ("multiply", {"a": 6, "b": 7})
    assert first.response_metadata["finish_reason"] == "tool_calls"
    second = ask([*messages, first, multiply.invoke(call)])
    assert "42" in second.text
    assert second.tool_calls == []


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "function", "function": {"name": "weather"}}),
    ],
    ids=str,
)
def test_a_tool_choice_is_sent_as_openai_writes_it(make_model: Make, choice: Any, expected: Any) -> None:
    bound = make_model().bind_tools([multiply, weather], tool_choice=choice)
    assert bound.kwargs["tool_choice"] == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize("choice", [None, "", False], ids=repr)
def test_without_a_tool_choice_none_is_sent(make_model: Make, choice: Any) -> None:
    assert "tool_choice" not in make_model().bind_tools([multiply], tool_choice=choice).kwargs  # type: ignore[attr-defined]


def test_a_choice_of_no_such_tool_is_refused_with_the_names_there_are(make_model: Make) -> None:
    with pytest.raises(ValueError, match="multiply, weather"):
        make_model().bind_tools([multiply, weather], tool_choice="multiplication")


def test_a_named_tool_is_called_whatever_was_asked(make_model: Make, talk: Any) -> None:
    model = make_model().bind_tools([multiply, weather], tool_choice="weather")
    (call,) = talk.invoke(model, ASKED).tool_calls
    assert call["name"] == "weather"


def test_no_tool_is_called_when_none_may_be(make_model: Make, talk: Any) -> None:
    assert talk.invoke(make_model().bind_tools([multiply], tool_choice="none"), ASKED).tool_calls == []


@pytest.mark.parametrize("field", [True, False], ids=["set on the model", "set with the tools"])
def test_one_call_at_a_time_when_asked_for(make_model: Make, talk: Any, field: bool) -> None:
    several = "What is 2 times 3? What is 4 times 5? Use the multiply tool."
    plain = make_model().bind_tools([multiply])
    assert len(talk.invoke(plain, several).tool_calls) == 2
    if field:
        one = make_model(parallel_tool_calls=False).bind_tools([multiply])
    else:
        one = make_model().bind_tools([multiply], parallel_tool_calls=False)
    assert len(talk.invoke(one, several).tool_calls) == 1


def test_strict_reaches_the_tools(make_model: Make) -> None:
    (sent,) = make_model().bind_tools([multiply], strict=True).kwargs["tools"]  # type: ignore[attr-defined]
    assert sent["function"]["strict"] is True


def test_calls_that_are_no_json_can_be_answered_with_an_error(
    make_model: Make, net: LocalNet, script: Any, talk: Any
) -> None:
    broken = {"id": "call_1", "type": "function", "function": {"name": "multiply", "arguments": '{"a": 6,'}}
    script.body = {"choices": [{"message": {"content": None, "tool_calls": [broken]}, "finish_reason": "tool_calls"}]}
    reply = talk.invoke(make_model(provider=net.providers[2].address), ASKED)
    assert reply.tool_calls == []
    (invalid,) = reply.invalid_tool_calls
    error = ToolMessage(f"not JSON: {invalid['error']}", tool_call_id=invalid["id"], status="error")
    # A strict server takes the history: the broken call is in it, and the error answers it.
    assert talk.invoke(make_model(), [HumanMessage(ASKED), reply, error]).text


# structured output


class Person(BaseModel):
    """A person."""

    name: str = Field(description="the person's name")
    age: int = Field(description="age in years")


class PersonDict(TypedDict):
    """A person."""

    name: str
    age: int


SCHEMA = {
    "title": "person",
    "description": "A person.",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
ABOUT = "'Ada' is 36 years old."


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("schema", [Person, PersonDict, SCHEMA], ids=["pydantic", "typed dictionary", "json schema"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_answer_takes_the_shape_of_the_schema(
    make_model: Make, talk: Any, method: Any, strict: bool | None, schema: Any, way: str
) -> None:
    asked = make_model(verify="require").with_structured_output(schema, method=method, strict=strict)
    found = talk.invoke(asked, ABOUT) if way == "invoke" else talk.stream(asked, ABOUT)[-1]
    if schema is Person:
        assert found == Person(name="Ada", age=36)
    else:
        assert found == {"name": "Ada", "age": 36}


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_a_streamed_object_grows_to_its_end(make_model: Make, talk: Any, method: Any) -> None:
    seen = talk.stream(make_model(verify="require").with_structured_output(SCHEMA, method=method), ABOUT)
    assert seen[-1] == {"name": "Ada", "age": 36}
    assert len(seen) > 2
    for earlier, later in pairwise(seen):
        assert set(earlier) <= set(later), "a key went away"
        assert all(later[key].startswith(value) for key, value in earlier.items() if isinstance(value, str))


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_a_streamed_object_of_a_forger_ends_in_the_error(
    make_model: Make, provider: LocalProvider, talk: Any, method: Any
) -> None:
    asked = make_model(verify="warn").with_structured_output(SCHEMA, method=method)
    with provider.fault("body_changed"), pytest.raises(VerificationFailed):
        talk.stream(asked, ABOUT)


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize("include_raw", [False, True])
def test_a_refusal_is_no_object(
    make_model: Make, net: LocalNet, script: Any, talk: Any, method: Any, include_raw: bool
) -> None:
    message = {"content": None, "refusal": "I will not."}
    script.body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    model = make_model(provider=net.providers[2].address)
    asked = model.with_structured_output(Person, method=method, include_raw=include_raw)
    if not include_raw:
        if method == "json_schema" or hasattr(exceptions, "ModelRefusalError"):
            with pytest.raises(
                (OutputParserException, getattr(exceptions, "ModelRefusalError", OutputParserException))
            ):
                talk.invoke(asked, ABOUT)
        else:
            assert talk.invoke(asked, ABOUT) is None
        return
    found = talk.invoke(asked, ABOUT)
    assert found["parsed"] is None
    assert found["raw"].additional_kwargs["refusal"] == "I will not."


def test_json_mode_gives_an_object(make_model: Make, talk: Any) -> None:
    asked = make_model().with_structured_output(None, method="json_mode")
    found = talk.invoke(asked, "Give a JSON object with the keys 'name' and 'age'.")
    assert set(found) == {"name", "age"}


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_with_the_raw_message_comes_the_receipt(make_model: Make, talk: Any, method: Any) -> None:
    asked = make_model().with_structured_output(Person, method=method, include_raw=True)
    found = talk.invoke(asked, ABOUT)
    assert found["parsed"] == Person(name="Ada", age=36)
    assert found["parsing_error"] is None
    receipt = receipt_of(found["raw"])
    assert receipt is not None
    assert receipt.verdict.status == "verified"


def test_an_answer_of_another_shape_is_an_error_or_kept_raw(
    make_model: Make, net: LocalNet, script: Any, talk: Any
) -> None:
    script.body = {"choices": [{"message": {"content": '{"name": "Ada"}'}, "finish_reason": "stop"}]}
    model = make_model(provider=net.providers[2].address)
    with pytest.raises(OutputParserException):
        talk.invoke(model.with_structured_output(Person, method="json_schema"), ABOUT)
    found = talk.invoke(model.with_structured_output(Person, method="json_schema", include_raw=True), ABOUT)
    assert found["parsed"] is None
    assert isinstance(found["parsing_error"], OutputParserException)
    assert found["raw"].text == '{"name": "Ada"}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schema": Person, "method": "magic"}, "json_schema"),
        ({"schema": None}, "schema"),
        ({"schema": Person, "method": "json_mode", "strict": True}, "strict"),
    ],
    ids=["method", "schema", "strict"],
)
def test_what_makes_no_sense_is_refused_at_once(make_model: Make, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model().with_structured_output(**arguments)


def test_a_response_format_can_be_bound(make_model: Make, talk: Any) -> None:
    message = talk.invoke(make_model().bind(response_format=Person), ABOUT)
    assert Person.model_validate_json(message.text) == Person(name="Ada", age=36)
