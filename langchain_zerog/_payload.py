"""From a call's messages and settings to the request: the same call gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import LangSmithParams

from langchain_zerog._convert import PROVIDER, is_schema_class, openai_messages, openai_response_format
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_zerog.chat_models import ChatZeroG

__all__ = ["TOLERATED", "parameters_of", "payload_of", "trace_parameters_of"]

# Fields that go into a request under their own name, in this order.
_PARAMETERS = (
    "temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty", "n", "logprobs",
    "top_logprobs", "reasoning_effort",
)  # fmt: skip
# They end a request, after everything that is the same from call to call.
_LATE = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
_ONLY_WITH_TOOLS = ("tool_choice", "parallel_tool_calls")
# Arguments of other chat models that mean nothing here: streams always report their usage.
TOLERATED = frozenset({"stream_usage"})


def parameters_of(model: ChatZeroG) -> dict[str, Any]:
    """The request parameters that `model` was given."""
    return {name: value for name in _PARAMETERS if (value := getattr(model, name)) not in (None, [])}


def payload_of(
    model: ChatZeroG, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The request: model, messages, parameters, tools.

    Raises:
        ConfigError: it cannot be sent.
    """
    settings = parameters_of(model)
    settings |= model.model_kwargs
    settings |= model.extra_body or {}
    settings["parallel_tool_calls"] = settings.get("parallel_tool_calls", model.parallel_tool_calls)
    settings |= {name: value for name, value in kwargs.items() if name not in ("stream", "extra_body", *TOLERATED)}
    settings |= kwargs.get("extra_body") or {}
    if stop is not None:
        settings["stop"] = stop
    if settings.get("n") not in (None, 1):
        raise ConfigError("n must be 1", code="bad_request_body", hint="use batch() for several answers")
    if not settings.get("tools"):
        settings = {name: value for name, value in settings.items() if name not in ("tools", *_ONLY_WITH_TOOLS)}
    if is_schema_class(wanted := settings.get("response_format")) or isinstance(wanted, dict):
        settings["response_format"] = openai_response_format(wanted)
    payload: dict[str, Any] = {"model": settings.pop("model", None) or model.model}
    if payload["model"] is None:
        del payload["model"]  # the client puts in the provider's own
    payload["messages"] = openai_messages(messages)
    late = {name: settings.pop(name) for name in _LATE if name in settings}
    payload |= {name: value for name, value in {**settings, **late}.items() if value not in (None, [])}
    return payload


def trace_parameters_of(model: ChatZeroG, stop: list[str] | None, kwargs: Mapping[str, Any]) -> LangSmithParams:
    """What traces are told of a call: provider, model and the parameters that shape the answer."""
    params = LangSmithParams(ls_provider=PROVIDER, ls_model_type="chat")
    settings = {**parameters_of(model), **kwargs}
    if isinstance(name := kwargs.get("model") or model.model, str):
        params["ls_model_name"] = name
    if isinstance(temperature := settings.get("temperature"), int | float):
        params["ls_temperature"] = temperature
    if isinstance(limit := settings.get("max_tokens"), int):
        params["ls_max_tokens"] = limit
    if stops := stop or settings.get("stop"):
        params["ls_stop"] = [stops] if isinstance(stops, str) else list(stops)
    return params
