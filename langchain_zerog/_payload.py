"""From a call's messages and settings to the request: the same call gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.language_models import LangSmithParams

from langchain_zerog._convert import PROVIDER
from langchain_zerog._history import openai_messages
from langchain_zerog._schemas import is_schema_class, openai_response_format
from zg_core.frameworks.requests import request_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

__all__ = ["Ask", "payload_of", "trace_parameters_of"]


class Ask(NamedTuple):
    """One call: the request, and what the client is told beside it."""

    payload: dict[str, Any]
    options: dict[str, Any]


def payload_of(messages: Sequence[BaseMessage], parameters: dict[str, Any], model: str | None) -> dict[str, Any]:
    """The request for `messages` with `parameters`.

    Raises:
        ConfigError: it cannot be sent.
    """
    wanted = parameters.get("response_format")
    if wanted is not None and (is_schema_class(wanted) or isinstance(wanted, dict)):
        parameters = {**parameters, "response_format": openai_response_format(wanted)}
    return request_of(openai_messages(messages), parameters, model)


def trace_parameters_of(
    model: str | None, parameters: Mapping[str, Any], stop: list[str] | None, kwargs: Mapping[str, Any]
) -> LangSmithParams:
    """What traces are told of a call: provider, model and the parameters that shape the answer."""
    params = LangSmithParams(ls_provider=PROVIDER, ls_model_type="chat")
    settings = {**parameters, **kwargs} if kwargs else parameters
    if isinstance(name := kwargs.get("model") or model, str):
        params["ls_model_name"] = str(name)
    if isinstance(temperature := settings.get("temperature"), int | float):
        params["ls_temperature"] = temperature
    if isinstance(limit := settings.get("max_tokens"), int):
        params["ls_max_tokens"] = limit
    if stops := stop or settings.get("stop"):
        params["ls_stop"] = [stops] if isinstance(stops, str) else list(stops)
    return params
