"""What messages hold, whatever the server's habits: streamed or not, in the v0 and in the v1 format."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages import content as standard

from langchain_zerog import ChatZeroG
from zg_core.localnet import LocalNet

Make = Callable[..., ChatZeroG]
CHAT = "/v1/proxy/chat/completions"
REFUSAL = {"type": "refusal", "refusal": "I will not."}
REFUSED = REFUSAL if hasattr(standard, "RefusalContentBlock") else {"type": "non_standard", "value": REFUSAL}


class Scripted:
    """The model "scripted", asked in one way and in one format."""

    def __init__(self, model: ChatZeroG, script: Any, talk: Any, total: Any, way: str) -> None:
        self.model, self.script, self.talk, self.total, self.way = model, script, talk, total, way

    def says(self, message: dict[str, Any], *deltas: dict[str, Any], finish: str = "stop") -> AIMessage:
        """The message made of a reply `message`, or of a stream of `deltas` (by default the message itself)."""
        about = {"id": "chatcmpl-1", "model": "scripted"}
        self.script.body = {
            **about,
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
        }
        self.script.events = [
            {**about, "choices": [{"index": 0, "delta": delta}]} for delta in (deltas or (message,))
        ] + [{**about, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}]
        if self.way == "invoke":
            made: AIMessage = self.talk.invoke(self.model, "Hello")
        else:
            made = self.total(self.talk.stream(self.model, "Hello"))
        return made


@pytest.fixture(params=["v0", "v1"])
def version(request: pytest.FixtureRequest) -> str:
    made: str = request.param
    return made


@pytest.fixture(params=["invoke", "stream"])
def scripted(
    request: pytest.FixtureRequest, make_model: Make, net: LocalNet, script: Any, talk: Any, total: Any, version: str
) -> Scripted:
    model = make_model(provider=net.providers[2].address, verify="require", output_version=version)
    return Scripted(model, script, talk, total, request.param)


def said(message: AIMessage) -> list[tuple[str, Any]]:
    """The content blocks as kind and what they say."""
    words = ("reasoning", "text", "refusal", "name", "value")
    return [(block["type"], next((block[w] for w in words if w in block), None)) for block in message.content_blocks]  # type: ignore[literal-required]


# what the model thinks, says, refuses


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_beside_the_answer(scripted: Scripted, name: str) -> None:
    message = scripted.says(
        {name: "They greet me.", "content": "Hi there."}, {name: "They "}, {name: "greet me."}, {"content": "Hi "},
        {"content": "there."},
    )  # fmt: skip
    assert said(message) == [("reasoning", "They greet me."), ("text", "Hi there.")]
    assert message.text == "Hi there."
    assert message.additional_kwargs.get("reasoning_content") == "They greet me."


def test_both_names_of_reasoning_at_once_are_one_thought(scripted: Scripted) -> None:
    message = scripted.says({"reasoning": "Hm.", "reasoning_content": "Hm.", "content": "Hi."})
    assert said(message) == [("reasoning", "Hm."), ("text", "Hi.")]


def test_reasoning_before_a_tool_call(scripted: Scripted) -> None:
    call = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    message = scripted.says(
        {"content": None, "reasoning": "I add.", "tool_calls": [call]}, {"reasoning": "I add."}, {"tool_calls": [call]},
        finish="tool_calls",
    )  # fmt: skip
    assert said(message) == [("reasoning", "I add."), ("tool_call", "add")]
    assert message.tool_calls == [{"name": "add", "args": {"a": 1}, "id": "call_a", "type": "tool_call"}]


def test_a_refusal_is_a_block_and_no_text(scripted: Scripted) -> None:
    message = scripted.says({"content": None, "refusal": "I will not."}, {"refusal": "I will "}, {"refusal": "not."})
    assert message.text == ""
    assert message.additional_kwargs["refusal"] == "I will not."
    assert [{k: v for k, v in b.items() if k != "index"} for b in message.content_blocks] == [REFUSED]


BROKEN = [
    '{"a": ',
    '{"path": "/srv/im',
    '{"path": "C:\\\\x\\',
    "{'a': 1}",
    '{"a": [1, ',
    '{"a": {"b": [{"c": "d',
    "text",
    "[1]",
]


@pytest.mark.parametrize("arguments", BROKEN)
@pytest.mark.parametrize("pieces", [1, 3])
def test_arguments_that_are_no_json_object_are_an_invalid_call(scripted: Scripted, arguments: str, pieces: int) -> None:
    def call(index: int, text: str, **more: Any) -> dict[str, Any]:
        return {"index": index, "type": "function", "function": {"arguments": text, **more.pop("function", {})}, **more}

    good = call(0, '{"b": 2}', id="call_a", function={"name": "sub"})
    size = -(-len(arguments) // pieces)
    parts = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    first, *rest = parts
    begun = call(1, first, id="call_b", function={"name": "add"})
    message = scripted.says(
        {"content": None, "tool_calls": [good, call(1, arguments, id="call_b", function={"name": "add"})]},
        {"tool_calls": [good]}, {"tool_calls": [begun]}, *({"tool_calls": [call(1, part)]} for part in rest),
        finish="length",
    )  # fmt: skip
    assert [(made["name"], made["args"]) for made in message.tool_calls] == [("sub", {"b": 2})]
    (invalid,) = message.invalid_tool_calls
    assert (invalid["name"], invalid["id"]) == ("add", "call_b")
    assert invalid["args"] is not None
    assert invalid["args"].startswith(arguments)
    assert len(invalid["args"]) <= len(arguments) + 3


def test_every_form_goes_back_to_a_strict_server(scripted: Scripted, make_model: Make, talk: Any) -> None:
    call = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    first = scripted.says(
        {"content": "I look.", "reasoning": "Hm.", "tool_calls": [call]},
        {"reasoning": "Hm."}, {"content": "I look."}, {"tool_calls": [call]}, finish="tool_calls",
    )  # fmt: skip
    refused = AIMessage("", additional_kwargs={"refusal": "No."})
    history = [HumanMessage("Add."), first, ToolMessage("1", tool_call_id="call_a"), refused, HumanMessage("Why?")]
    assert talk.invoke(make_model(verify="require"), history).text


# what users say


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "base64": PNG, "mime_type": "image/png"}
AUDIO = {"type": "audio", "base64": "UklGRiQAAABXQVZF", "mime_type": "audio/wav"}
CALL = {"name": "look", "args": {}, "id": "call_1", "type": "tool_call"}


@pytest.mark.parametrize(
    "messages",
    [
        [HumanMessage([{"type": "text", "text": "What is this?"}, IMAGE])],
        [HumanMessage(content_blocks=[{"type": "text", "text": "What is this?"}, IMAGE])],  # type: ignore[list-item]
        [HumanMessage([{"type": "text", "text": "Listen."}, AUDIO])],
        [HumanMessage("Look."), AIMessage("", tool_calls=[CALL]), ToolMessage([IMAGE], tool_call_id="call_1")],
        [
            HumanMessage("Look."),
            AIMessage("", tool_calls=[CALL]),
            ToolMessage("it broke", tool_call_id="call_1", status="error"),
        ],
        [SystemMessage("Be terse."), SystemMessage("Be kind."), HumanMessage("a"), HumanMessage("b")],
        [HumanMessage("Hi", name="ada"), AIMessage("Hello", name="bot"), HumanMessage("Bye", name="ada")],
        [HumanMessage("a"), AIMessage("b"), AIMessage("c"), HumanMessage("d")],
    ],
    ids=["image", "blocks v1", "audio", "tool image", "tool error", "system twice", "names", "assistant twice"],
)
def test_a_strict_server_takes_it_and_the_answer_is_proven(
    make_model: Make, talk: Any, version: str, messages: list[BaseMessage]
) -> None:
    before = json.dumps([message.model_dump() for message in messages], default=str)
    answer = talk.invoke(make_model(verify="require", output_version=version), messages)
    assert answer.response_metadata["zerog"]["status"] == "verified"
    assert json.dumps([message.model_dump() for message in messages], default=str) == before, "a message was changed"
