"""Histories mended for the wire."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.errors import ConfigError
from zg_core.frameworks.history import arguments_text, complete_calls


def call(name: str = "f", identity: str | None = None, arguments: Any = "{}") -> dict[str, Any]:
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made if identity is None else {"id": identity, **made}


def assistant(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


def result(identity: str | None = None, name: str | None = None) -> dict[str, Any]:
    made = {"role": "tool", "content": "1", "tool_call_id": identity, "name": name}
    return {key: value for key, value in made.items() if value is not None}


def ids(messages: list[dict[str, Any]]) -> list[str | None]:
    """Ids of the calls and results, in order."""
    found: list[str | None] = []
    for message in complete_calls(messages):
        found += [one.get("id") for one in message.get("tool_calls") or []]
        if message["role"] == "tool":
            found.append(message.get("tool_call_id"))
    return found


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([assistant(call(identity="a")), result("a")], ["a", "a"]),
        ([assistant(call()), result()], ["call_1", "call_1"]),
        ([assistant(call(), call("g")), result(name="g"), result()], ["call_1", "call_2", "call_2", "call_1"]),
        ([assistant(call(identity="call_1")), assistant(call()), result()], ["call_1", "call_2", "call_2"]),
        ([assistant(call(identity="a"), call()), result("a"), result()], ["a", "call_1", "a", "call_1"]),
        ([assistant(call()), result(), assistant(call()), result()], ["call_1", "call_1", "call_2", "call_2"]),
        ([result()], [None]),
        ([assistant(call()), result(), result()], ["call_1", "call_1", None]),
        ([assistant(call(identity="")), result("")], ["call_1", "call_1"]),
    ],
)
def test_every_call_and_result_has_an_id_and_they_belong_together(
    messages: list[dict[str, Any]], expected: list[str | None]
) -> None:
    assert ids(messages) == expected
    assert ids(messages) == expected, "made up the same way each time, and nothing of the caller's is changed"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"a": "é"}, '{"a": "é"}'), (None, "{}"), ("", ""), ("{broken", "{broken"), ([1], "[1]"), ({}, "{}")],
)
def test_arguments_are_texts_on_the_wire(arguments: Any, text: str) -> None:
    assert arguments_text(arguments, "x") == text
    (made,) = complete_calls([assistant(call(identity="a", arguments=arguments))])
    assert made["tool_calls"][0]["function"]["arguments"] == text


def test_what_json_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"messages\[1\]\.tool_calls\[0\]\.function\.arguments\.x\[1\] is a set"):
        complete_calls([result("a"), assistant(call(identity="a", arguments={"x": [1, {2}]}))])


@pytest.mark.parametrize("odd", [None, "x", [1], [{"id": "a"}], [{"id": "a", "function": 3}]])
def test_what_are_no_calls_is_left_alone(odd: Any) -> None:
    message = {"role": "assistant", "content": "", "tool_calls": odd}
    (made,) = complete_calls([message])
    assert made["content"] == ""
