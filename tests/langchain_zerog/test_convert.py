"""Messages on their way out, replies on their way in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel
from typing_extensions import TypedDict

from langchain_zerog import receipt_of
from langchain_zerog._convert import chat_result, usage_metadata
from langchain_zerog._history import openai_messages
from langchain_zerog._schemas import is_schema_class, openai_response_format
from zg_core.calls.call import Reply
from zg_core.errors import ConfigError, RequestError
from zg_core.frameworks.tool_calls import call_id
from zg_core.receipts.model import Receipt

CALL = {"name": "add", "args": {"b": 2, "a": "é"}, "id": "call_1", "type": "tool_call"}
WIRE_CALL = {"type": "function", "id": "call_1", "function": {"name": "add", "arguments": '{"b": 2, "a": "é"}'}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("Be terse."), {"role": "system", "content": "Be terse."}),
        (HumanMessage("Hi", name="ada"), {"role": "user", "name": "ada", "content": "Hi"}),
        (ChatMessage("Hi", role="developer"), {"role": "developer", "content": "Hi"}),
        (AIMessage("Yes."), {"role": "assistant", "content": "Yes."}),
        (AIMessage("", tool_calls=[CALL]), {"role": "assistant", "tool_calls": [WIRE_CALL], "content": ""}),
        (
            AIMessage("", additional_kwargs={"refusal": "I will not."}),
            {"role": "assistant", "refusal": "I will not.", "content": ""},
        ),
        (
            AIMessage("4", additional_kwargs={"reasoning_content": "2 and 2"}),
            {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"},
        ),
        (
            AIMessage(
                "4",
                additional_kwargs={"reasoning_content": "2 and 2", "reasoning_details": [{"signature": "s"}]},
                response_metadata={"reasoning_name": "reasoning"},
            ),
            {"role": "assistant", "content": "4", "reasoning": "2 and 2", "reasoning_details": [{"signature": "s"}]},
        ),
        (
            AIMessage([{"type": "reasoning", "reasoning": "2 and 2"}, {"type": "text", "text": "4"}]),
            {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"},
        ),
        (
            ToolMessage("no such city", tool_call_id="call_1", status="error", name="weather"),
            {"role": "tool", "name": "weather", "tool_call_id": "call_1", "content": "no such city"},
        ),
    ],
    ids=["system", "name", "role", "assistant", "tool call", "refusal", "reasoning", "reasoning of another name",
         "reasoning in blocks", "tool error"],
)  # fmt: skip
def test_a_message_goes_out_as_openai_writes_it(message: BaseMessage, expected: dict[str, Any]) -> None:
    assert openai_messages([message]) == [expected]


def test_messages_of_one_role_in_a_row_stay_separate() -> None:
    sent = openai_messages([HumanMessage("a"), HumanMessage("b"), AIMessage("c"), AIMessage("d")])
    assert [(entry["role"], entry["content"]) for entry in sent] == [
        ("user", "a"),
        ("user", "b"),
        ("assistant", "c"),
        ("assistant", "d"),
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {"type": "image", "base64": "QUJD", "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        ),
        (
            {"type": "image", "url": "https://example.com/cat.png"},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        ),
        (
            {"type": "audio", "base64": "QUJD", "mime_type": "audio/wav"},
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
        ),
        (
            {"type": "file", "base64": "QUJD", "mime_type": "application/pdf", "filename": "a.pdf"},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}},
        ),
    ],
    ids=["image", "image url", "audio", "file", "openai's own form"],
)
@pytest.mark.parametrize(
    "message",
    [HumanMessage, lambda content: ToolMessage(content, tool_call_id="call_1")],
    ids=["user", "tool"],
)
def test_media_go_out_as_content_parts(
    message: Callable[[list[Any]], BaseMessage], block: dict[str, Any], expected: dict[str, Any]
) -> None:
    (sent,) = openai_messages([message([{"type": "text", "text": "look"}, block])])
    assert sent["content"] == [{"type": "text", "text": "look"}, expected]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_call", "name": "add", "args": {}, "id": "call_1"},
        {"type": "tool_call_chunk", "name": "add", "args": "{}", "id": "call_1", "index": 0},
        {"type": "invalid_tool_call", "name": "add", "args": "{", "id": "call_1", "error": None},
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "non_standard", "value": {"anything": 1}},
        {"type": "server_tool_call", "name": "search", "args": {}, "id": "s"},
    ],
    ids=lambda block: str(block["type"]),
)
def test_blocks_that_no_server_takes_are_left_out_of_an_assistants_message(block: dict[str, Any]) -> None:
    message = AIMessage([block, {"type": "text", "text": "Done.", "index": 1}])
    assert openai_messages([message]) == [{"role": "assistant", "content": "Done."}]
    assert message.content[0] == block, "the user's message was changed"


def test_a_v1_reply_that_is_nothing_but_a_tool_call_goes_back_whole() -> None:
    message = AIMessage([{"type": "tool_call", "name": "add", "args": {}, "id": "call_1"}], tool_calls=[CALL])
    assert openai_messages([message]) == [{"role": "assistant", "tool_calls": [WIRE_CALL], "content": ""}]


def test_anthropics_tool_blocks_become_tool_calls_and_results() -> None:
    asked = AIMessage(
        [{"type": "text", "text": "Wait."}, {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}]
    )
    told = HumanMessage([{"type": "tool_result", "tool_use_id": "t", "content": "ok"}])
    sent = openai_messages([asked, told])
    assert sent[0]["tool_calls"] == [
        {"type": "function", "id": "t", "function": {"name": "f", "arguments": '{"x": 1}'}}
    ]
    assert sent[1] == {"role": "tool", "tool_call_id": "t", "content": "ok"}


def test_an_invalid_tool_call_goes_back_so_that_its_error_message_is_no_orphan() -> None:
    broken = {"type": "invalid_tool_call", "name": "add", "args": '{"a": ', "id": "call_2", "error": "cut off"}
    sent = openai_messages(
        [
            AIMessage("first"),
            AIMessage("", tool_calls=[CALL], invalid_tool_calls=[broken]),
            ToolMessage("3", tool_call_id="call_1"),
            ToolMessage("not JSON", tool_call_id="call_2", status="error"),
        ]
    )
    assert "tool_calls" not in sent[0]
    assert sent[1]["tool_calls"] == [
        WIRE_CALL,
        {"type": "function", "id": "call_2", "function": {"name": "add", "arguments": '{"a": '}},
    ]


def test_a_block_that_cannot_be_understood_is_an_error_of_ours() -> None:
    with pytest.raises(ConfigError, match="a message cannot be sent") as caught:
        openai_messages([HumanMessage([{"type": "image", "nothing": "here"}])])
    assert caught.value.code == "bad_message"
    assert "content blocks" in caught.value.hint


# response formats


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class City(TypedDict):
    """A city."""

    name: str


def test_a_class_becomes_a_json_schema_format_with_its_fields_in_order() -> None:
    wanted = openai_response_format(Person, strict=True)
    assert wanted["type"] == "json_schema"
    schema = wanted["json_schema"]
    assert (schema["name"], schema["description"], schema["strict"]) == ("Person", "A person.", True)
    assert list(schema["schema"]["properties"]) == ["name", "age"]


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        (City, "City"),
        ({"title": "town", "description": "d", "type": "object", "properties": {"x": {"type": "string"}}}, "town"),
    ],
    ids=["typed dictionary", "json schema"],
)
def test_other_schemas_become_a_format_too(schema: Any, name: str) -> None:
    wanted = openai_response_format(schema)
    assert wanted["json_schema"]["name"] == name
    assert "strict" not in wanted["json_schema"]


@pytest.mark.parametrize(
    "form", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}]
)
def test_a_format_stays_as_it_is(form: dict[str, Any]) -> None:
    assert openai_response_format(form) == form


def test_the_inner_part_of_a_format_is_wrapped() -> None:
    inner = {"name": "n", "schema": {"type": "object"}}
    assert openai_response_format(inner) == {"type": "json_schema", "json_schema": inner}


def test_schema_classes_are_told_from_other_values() -> None:
    assert is_schema_class(Person)
    assert is_schema_class(City)
    assert not is_schema_class({"type": "json_object"})
    assert not is_schema_class(None)


# replies


def reply(receipt: Receipt, message: dict[str, Any] | None = None, **body: Any) -> Reply:
    """A provider's reply."""
    said = {"role": "assistant", "content": "Hi.", **(message or {})}
    whole = {"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    return Reply({**whole, **body}, receipt)


def test_a_reply_becomes_a_message_with_everything_it_said(make_receipt: Callable[..., Receipt]) -> None:
    receipt = make_receipt()
    said = {"content": "Hi.", "reasoning_content": "They greet me.", "refusal": None}
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    result = chat_result(reply(receipt, said, usage=usage, system_fingerprint="fp_1"))
    (generation,) = result.generations
    message = generation.message
    assert message.content == "Hi."
    assert message.additional_kwargs == {"reasoning_content": "They greet me."}
    assert message.usage_metadata == {
        "input_tokens": 7,
        "output_tokens": 5,
        "total_tokens": 12,
        "input_token_details": {"cache_read": 3, "audio": 0},
        "output_token_details": {"reasoning": 2},
    }
    assert message.response_metadata == {
        "model_name": "m",
        "model_provider": "zerog",
        "id": "chatcmpl-1",
        "system_fingerprint": "fp_1",
        "zerog": receipt.metadata(),
    }
    assert generation.generation_info == {"finish_reason": "stop"}
    assert receipt_of(message) is receipt
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]


