"""The request parameters that the chat models of every framework have as fields, and how a request is put together."""

from __future__ import annotations

from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.frameworks.arguments import CallArguments

__all__ = ["RequestFields", "parameters_for", "request_of"]

# They end a request, after everything that is the same from call to call.
_LATE = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
_ONLY_WITH_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


class RequestFields(BaseModel):
    """Parameters as in OpenAI's API, sent only when set, in this order."""

    model_config = ConfigDict(defer_build=True, populate_by_name=True)

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = Field(default=None, validation_alias=AliasChoices("max_tokens", "max_completion_tokens"))
    stop: list[str] | str | None = Field(default=None, validation_alias=AliasChoices("stop", "stop_sequences"))
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: Literal[1] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None

    if TYPE_CHECKING:
        # Other names of arguments, for type checkers: of `max_tokens` and `stop`.
        max_completion_tokens: int | None = None
        stop_sequences: list[str] | str | None = None
    else:

        @property
        def max_completion_tokens(self) -> int | None:
            """The same as `max_tokens`."""
            return self.max_tokens

        @property
        def stop_sequences(self) -> list[str] | str | None:
            """The same as `stop`."""
            return self.stop

    def _parameters(self) -> dict[str, Any]:
        """Those that were set, by the names they go under."""
        names, of, none = _names()
        if (values := of(self.__dict__)) == none:
            return {}
        return {name: value for name, value in zip(names, values, strict=True) if value is not None and value != []}


@cache
def _names() -> tuple[tuple[str, ...], Callable[[dict[str, Any]], tuple[Any, ...]], tuple[None, ...]]:
    """The names of the fields, what reads their values, and the values where none is set."""
    names = tuple(RequestFields.model_fields)
    return names, itemgetter(*names), (None,) * len(names)


def parameters_for(call: CallArguments, *defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of one call: what was passed with it wins over `defaults`, and a None takes one back.

    Raises:
        ConfigError: several answers are asked for: all would be paid, and one is shown.
    """
    made: dict[str, Any] = {}
    for values in defaults:
        made |= values
    asked = {**call.parameters, **call.extra}
    if not (asked or made):
        return made
    if _says(asked.get("max_completion_tokens")) and "max_tokens" not in asked:
        made.pop("max_tokens", None)  # the same under another name: a server takes one of them
    made |= asked
    if (count := made.get("n")) is not None and not (isinstance(count, int) and count == 1):
        raise ConfigError("n must be 1", code="bad_request_body", hint="ask several times for several answers: batch()")
    return made


def request_of(messages: list[dict[str, Any]], parameters: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """The request: model, messages, parameters, and what belongs to tools only where there are tools.

    Args:
        messages: As they go out.
        parameters: Of this call; ``model`` among them wins over `model`.
        model: The model object's; None leaves it to the client.
    """
    if not parameters:
        return {"messages": messages} if model is None else {"model": str(model), "messages": messages}
    left = {name: value for name, value in parameters.items() if _says(value)}
    name = left.pop("model", None) or model
    if not left.get("tools"):
        left = {name: value for name, value in left.items() if name not in _ONLY_WITH_TOOLS}
    late = {name: left.pop(name) for name in _LATE if name in left}
    named = {} if name is None else {"model": str(name) if isinstance(name, str) else name}
    return {**named, "messages": messages, **left, **late}


def _says(value: object) -> bool:
    return value is not None and not (isinstance(value, list) and not value)
