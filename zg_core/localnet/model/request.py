"""Reading a chat-completions request: checked field by field, refused in the words OpenAI uses.

A local network that accepts anything hides mistakes which a real server would refuse, so the checks are strict: unknown
parameters, orphan tool results and malformed tools are all errors, with the parameter that is wrong.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from zg_core.localnet.model.json import load_json
from zg_core.localnet.model.messages import read_messages
from zg_core.localnet.model.schema_check import check_schema
from zg_core.localnet.model.tokens import count_prompt
from zg_core.localnet.model.values import (
    InvalidRequestError,
    Message,
    read_bool,
    read_integer,
    read_number,
    read_object,
    read_string,
    wrong_type,
)

__all__ = ["ChatRequest", "InvalidRequestError", "Message", "Tool", "parse_body", "read_chat_request"]

_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_TOOLS: Final = 128
_MAX_STOPS: Final = 4
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")
_THINKING_EFFORTS: Final = ("medium", "high", "xhigh")

_OPENAI_PARAMETERS: Final = (
    "audio frequency_penalty logit_bias logprobs max_completion_tokens max_tokens messages metadata modalities model n "
    "parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort "
    "response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice "
    "tools top_logprobs top_p user verbosity"
)
_OPEN_SERVER_PARAMETERS: Final = (  # those vLLM and SGLang add; 0G providers run them
    "chat_template_kwargs ignore_eos length_penalty min_p min_tokens repetition_penalty skip_special_tokens "
    "stop_token_ids top_k"
)
_PARAMETERS: Final = frozenset(f"{_OPENAI_PARAMETERS} {_OPEN_SERVER_PARAMETERS}".split())
_RANGES: Final = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `parameters` is its JSON schema, an object schema or empty."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request that passed every check.

    Attributes:
        tool_choice: "named" means that `tool_name` must be called.
        max_tokens: Upper bound for the answer's tokens, None for the model's own.
        thinks: Whether the request asks for visible reasoning (`reasoning_effort` medium or more).
        prompt_tokens: What the prompt costs, counted by `model_tokens`.
        modalities: What the answer may hold.
    """

    model: str
    messages: tuple[Message, ...]
    prompt_tokens: int
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required", "named"] = "none"
    tool_name: str | None = None
    parallel_tool_calls: bool = True
    format: Literal["text", "json_object", "json_schema"] = "text"
    schema: Mapping[str, Any] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    include_usage: bool = False
    logprobs: bool = False
    top_logprobs: int = 0
    thinks: bool = False
    modalities: tuple[str, ...] = ("text",)


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body, nulls at the top level left out (a null parameter is an absent one).

    Raises:
        InvalidRequestError: The body is not a JSON object in UTF-8.
    """
    try:
        text = body.decode("utf-8")
        value = load_json(text)
        if "\\u" in text:
            # An escaped lone surrogate is valid JSON but no text: it could not be written back as UTF-8.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        raise InvalidRequestError("We could not parse the JSON body of your request.") from error
    if not isinstance(value, dict):
        raise InvalidRequestError("The JSON body of your request must be an object.")
    return {key: item for key, item in value.items() if item is not None}


def read_chat_request(body: bytes, *, draws: bool = False) -> ChatRequest:
    """Check a `/chat/completions` body and return what the model needs of it.

    Args:
        body: The request.
        draws: Whether the model's answers can hold images.

    Raises:
        InvalidRequestError: Something in it is missing, malformed, out of range or contradictory.
    """
    data = parse_body(body)
    for name in data:
        if name not in _PARAMETERS:
            raise InvalidRequestError(f"Unrecognized request argument supplied: {name}", name, "unknown_parameter")
    model = read_string(data, "model", required=True)
    if "messages" not in data:
        raise InvalidRequestError("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    messages = read_messages(data["messages"], draws=draws)
    _check_sampling(data)
    modalities = _read_modalities(data, draws=draws)
    tools = _read_tools(data)
    choice, tool_name = _read_tool_choice(data, tools)
    answer_format, schema = _read_response_format(data)
    streaming = read_bool(data, "stream", default=False)
    logprobs = read_bool(data, "logprobs", default=False)
    top_logprobs = read_integer(data, "top_logprobs", minimum=0, maximum=20)
    if top_logprobs is not None and not logprobs:
        raise InvalidRequestError(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs"
        )
    limit = read_integer(data, "max_completion_tokens", minimum=1)
    older_limit = read_integer(data, "max_tokens", minimum=1)
    return ChatRequest(
        model=model,
        messages=messages,
        prompt_tokens=count_prompt(messages, data.get("tools", ()), data.get("response_format")),
        tools=tools,
        tool_choice=choice,
        tool_name=tool_name,
        parallel_tool_calls=read_bool(data, "parallel_tool_calls", default=True),
        format=answer_format,
        schema=schema,
        stop=_read_stop(data),
        max_tokens=older_limit if limit is None else limit,
        include_usage=_read_include_usage(data, streaming=streaming),
        logprobs=logprobs,
        top_logprobs=top_logprobs or 0,
        thinks=_read_effort(data) in _THINKING_EFFORTS,
        modalities=modalities,
    )


def _check_sampling(data: Mapping[str, Any]) -> None:
    for name, (minimum, maximum) in _RANGES.items():
        read_number(data, name, minimum=minimum, maximum=maximum)
    if read_integer(data, "n", minimum=1) not in {None, 1}:
        raise InvalidRequestError("Invalid 'n': this model gives one choice per request.", "n", "unsupported_value")
    read_integer(data, "seed")
    read_string(data, "user")
    if "logit_bias" in data:
        read_object(data["logit_bias"], "logit_bias")


def _read_modalities(data: Mapping[str, Any], *, draws: bool) -> tuple[str, ...]:
    modalities = data.get("modalities", ["text"])
    able = ("text", "image") if draws else ("text",)
    if not isinstance(modalities, list) or not modalities or any(each not in able for each in modalities):
        raise InvalidRequestError(f"This model answers in {' and '.join(able)} only.", "modalities", "invalid_value")
    return tuple(modalities)


def _read_tools(data: Mapping[str, Any]) -> tuple[Tool, ...]:
    if "tools" not in data:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in data:
                raise InvalidRequestError(f"'{name}' is only allowed when 'tools' are specified.", name)
        return ()
    entries = data["tools"]
    if not isinstance(entries, list):
        raise wrong_type("tools", "an array", entries)
    if not entries:
        raise InvalidRequestError(
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "tools",
            "empty_array",
        )
    if len(entries) > _MAX_TOOLS:
        raise InvalidRequestError(
            f"Invalid 'tools': array too long. Expected an array with maximum length {_MAX_TOOLS}.",
            "tools",
            "array_above_max_length",
        )
    tools = tuple(_read_tool(entry, f"tools[{index}]") for index, entry in enumerate(entries))
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise InvalidRequestError("Invalid 'tools': function names must be unique.", "tools", "invalid_value")
    return tools


def _read_tool(entry: Any, param: str) -> Tool:
    outer = read_object(entry, param)
    if outer.get("type") != "function":
        raise InvalidRequestError(
            f"Invalid value: {outer.get('type')!r}. Supported values are: 'function'.",
            f"{param}.type",
            "invalid_value",
        )
    function = read_object(outer.get("function"), f"{param}.function")
    name = function.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise InvalidRequestError(
            f"Invalid '{param}.function.name': expected 1 to 64 letters, digits, '_' or '-'.",
            f"{param}.function.name",
            "invalid_value",
        )
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise wrong_type(f"{param}.function.description", "a string", description)
    if not isinstance(function.get("strict"), bool | None):
        raise wrong_type(f"{param}.function.strict", "a boolean", function["strict"])
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {}
    read_object(parameters, f"{param}.function.parameters")
    if parameters and parameters.get("type") != "object":
        raise InvalidRequestError(
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', "
            f"got 'type: {json.dumps(parameters.get('type'))}'.",
            f"{param}.function.parameters",
            "invalid_function_parameters",
        )
    check_schema(parameters, f"{param}.function.parameters")
    return Tool(name, description or "", parameters)


def _read_tool_choice(
    data: Mapping[str, Any], tools: tuple[Tool, ...]
) -> tuple[Literal["auto", "none", "required", "named"], str | None]:
    if not tools:
        return "none", None
    choice = data.get("tool_choice", "auto")
    if choice in ("auto", "none", "required"):
        return choice, None
    if not isinstance(choice, dict):
        raise InvalidRequestError(
            f"Invalid value: {choice!r}. Supported values are: 'none', 'auto', and 'required'.",
            "tool_choice",
            "invalid_value",
        )
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if choice.get("type") != "function" or not isinstance(name, str):
        raise InvalidRequestError(
            "Invalid 'tool_choice': expected {'type': 'function', 'function': {'name': …}}.",
            "tool_choice",
            "invalid_value",
        )
    if all(tool.name != name for tool in tools):
        raise InvalidRequestError(
            f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice", "invalid_value"
        )
    return "named", name


def _read_response_format(
    data: Mapping[str, Any],
) -> tuple[Literal["text", "json_object", "json_schema"], Mapping[str, Any]]:
    if "response_format" not in data:
        return "text", {}
    entry = read_object(data["response_format"], "response_format")
    kind = entry.get("type")
    if kind == "text" or kind == "json_object":  # noqa: PLR1714 (the type checker narrows only this form)
        return kind, {}
    if kind != "json_schema":
        raise InvalidRequestError(
            f"Invalid value: {kind!r}. Supported values are: 'json_object', 'json_schema', and 'text'.",
            "response_format.type",
            "invalid_value",
        )
    outer = read_object(entry.get("json_schema"), "response_format.json_schema")
    name = outer.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise InvalidRequestError(
            "Invalid 'response_format.json_schema.name': expected 1 to 64 letters, digits, '_' or '-'.",
            "response_format.json_schema.name",
            "invalid_value",
        )
    schema = read_object(outer.get("schema"), "response_format.json_schema.schema")
    check_schema(schema, "response_format.json_schema.schema")
    return "json_schema", schema


def _read_stop(data: Mapping[str, Any]) -> tuple[str, ...]:
    stop = data.get("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
        raise wrong_type("stop", "a string or an array of strings", stop)
    if len(stops) > _MAX_STOPS:
        raise InvalidRequestError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {_MAX_STOPS}, "
            f"but got an array with length {len(stops)} instead.",
            "stop",
            "array_above_max_length",
        )
    if not all(stops):
        raise InvalidRequestError("Invalid 'stop': a stop sequence cannot be empty.", "stop", "invalid_value")
    return tuple(stops)


def _read_include_usage(data: Mapping[str, Any], *, streaming: bool) -> bool:
    if "stream_options" not in data:
        return False
    if not streaming:
        raise InvalidRequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    options = read_object(data["stream_options"], "stream_options")
    return read_bool(options, "include_usage", default=False, within="stream_options.")


def _read_effort(data: Mapping[str, Any]) -> str | None:
    effort = data.get("reasoning_effort")
    if effort is not None and effort not in _EFFORTS:
        raise InvalidRequestError(
            f"Invalid value: {effort!r}. Supported values are: {', '.join(map(repr, _EFFORTS))}.",
            "reasoning_effort",
            "invalid_value",
        )
    return effort
