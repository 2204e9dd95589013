"""Answers that are parsed into a schema."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import RunnableGenerator, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_zerog._errors import as_model_error
from langchain_zerog._receipts import receipt_of
from langchain_zerog._schemas import openai_function, openai_response_format
from zg_core.errors import RequestError
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.output_parsers import BaseOutputParser
    from langchain_core.runnables import Runnable

__all__ = ["structured_output"]

METHODS = ("function_calling", "json_schema", "json_mode")


def structured_output(
    model: BaseChatModel, schema: Any, *, method: str, include_raw: bool, strict: bool | None, kwargs: dict[str, Any]
) -> Runnable[LanguageModelInput, Any]:
    """`model` with its replies parsed into `schema`; see `ChatZeroG.with_structured_output`."""
    if method not in METHODS:
        said = f"method={method!r}" if len(str(method)) <= 20 else "that method"  # it may be anything, a key too
        raise ValueError(f"{said} is unknown: use {', '.join(METHODS)}")
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
        name = openai_function(schema)["name"]
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
    whole: Runnable[Any, Any] = RunnableGenerator(_refuse_cut, _arefuse_cut, name="refuse_cut") | parser
    if not include_raw:
        return bound | whole
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | whole, parsing_error=lambda _: None)
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")


def _refuse_cut(pieces: Iterator[AIMessage]) -> Iterator[AIMessage]:
    """Pass a message or its chunks on, and raise at the end of one that was cut off."""
    message: Any = None
    for piece in pieces:
        yield piece
        message = piece if message is None else message + piece
    _check_whole(message)


async def _arefuse_cut(pieces: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    """Async twin of `_refuse_cut`."""
    message: Any = None
    async for piece in pieces:
        yield piece
        message = piece if message is None else message + piece
    _check_whole(message)


def _check_whole(message: AIMessage | None) -> None:
    """Refuse an answer that was cut off before its JSON was complete: a parser would make half of one, or nothing.

    Raises:
        RequestError: it was (code ``answer_cut``); text and receipt are on it.
    """
    if message is None or message.response_metadata.get("finish_reason") != "length":
        return
    if not message.invalid_tool_calls and (message.tool_calls or _is_json(str(message.text))):
        return
    cut = next((call["args"] for call in message.invalid_tool_calls), None) or str(message.text)
    error = RequestError(
        "the structured answer was cut off by the limit of tokens",
        code="answer_cut",
        hint="raise max_tokens; the call was billed, error.text holds what came",
        receipt=receipt_of(message),
        text=cut,
    )
    raise as_model_error(error)


def _is_json(text: str) -> bool:
    try:
        return isinstance(parse_json(text, strict=False), dict | list)
    except (ValueError, RecursionError):
        return False
