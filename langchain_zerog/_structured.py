"""Tools and schemas bound to a chat model."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_zerog._convert import openai_response_format

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.output_parsers import BaseOutputParser
    from langchain_core.runnables import Runnable

__all__ = ["openai_tool_choice", "structured_output"]

METHODS = ("function_calling", "json_schema", "json_mode")


def openai_tool_choice(choice: dict[str, Any] | str | bool, names: list[str]) -> dict[str, Any] | str:
    """`choice` in OpenAI's form.

    Raises:
        ValueError: it is neither a known word nor the name of a tool.
    """
    if isinstance(choice, dict):
        return choice
    if choice is True or choice in ("any", "required"):
        return "required"
    if choice in ("auto", "none"):
        return str(choice)
    if choice in names:
        return {"type": "function", "function": {"name": choice}}
    raise ValueError(f"tool_choice={choice!r} is neither auto, none, required nor one of {', '.join(names)}")


def structured_output(
    model: BaseChatModel, schema: Any, *, method: str, include_raw: bool, strict: bool | None, kwargs: dict[str, Any]
) -> Runnable[LanguageModelInput, Any]:
    """`model` with its replies parsed into `schema`; see `ChatZeroG.with_structured_output`."""
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown: use {', '.join(METHODS)}")
    if schema is None and method != "json_mode":
        raise ValueError(f"method={method!r} needs a schema")
    if strict is not None and method == "json_mode":
        raise ValueError("strict has no meaning with method='json_mode'")
    # For traces.
    kwargs = {
        **kwargs,
        "ls_structured_output_format": {"kwargs": {"method": method, "strict": strict}, "schema": schema},
    }
    is_class = isinstance(schema, type) and is_basemodel_subclass(schema)
    bound: Runnable[LanguageModelInput, Any]
    parser: BaseOutputParser[Any]
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        bound = model.bind_tools([schema], tool_choice=name, strict=strict, **kwargs)
        if is_class:
            parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
        else:
            parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    else:
        as_schema = method == "json_schema"
        wanted = openai_response_format(schema, strict=strict) if as_schema else {"type": "json_object"}
        bound = model.bind(response_format=wanted, **kwargs)
        parser = PydanticOutputParser(pydantic_object=schema) if is_class else JsonOutputParser()
    if not include_raw:
        return bound | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")
