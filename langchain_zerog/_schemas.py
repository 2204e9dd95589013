"""Tools and schemas in every form that LangChain's users write them, as OpenAI's."""

from __future__ import annotations

from typing import Any

from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from zg_core.errors import ArgumentError
from zg_core.frameworks.schemas import closed, is_recursive, rooted

__all__ = ["is_schema_class", "openai_function", "openai_response_format", "openai_tool", "openai_tool_choice"]

_FORMATS = ("text", "json_object", "json_schema")


def openai_tool(tool: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """`tool` in OpenAI's form: of a function, tool, class or dictionary; a server's own (``{"type": …}``) as it is."""
    if isinstance(tool, dict):
        plain = _plain_tool(tool)
        if plain.get("type") not in (None, "function", "object") or "function" in plain:
            return plain
    return {"type": "function", "function": openai_function(tool, strict=strict)}


def openai_function(schema: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """`schema` as the description of a function: name, description, parameters.

    Raises:
        ValueError: it is none that LangChain knows.
    """
    if isinstance(schema, dict):
        schema = _plain_tool(schema)
        if isinstance(function := schema.get("function"), dict):
            schema = function
    made: dict[str, Any] = (
        convert_to_openai_tool(schema, strict=strict)["function"]
        if _is_tool(schema)
        else convert_to_openai_function(schema, strict=strict)
    )
    source = _schema_of(schema)
    if source is not None and is_recursive(source):  # LangChain writes references out, and loses what has no end
        whole = {name: value for name, value in rooted(source).items() if name not in ("title", "description")}
        made = {**made, "parameters": closed(whole) if strict else whole}
    return made


def openai_response_format(schema: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """`schema` as the ``response_format`` of a chat request: a class, a JSON schema, a tool, or a format already."""
    if isinstance(schema, dict) and schema.get("type") in _FORMATS:
        return schema
    function = openai_function(schema, strict=strict)
    wanted: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        wanted["description"] = function["description"]
    wanted["schema"] = function.get("parameters", {})
    if (said := function.get("strict", strict)) is not None:
        wanted["strict"] = said
    return {"type": "json_schema", "json_schema": wanted}


def is_schema_class(value: object) -> bool:
    """Whether `value` is a class that describes an answer (pydantic, or a typed dictionary)."""
    return isinstance(value, type) and (issubclass(value, BaseModel) or hasattr(value, "__annotations__"))


def openai_tool_choice(choice: dict[str, Any] | str | bool, tools: list[dict[str, Any]]) -> dict[str, Any] | str:
    """`choice` in OpenAI's form.

    Raises:
        ValueError: it is neither a known word nor one of `tools`.
    """
    if isinstance(choice, dict):
        return choice
    if choice is True or choice in ("any", "required"):
        return "required"
    if choice in ("auto", "none"):
        return str(choice)
    names = [_name(tool) for tool in tools]
    if choice not in names:
        raise ValueError(f"tool_choice={choice!r} is neither auto, none, required nor one of {', '.join(names)}")
    if tools[names.index(str(choice))].get("type") == "function":
        return {"type": "function", "function": {"name": choice}}
    return {"type": choice}


def _name(tool: dict[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name") if isinstance(function, dict) else tool.get("type"))


def _plain_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A dictionary that describes a tool or an answer, in one of the forms that LangChain converts."""
    if isinstance(tool.get("json_schema"), dict):  # a response_format
        tool = tool["json_schema"]
    kind, function = tool.get("type"), tool.get("function")
    if kind == "function" and not isinstance(function, dict):  # as OpenAI's Responses API writes it
        if not tool.get("name"):
            raise ArgumentError("a tool has no function and no name", hint='{"type": "function", "function": {…}}')
        return {name: value for name, value in tool.items() if name != "type"}
    if isinstance(function, dict) and kind is None:
        return {"type": "function", **tool}
    if kind is not None or "name" not in tool:
        return tool
    for place in ("schema", "inputSchema", "input_schema"):  # a response_format's, MCP's, Anthropic's
        if isinstance(tool.get(place), dict) and "parameters" not in tool:
            rest = {name: value for name, value in tool.items() if name != place}
            return {**rest, "parameters": tool[place]}
    return tool


def _schema_of(schema: Any) -> dict[str, Any] | None:
    """The JSON schema of a class or tool; None of anything else, which LangChain leaves as it is."""
    if _is_tool(schema):
        schema = schema.tool_call_schema
        if isinstance(schema, dict):
            return schema
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        old: Any = schema  # of pydantic 1, where it is not of 2
        made: dict[str, Any] = schema.model_json_schema() if issubclass(schema, BaseModel) else old.schema()
        return made
    return None


def _is_tool(schema: Any) -> bool:
    from langchain_core.tools import BaseTool  # a tenth of all that importing this package takes

    return isinstance(schema, BaseTool)
