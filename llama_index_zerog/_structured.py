"""Answers held to a JSON schema by the provider, where it says that it can do that."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.llm import LLMStructuredPredictEndEvent, LLMStructuredPredictStartEvent
from llama_index.core.types import PydanticProgramMode

from llama_index_zerog._receipts import note
from llama_index_zerog.instrumentation import ZeroGReceipts, current_sinks, telling
from zg_core.errors import RequestError
from zg_core.frameworks.schemas import rooted
from zg_core.jsontext import parse_json
from zg_core.receipts.recent import receipt_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator

    from pydantic import BaseModel

__all__ = ["amade_of", "announced", "anoted", "by_schema", "made_of", "noted", "partly", "response_format", "wanted"]


_DISPATCHER = get_dispatcher(__name__)


def by_schema(mode: PydanticProgramMode, output_cls: Any) -> bool:
    """Whether an answer of `output_cls` may be asked for by its schema."""
    return mode == PydanticProgramMode.DEFAULT and hasattr(output_cls, "model_json_schema")


def response_format(output_cls: Any) -> dict[str, Any]:
    """The ``response_format`` that asks for `output_cls`."""
    schema = rooted(output_cls.model_json_schema())
    named: dict[str, Any] = {"name": output_cls.__name__}
    if said := schema.get("description"):
        named["description"] = said
    return {"type": "json_schema", "json_schema": {**named, "schema": schema}}


@contextmanager
def announced(output_cls: Any, prompt: Any, prompt_args: dict[str, Any]) -> Iterator[Callable[[Any], Any]]:
    """Tell LlamaIndex's handlers that a structured answer is asked for, and which one came."""

    def ended(made: Any) -> Any:
        _DISPATCHER.event(LLMStructuredPredictEndEvent(output=made))
        return made

    _DISPATCHER.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))
    yield ended


def wanted(output_cls: Any, llm_kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments of a call that asks for `output_cls`: those of tools mean nothing to it."""
    kept = {name: value for name, value in (llm_kwargs or {}).items() if name not in ("tool_choice", "tool_required")}
    return {**kept, "response_format": response_format(output_cls)}


def made_of(response: ChatResponse, output_cls: Any) -> BaseModel:
    """The object that a whole answer is.

    Raises:
        RequestError: the answer was cut off by the limit of tokens (code ``answer_cut``).
        ValueError: it is none of `output_cls`.
    """
    text = response.message.content or ""
    receipt = receipt_in(response.additional_kwargs)
    if _finish(response.raw) == "length" and not _is_json(text):
        raise RequestError(
            "the structured answer was cut off by the limit of tokens",
            code="answer_cut",
            hint="raise max_tokens; the call was billed, error.text holds what came",
            receipt=receipt,
            text=text,
        )
    made: BaseModel = output_cls.model_validate_json(text)
    note(made, receipt)
    return made


def partly(responses: Iterator[ChatResponse], output_cls: Any) -> Generator[Any, None, None]:
    """What a streamed answer is so far, and at last the object that it is."""
    from llama_index.core.program.streaming_utils import process_streaming_content_incremental

    made, last = None, ChatResponse(message=_nothing())
    for last in responses:
        if last.delta:
            made = process_streaming_content_incremental(last, output_cls, made)
            yield made
    yield made_of(last, output_cls)


async def amade_of(responses: AsyncIterator[ChatResponse], output_cls: Any) -> AsyncGenerator[Any, None]:
    """Async twin of `partly`."""
    from llama_index.core.program.streaming_utils import process_streaming_content_incremental

    made, last = None, ChatResponse(message=_nothing())
    async for last in responses:
        if last.delta:
            made = process_streaming_content_incremental(last, output_cls, made)
            yield made
    yield made_of(last, output_cls)


def noted(objects: Iterator[Any]) -> Generator[Any, None, None]:
    """`objects`, read from the calls of a model, the last of which has its receipt."""
    sinks = (*current_sinks(), own := ZeroGReceipts())
    while True:
        with telling(sinks):
            made = next(objects, _END)
        if made is _END:
            return
        note(made, own.last)
        yield made


async def anoted(asked: Awaitable[AsyncIterator[Any]]) -> AsyncGenerator[Any, None]:
    """Async twin of `noted`."""
    sinks = (*current_sinks(), own := ZeroGReceipts())
    with telling(sinks):
        objects = await asked

    async def read() -> AsyncGenerator[Any, None]:
        while True:
            with telling(sinks):
                made = await anext(objects, _END)
            if made is _END:
                return
            note(made, own.last)
            yield made

    return read()


_END = object()


def _nothing() -> Any:
    from llama_index.core.base.llms.types import ChatMessage

    return ChatMessage(role="assistant", content="")


def _finish(raw: Any) -> Any:
    """Why an answer ended: beside its choices at the end of a stream, in one of a whole reply."""
    if not isinstance(raw, dict):
        return None
    choices = raw.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return raw.get("finish_reason") or (choice.get("finish_reason") if isinstance(choice, dict) else None)


def _is_json(text: str) -> bool:
    try:
        return isinstance(parse_json(text, strict=False), dict | list)
    except (ValueError, RecursionError):
        return False