def test_a_reply_without_a_model_name_is_told_by_its_receipt(make_receipt: Callable[..., Receipt]) -> None:
    result = chat_result(reply(make_receipt(model="asked-for"), model=None))
    assert result.generations[0].message.response_metadata["model_name"] == "asked-for"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, ""),
        ("", ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c", {"x": 1}], "abc"),
        (7, ""),
    ],
    ids=["null", "empty", "parts", "neither"],
)
def test_content_is_always_text(make_receipt: Callable[..., Receipt], content: Any, expected: str) -> None:
    assert chat_result(reply(make_receipt(), {"content": content})).generations[0].message.content == expected


def test_a_refusal_is_kept(make_receipt: Callable[..., Receipt]) -> None:
    message = chat_result(reply(make_receipt(), {"content": None, "refusal": "No."})).generations[0].message
    assert message.additional_kwargs == {"refusal": "No."}


@pytest.mark.parametrize("role", [{}, {"role": "assistant"}])
@pytest.mark.parametrize("beside", [{"x": 0}, {"x": False}, {"x": 0, "refusal": None}])
def test_what_is_said_with_a_zero_is_kept(
    make_receipt: Callable[..., Receipt], role: dict[str, Any], beside: dict[str, Any]
) -> None:
    message = chat_result(reply(make_receipt(), {**role, "content": "a", **beside})).generations[0].message
    assert (message.content, message.additional_kwargs) == ("a", {"x": beside["x"]})


