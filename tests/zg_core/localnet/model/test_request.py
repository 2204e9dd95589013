"""What a request may look like, and in which words a wrong one is refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.localnet.model.request import InvalidRequestError, read_chat_request

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()


def body(**changes) -> bytes:
    request = {"model": "m", "messages": [USER], **changes}
    return json.dumps({key: value for key, value in request.items() if value is not ...}).encode()


def calls(*ids):
    entries = [{"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": entries}


def result(call_id):
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


def part(**fields):
    return [{"role": "user", "content": [fields]}]


REFUSED = {
    "no model": ({"model": ...}, "model", "missing_required_parameter"),
    "an empty model": ({"model": ""}, "model", "missing_required_parameter"),
    "a model that is no string": ({"model": 3}, "model", "invalid_type"),
    "no messages": ({"messages": ...}, "messages", "missing_required_parameter"),
    "messages that are no list": ({"messages": "Hello"}, "messages", "invalid_type"),
    "an empty list of messages": ({"messages": []}, "messages", "empty_array"),
    "a message that is no object": ({"messages": ["Hello"]}, "messages[0]", "invalid_type"),
    "an unknown role": ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
    "a role that is no string": (
        {"messages": [{"role": ["user"], "content": "x"}]},
        "messages[0].role",
        "invalid_value",
    ),
    "a user without content": ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
    "content that is a number": ({"messages": [{"role": "user", "content": 4}]}, "messages[0].content", "invalid_type"),
    "an unknown part": ({"messages": part(type="video", video={})}, "messages[0].content[0].type", "invalid_value"),
    "a tool_call block as a part": (
        {"messages": [USER, {"role": "assistant", "content": [{"type": "tool_call", "id": "1"}]}]},
        "messages[1].content[0].type",
        "invalid_value",
    ),
    "an image in a system message": (
        {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]},
        "messages[0].content[0].type",
        "invalid_value",
    ),
    "an image over http": (
        {"messages": part(type="image_url", image_url={"url": "http://x/y.png"})},
        "messages[0].content[0].image_url.url",
        "invalid_value",
    ),
    "an image that is a PDF": (
        {"messages": part(type="image_url", image_url={"url": "data:application/pdf;base64,AAAA"})},
        "messages[0].content[0].image_url.url",
        None,
    ),
    "base64 that is none": (
        {"messages": part(type="image_url", image_url={"url": "data:image/png;base64,@@"})},
        "messages[0].content[0].image_url.url",
        "invalid_base64",
    ),
    "an unhashable image detail": (
        {"messages": part(type="image_url", image_url={"url": PNG, "detail": ["high"]})},
        "messages[0].content[0].image_url.detail",
        "invalid_value",
    ),
    "an unknown audio format": (
        {"messages": part(type="input_audio", input_audio={"data": "AAAA", "format": "midi"})},
        "messages[0].content[0].input_audio.format",
        "invalid_value",
    ),
    "a file without data": (
        {"messages": part(type="file", file={"filename": "a.pdf"})},
        "messages[0].content[0].file.file_data",
        "invalid_type",
    ),
    "a tool result without a call": ({"messages": [USER, result("x")]}, "messages[1].tool_call_id", None),
    "a tool result with another id": (
        {"messages": [USER, calls("a"), result("b")]},
        "messages[2].tool_call_id",
        None,
    ),
    "two results for one call": (
        {"messages": [USER, calls("a"), result("a"), result("a")]},
        "messages[3].tool_call_id",
        None,
    ),
    "a call without its result": ({"messages": [USER, calls("a", "b"), result("a"), USER]}, "messages[3].role", None),
    "a call without its result at the end": ({"messages": [USER, calls("a")]}, "messages[2].role", None),
    "two calls with one id": (
        {"messages": [USER, calls("a", "a"), result("a")]},
        "messages[1].tool_calls",
        "invalid_value",
    ),
    "a tool call by the user": (
        {"messages": [{**calls("a"), "role": "user"}]},
        "messages[0].tool_calls",
        None,
    ),
    "a tool call whose arguments are no text": (
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}],
                },
            ]
        },
        "messages[1].tool_calls[0].function.arguments",
        "invalid_type",
    ),
    "an unknown parameter": ({"verify": True}, "verify", "unknown_parameter"),
    "several choices": ({"n": 2}, "n", "unsupported_value"),
    "a temperature too high": ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    "a temperature too low": ({"temperature": -0.1}, "temperature", "decimal_below_min_value"),
    "a temperature in words": ({"temperature": "hot"}, "temperature", "invalid_type"),
    "a boolean top_p": ({"top_p": True}, "top_p", "invalid_type"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    "fewer than no tokens": ({"max_completion_tokens": -1}, "max_completion_tokens", "integer_below_min_value"),
    "half a token": ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    "five stop sequences": ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
    "an empty stop sequence": ({"stop": ""}, "stop", "invalid_value"),
    "stop sequences that are numbers": ({"stop": [1]}, "stop", "invalid_type"),
    "stream that is no boolean": ({"stream": "yes"}, "stream", "invalid_type"),
    "stream_options without stream": ({"stream_options": {"include_usage": True}}, "stream_options", None),
    "include_usage that is no boolean": (
        {"stream": True, "stream_options": {"include_usage": 1}},
        "stream_options.include_usage",
        "invalid_type",
    ),
    "top_logprobs without logprobs": ({"top_logprobs": 2}, "top_logprobs", None),
    "too many top_logprobs": ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    "an unknown reasoning effort": ({"reasoning_effort": "extreme"}, "reasoning_effort", "invalid_value"),
    "spoken answers": ({"modalities": ["text", "audio"]}, "modalities", "invalid_value"),
    "tools that are no list": ({"tools": {}}, "tools", "invalid_type"),
    "an empty list of tools": ({"tools": []}, "tools", "empty_array"),
    "two tools of one name": ({"tools": [TOOL, TOOL]}, "tools", "invalid_value"),
    "a tool of another type": ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
    "a tool without function": ({"tools": [{"type": "function"}]}, "tools[0].function", "invalid_type"),
    "a tool name with a space": (
        {"tools": [{"type": "function", "function": {"name": "my tool"}}]},
        "tools[0].function.name",
        "invalid_value",
    ),
    "parameters that are no object schema": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    "a schema with a wrong keyword": (
        {
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "parameters": {"type": "object", "properties": {"a": {"type": "string", "minLength": "2"}}},
                    },
                }
            ]
        },
        "tools[0].function.parameters.properties.a.minLength",
        "invalid_schema",
    ),
    "strict that is no boolean": (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": [1]}}]},
        "tools[0].function.strict",
        "invalid_type",
    ),
    "tool_choice without tools": ({"tool_choice": "auto"}, "tool_choice", None),
    "parallel_tool_calls without tools": ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
    "tool_choice any": ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice", "invalid_value"),
    "a named tool that is not there": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
        "invalid_value",
    ),
    "a tool_choice without a name": (
        {"tools": [TOOL], "tool_choice": {"type": "function"}},
        "tool_choice",
        "invalid_value",
    ),
    "an unknown response format": ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    "a json_schema without schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format.json_schema.schema",
        "invalid_type",
    ),
    "a json_schema without name": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
        "invalid_value",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    changes, param, code = REFUSED[case]
    with pytest.raises(InvalidRequestError) as refused:
        read_chat_request(body(**changes))
    assert (refused.value.param, refused.value.code) == (param, code), str(refused.value)


def test_error_body_has_the_shape_of_openai():
    with pytest.raises(InvalidRequestError) as refused:
        read_chat_request(body(temperature=9))
    assert json.loads(refused.value.body()) == {
        "error": {
            "message": "Invalid 'temperature': decimal above maximum value. "
            "Expected a value <= 2.0, but got 9 instead.",
            "type": "invalid_request_error",
            "param": "temperature",
            "code": "decimal_above_max_value",
        }
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[1]",
        b'"text"',
        b"\xff\xfe",
        b'{"model": NaN}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b"[" * 100_000,
    ],
    ids=["empty", "text", "list", "string", "not UTF-8", "NaN", "lone surrogate", "nested without end"],
)
def test_refuses_a_body_that_is_no_json_object(raw):
    with pytest.raises(InvalidRequestError, match="JSON body"):
        read_chat_request(raw)


ACCEPTED = {
    "nulls for everything optional": {"temperature": None, "tools": None, "stop": None, "stream_options": None},
    "roles in any order, repeated": {"messages": [USER, USER, {"role": "assistant", "content": "a"}] * 2},
    "a name": {"messages": [{**USER, "name": "example_user"}]},
    "the developer role": {"messages": [{"role": "developer", "content": "Be brief."}, USER]},
    "text parts with further keys": {"messages": part(type="text", text="x", cache_control={"type": "ephemeral"})},
    "an https image": {"messages": part(type="image_url", image_url={"url": "https://example.com/a.png"})},
    "a data image": {"messages": part(type="image_url", image_url={"url": PNG, "detail": "low"})},
    "audio": {"messages": part(type="input_audio", input_audio={"data": "AAAA", "format": "wav"})},
    "a file": {"messages": part(type="file", file={"file_data": "data:application/pdf;base64,AAAA"})},
    "a file by id": {"messages": part(type="file", file={"file_id": "file-1"})},
    "a refusal": {"messages": [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]},
    "an image in a tool result": {
        "messages": [
            USER,
            calls("a"),
            {
                "role": "tool",
                "tool_call_id": "a",
                "content": [{"type": "image_url", "image_url": {"url": PNG}}],
            },
        ]
    },
    "results in another order": {"messages": [USER, calls("a", "b"), result("b"), result("a")]},
    "the same id in two turns": {"messages": [USER, calls("a"), result("a"), calls("a"), result("a")]},
    "parameters of vLLM": {"top_k": 5, "chat_template_kwargs": {"enable_thinking": False}},
    "an empty list of stops": {"stop": []},
    "a tool without parameters": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "response_format text": {"response_format": {"type": "text"}},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepts(case):
    request = read_chat_request(body(**ACCEPTED[case]))
    assert request.model == "m"
    assert request.prompt_tokens > 0


def test_reads_what_the_model_needs():
    request = read_chat_request(
        body(
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "f"}},
            parallel_tool_calls=False,
            stop="END",
            max_tokens=5,
            max_completion_tokens=7,
            stream=True,
            stream_options={"include_usage": True},
            reasoning_effort="high",
        )
    )
    assert (request.tool_choice, request.tool_name, request.parallel_tool_calls) == ("named", "f", False)
    assert (request.stop, request.max_tokens, request.include_usage, request.thinks) == (("END",), 7, True, True)


def test_tools_are_offered_under_auto_unless_told_otherwise():
    assert read_chat_request(body(tools=[TOOL])).tool_choice == "auto"
    assert read_chat_request(body(tools=[TOOL], tool_choice="none")).tool_choice == "none"
    assert read_chat_request(body()).tool_choice == "none"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["messages", "tools", "tool_choice", "response_format", "stop", "n", "temperature", "stream", "stream_options"]
)


def refusal_of(raw):
    """The error body for a request, None if it is accepted; anything but a refusal gets out."""
    try:
        read_chat_request(raw)
    except InvalidRequestError as error:
        return json.loads(error.body())["error"]
    return None


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_whatever_json_says_is_read_or_refused_and_never_breaks(changes):
    refusal = refusal_of(body(**changes))
    assert refusal is None or refusal["message"], changes


@given(JSON)
def test_whatever_a_message_is_it_is_read_or_refused_and_never_breaks(value):
    for messages in ([value], [{"role": "user", "content": value}], [{"role": "assistant", "tool_calls": value}]):
        refusal = refusal_of(body(messages=messages))
        assert refusal is None or refusal["type"] == "invalid_request_error", messages
