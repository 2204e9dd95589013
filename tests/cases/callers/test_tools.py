"""Tools and schemas in the forms that people write them, and answers that do not fit them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.tools import StructuredTool, tool
from llama_index.core.llms import ChatMessage
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as Old
from typing_extensions import TypedDict

import zg_core
from langchain_zerog import receipt_of

PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FUNCTION = {"name": "add", "description": "Add.", "parameters": PARAMETERS}
WIRE = {"type": "function", "function": FUNCTION}


class Node(BaseModel):
    """A node."""

    name: str
    children: list[Node] = Field(default_factory=list)


class Tree(BaseModel):
    """A tree."""

    size: int
    root: Node | None = None


class Left(BaseModel):
    """One of two that hold each other."""

    right: Right | None = None


class Right(BaseModel):
    """The other one."""

    left: Left | None = None


class Weather(Old):
    """Weather."""

    city: str
    days: int = 3


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class Typed(TypedDict):
    """A person."""

    name: str


FORMS: dict[str, Any] = {
    "OpenAI's": WIRE,
    "OpenAI's without the type": {"function": FUNCTION},
    "OpenAI's newer, flat one": {"type": "function", **FUNCTION},
    "the function alone": FUNCTION,
    "Anthropic's": {"name": "add", "description": "Add.", "input_schema": PARAMETERS},
    "MCP's": {"name": "add", "description": "Add.", "inputSchema": PARAMETERS},
    "Bedrock's": {"toolSpec": {"name": "add", "description": "Add.", "inputSchema": {"json": PARAMETERS}}},
    "a JSON schema": {"title": "add", "description": "Add.", **PARAMETERS},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_tool_dictionary_is_taken_in_every_form(lc: Any, keeper: Any, way: Any, form: str) -> None:
    for choice, wire in (
        (None, None),
        ("auto", "auto"),
        ("any", "required"),
        ("add", {"type": "function", "function": {"name": "add"}}),
    ):
        way.lc(lc().bind_tools([FORMS[form]], tool_choice=choice), "q")
        assert keeper.last["tools"] == [WIRE]
        assert keeper.last.get("tool_choice") == wire


def test_a_servers_own_tool_is_passed_on_beside_others(lc: Any, keeper: Any, way: Any) -> None:
    @tool
    def multiply(a: int) -> int:
        """Multiply."""
        return a

    for builtin in ({"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}, {"type": "x"}):
        for choice, wire in (
            ("auto", "auto"),
            ("multiply", {"type": "function", "function": {"name": "multiply"}}),
            (builtin["type"], {"type": builtin["type"]}),
        ):
            way.lc(lc().bind_tools([multiply, builtin], tool_choice=choice), "q")
            assert keeper.last["tools"][1] == builtin
            assert keeper.last["tool_choice"] == wire
    with pytest.raises(ValueError, match="multiply, web_search"):
        lc().bind_tools([multiply, {"type": "web_search"}], tool_choice="nothing")


@pytest.mark.parametrize("wrong", [{"type": "function"}, {"type": "function", "function": "add"}])
def test_a_tool_without_a_function_is_refused(lc: Any, wrong: Any) -> None:
    with pytest.raises(zg_core.ConfigError, match="no function and no name"):
        lc().bind_tools([wrong])


def test_a_pydantic_1_class_is_a_tool_and_a_schema(lc: Any, keeper: Any, way: Any) -> None:
    way.lc(lc().bind_tools([Weather]), "q")
    (sent,) = keeper.last["tools"]
    assert sent["function"]["parameters"]["required"] == ["city"]
    if not way.stream:
        keeper.message = {"role": "assistant", "tool_calls": [called("Weather", '{"city": "Oslo"}')]}
        assert way.lc(lc().with_structured_output(Weather), "q") == Weather(city="Oslo")


def called(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def resolves(schema: dict[str, Any], part: Any) -> dict[str, Any]:
    """What `part` of `schema` refers to."""
    found = schema
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_a_schema_that_refers_to_itself_keeps_its_references(lc: Any, keeper: Any, way: Any, method: str) -> None:
    def sent(schema: Any, **more: Any) -> dict[str, Any]:
        keeper.message = {"role": "assistant", "content": '{"name": "x", "size": 1}', "tool_calls": [
            called(schema.__name__, '{"name": "x", "size": 1}')
        ]}  # fmt: skip
        way.lc(lc().with_structured_output(schema, method=method, **more), "q")
        if method == "function_calling":
            parameters: dict[str, Any] = keeper.last["tools"][0]["function"]["parameters"]
            return parameters
        wanted: dict[str, Any] = keeper.last["response_format"]["json_schema"]["schema"]
        return wanted

    node = sent(Node)
    assert node["type"] == "object"
    assert set(resolves(node, node["properties"]["children"]["items"])["properties"]) == {"name", "children"}
    tree = sent(Tree)
    (reference,) = [part for part in tree["properties"]["root"]["anyOf"] if "$ref" in part]
    assert resolves(tree, resolves(tree, reference)["properties"]["children"]["items"])["type"] == "object"
    left = sent(Left)
    assert "$ref" in json.dumps(left["$defs"])
    strict = sent(Node, strict=True)
    assert strict["additionalProperties"] is False
    assert strict["$defs"]["Node"]["additionalProperties"] is False


class Planting(BaseModel):
    """What `plant` takes."""

    tree: Tree


def plant(tree: Tree) -> str:
    """Plant a tree."""
    return tree.model_dump_json()


def test_a_tool_whose_arguments_refer_to_themselves_keeps_its_references(
    lc: Any, li: Any, keeper: Any, way: Any
) -> None:
    llm, tools = li(), [FunctionTool.from_defaults(plant, fn_schema=Planting)]
    for ask in (
        lambda: way.lc(lc().bind_tools([StructuredTool.from_function(plant)]), "q"),
        lambda: way.li(llm, **llm._prepare_chat_with_tools(tools, "q")),
    ):
        ask()
        parameters = keeper.last["tools"][0]["function"]["parameters"]
        tree = resolves(parameters, parameters["properties"]["tree"])
        assert resolves(parameters, tree["properties"]["root"]["anyOf"][0])["properties"]["children"]


def test_a_root_that_refers_to_itself_is_an_object_for_llamaindex_too(li: Any, keeper: Any, way: Any) -> None:
    llm = li()
    way.li(llm, **llm._prepare_chat_with_tools([get_function_tool(Node)], "q"))
    parameters = keeper.last["tools"][0]["function"]["parameters"]
    assert parameters["type"] == "object"
    assert resolves(parameters, parameters["properties"]["children"]["items"])["properties"]["name"]


JSON_SCHEMA = {
    "title": "Person",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
SCHEMAS: dict[str, Any] = {
    "class": Person,
    "typed dictionary": Typed,
    "JSON schema": JSON_SCHEMA,
    "name and schema": {"name": "Person", "schema": JSON_SCHEMA},
    "tool": {"type": "function", "function": {"name": "Person", "description": "d", "parameters": JSON_SCHEMA}},
    "flat tool": {"type": "function", "name": "Person", "parameters": JSON_SCHEMA},
    "response format": {"type": "json_schema", "json_schema": {"name": "Person", "schema": JSON_SCHEMA}},
    "function": {"name": "Person", "parameters": JSON_SCHEMA},
}


@pytest.mark.parametrize("form", SCHEMAS)
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_a_schema_is_taken_in_every_form_by_both_methods(
    lc: Any, keeper: Any, way: Any, form: str, method: str
) -> None:
    schema = SCHEMAS[form]
    name = schema.__name__ if isinstance(schema, type) else "Person"
    said = '{"name": "Ada", "age": 36}'
    keeper.message = {"role": "assistant", "content": None, "tool_calls": [called(name, said)]}
    if method == "json_schema":
        keeper.message = {"role": "assistant", "content": said}
    got = way.lc(lc().with_structured_output(schema, method=method), "q")
    got = got[-1] if way.stream else got
    assert got == (Person(name="Ada", age=36) if form == "class" else {"name": "Ada", "age": 36})
    if method == "json_schema":
        wanted = keeper.last["response_format"]["json_schema"]
        assert (wanted["name"], "name" in wanted["schema"]["properties"]) == (name, True)
    else:
        function = keeper.last["tools"][0]["function"]
        assert (function["name"], "name" in function["parameters"]["properties"]) == (name, True)


@pytest.mark.parametrize("schema", [Person, JSON_SCHEMA], ids=["class", "dictionary"])
@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_an_answer_cut_by_the_limit_of_tokens_is_an_error_with_a_name(
    lc: Any, keeper: Any, way: Any, schema: Any, method: str
) -> None:
    half = '{"name": "Ad'
    keeper.finish_reason = "length"
    keeper.message = {"role": "assistant", "content": None, "tool_calls": [called("Person", half)]}
    if method != "function_calling":
        keeper.message = {"role": "assistant", "content": half}
    model = lc(max_tokens=3, verify="require")
    with pytest.raises(zg_core.RequestError) as caught:
        way.lc(model.with_structured_output(schema, method=method), "q")
    assert caught.value.code == "answer_cut"
    assert "max_tokens" in caught.value.hint
    assert half in caught.value.text
    assert caught.value.receipt is not None
    if not way.stream:
        found = way.lc(model.with_structured_output(schema, method=method, include_raw=True), "q")
        assert found["parsed"] is None
        assert found["parsing_error"].code == "answer_cut"
        assert found["parsing_error"].receipt is receipt_of(found["raw"])


def test_an_answer_that_was_complete_at_the_limit_is_none(lc: Any, keeper: Any, way: Any) -> None:
    keeper.finish_reason = "length"
    said = '{"name": "Ada", "age": 36}'
    for method, message in (
        ("function_calling", {"content": None, "tool_calls": [called("Person", said)]}),
        ("json_schema", {"content": said}),
    ):
        keeper.message = {"role": "assistant", **message}
        got = way.lc(lc().with_structured_output(Person, method=method), "q")
        assert (got[-1] if way.stream else got) == Person(name="Ada", age=36)


def test_several_answers_are_refused_by_both_frameworks(lc: Any, li: Any, keeper: Any, way: Any) -> None:
    for ask in (
        lambda: way.lc(lc(), "q", n=2),
        lambda: way.lc(lc().bind(n=2), "q"),
        lambda: way.lc(lc(model_kwargs={"n": 2}), "q"),
        lambda: way.li(li(), [ChatMessage("q")], n=2),
        lambda: way.li(li(additional_kwargs={"n": 2}), [ChatMessage("q")]),
    ):
        with pytest.raises(zg_core.ConfigError, match="n must be 1"):
            ask()
    assert not keeper.bodies
    way.lc(lc(n=1), "q")
    assert keeper.last["n"] == 1