def test_logprobs_are_kept(make_receipt: Callable[..., Receipt]) -> None:
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    choices = [{"message": {"content": "Hi"}, "finish_reason": "stop", "logprobs": logprobs}]
    (generation,) = chat_result(reply(make_receipt(), choices=choices)).generations
    assert generation.generation_info == {"finish_reason": "stop", "logprobs": logprobs}


def tool_calls(make_receipt: Callable[..., Receipt], *calls: dict[str, Any]) -> AIMessage:
    """The message for a reply with these tool calls."""
    message = chat_result(reply(make_receipt(), {"content": None, "tool_calls": list(calls)})).generations[0].message
    assert isinstance(message, AIMessage)
    return message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('{"a": "日本", "b": [1]}', {"a": "日本", "b": [1]}), ("", {}), (None, {}), ("{}", {}), ({"a": 1}, {"a": 1})],
    ids=["text", "empty", "null", "no arguments", "object"],
)
def test_tool_arguments_are_parsed(
    make_receipt: Callable[..., Receipt], arguments: Any, expected: dict[str, Any]
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = tool_calls(make_receipt, call)
    assert message.tool_calls == [{"name": "f", "args": expected, "id": "call_1", "type": "tool_call"}]
    assert message.invalid_tool_calls == []


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "nul", '"text"', "{'a': 1}"])
def test_arguments_that_are_no_object_make_an_invalid_tool_call(
    make_receipt: Callable[..., Receipt], arguments: str
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = tool_calls(make_receipt, call)
    assert message.tool_calls == []
    (invalid,) = message.invalid_tool_calls
    assert (invalid["name"], invalid["args"], invalid["id"]) == ("f", arguments, "call_1")
    assert invalid["error"]


@pytest.mark.parametrize("missing", [None, "", "null"], ids=["null", "empty", "the word null"])
def test_a_tool_call_without_an_id_gets_one_of_its_own(make_receipt: Callable[..., Receipt], missing: Any) -> None:
    call = {"id": missing, "function": {"name": "f", "arguments": "{}"}}
    ids = [made["id"] for made in tool_calls(make_receipt, call, call).tool_calls]
    assert all(made is not None and made.startswith("call_") for made in ids)
    assert len(set(ids)) == 2
    assert call_id(missing) is None


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": None},
        {"choices": [{"index": 0}]},
        {"choices": ["x"]},
        {"choices": [], "error": "boom"},
    ],
    ids=["none", "null", "no message", "no object", "an error"],
)
def test_a_reply_without_an_answer_is_an_error_with_its_receipt(
    make_receipt: Callable[..., Receipt], body: dict[str, Any]
) -> None:
    receipt = make_receipt()
    with pytest.raises(RequestError, match="holds no answer") as caught:
        chat_result(reply(receipt, **body))
    assert caught.value.code == "malformed_reply"
    assert caught.value.receipt is receipt
    assert json.loads(caught.value.text)["choices"] == body["choices"]
    assert str(body.get("error", "")) in str(caught.value)


@pytest.mark.parametrize(
    "usage", [None, "x", {}, {"prompt_tokens": "7"}, {"prompt_tokens": True}, {"prompt_tokens": -1}]
)
def test_usage_that_is_no_usage_is_left_out(usage: Any) -> None:
    assert usage_metadata(usage) is None


def test_a_missing_total_is_the_sum() -> None:
    assert usage_metadata({"prompt_tokens": 2, "completion_tokens": 3, "prompt_tokens_details": None}) == {
        "input_tokens": 2,
        "output_tokens": 3,
        "total_tokens": 5,
    }
