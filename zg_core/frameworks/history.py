"""Histories as callers keep them, mended for the wire: arguments as objects, calls without ids, values JSON lacks."""

from __future__ import annotations

import json
from typing import Any

from zg_core.errors import ConfigError
from zg_core.jsontext import not_json

__all__ = ["arguments_text", "check_plain", "complete_calls"]


def check_plain(value: Any, place: str) -> None:
    """Refuse what JSON cannot hold.

    Raises:
        ConfigError: it holds such a value (code ``bad_message``); the message names its place and type.
    """
    if problem := not_json(value, place, nan=True):
        raise ConfigError(
            f"a message cannot be sent: {problem}",
            code="bad_message",
            hint="send plain dicts, lists, texts and numbers: isoformat() of a date, float() of a Decimal",
        )


def arguments_text(arguments: Any, place: str) -> str:
    """The arguments of a call as they stand on the wire: JSON in a text.

    Raises:
        ConfigError: something in them is not JSON.

    Example:
        >>> arguments_text({"a": 1}, "messages[0]"), arguments_text(None, ""), arguments_text('{"cut', "")
        ('{"a": 1}', '{}', '{"cut')
    """
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps({} if arguments is None else arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        check_plain(arguments, place)
        raise


def complete_calls(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`messages`, OpenAI-shaped, with the arguments of calls as texts, and an id for each call and each result.

    Ids are made up only where there are none, the same ones for the same history. A result without an id belongs to the
    call of its name that has none yet, else to the first one.

    Raises:
        ConfigError: arguments hold what JSON cannot.

    Example:
        >>> call = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
        >>> made = complete_calls([{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "1"}])
        >>> made[0]["tool_calls"][0]["id"] == made[1]["tool_call_id"], made[0]["tool_calls"][0]["function"]["arguments"]
        (True, '{"a": 1}')
    """
    taken = {call.get("id") for message in messages for call in _calls(message)}
    ids = (name for number in range(1, len(messages) * 1000) if (name := f"call_{number}") not in taken)
    made: list[dict[str, Any]] = []
    waiting: list[tuple[str, Any]] = []  # ids and names of the calls that no result was seen of
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if calls := _calls(message):
            whole = [
                _call(call, next(ids) if not call.get("id") else call["id"], place, n) for n, call in enumerate(calls)
            ]
            waiting = [(one["id"], _name(one)) for one in whole]
            message = {**message, "tool_calls": whole}  # noqa: PLW2901 - the caller's stays as it is
        elif isinstance(legacy := message.get("function_call"), dict):
            text = arguments_text(legacy.get("arguments"), f"{place}.function_call.arguments")
            message = {**message, "function_call": {**legacy, "arguments": text}}  # noqa: PLW2901
        elif message.get("role") == "tool":
            answered = message.get("tool_call_id")
            if not answered and waiting:
                named = [identity for identity, name in waiting if name and name == message.get("name")]
                answered = named[0] if named else waiting[0][0]
                message = {**message, "tool_call_id": answered}  # noqa: PLW2901
            waiting = [call for call in waiting if call[0] != answered]
        made.append(message)
    return made


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _name(call: dict[str, Any]) -> Any:
    function = call.get("function")
    return function.get("name") if isinstance(function, dict) else None


def _call(call: dict[str, Any], identity: Any, place: str, number: int) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict):
        return {**call, "id": identity}
    text = arguments_text(function.get("arguments"), f"{place}.tool_calls[{number}].function.arguments")
    return {**call, "id": identity, "function": {**function, "arguments": text}}
