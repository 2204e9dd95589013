"""Histories in the forms that people keep: sent right, or refused with the place of what cannot be sent."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from llama_index.core.base.llms.types import CacheControl, CachePoint, TextBlock, ToolCallBlock
from llama_index.core.llms import ChatMessage

from zg_core import ConfigError

User, Assistant = HumanMessage, AIMessage
NOTE = {"type": "ephemeral"}


def call(identity: str, arguments: str, name: str = "f") -> dict[str, Any]:
    return {"type": "function", "id": identity, "function": {"name": name, "arguments": arguments}}


def asked(**arguments: Any) -> dict[str, Any]:
    return {"name": "f", "args": arguments, "id": "c1", "type": "tool_call"}


def li(role: str, content: Any = None, *, blocks: Any = None, **beside: Any) -> ChatMessage:
    if blocks is not None:
        return ChatMessage(role=role, blocks=blocks, additional_kwargs=beside)
    return ChatMessage(role=role, content=content, additional_kwargs=beside)


# name: LangChain's messages, what the provider has to get
LANGCHAIN: dict[str, tuple[list[Any], list[dict[str, Any]]]] = {
    "broken arguments go back as they came": (
        [
            Assistant("", invalid_tool_calls=[
                {"name": "f", "args": '{"city": "Os', "id": "c1", "error": "cut", "type": "invalid_tool_call"}
            ]),
            ToolMessage("bad arguments", tool_call_id="c1"),
        ],
        [
            {"role": "assistant", "content": "", "tool_calls": [call("c1", '{"city": "Os')]},
            {"role": "tool", "tool_call_id": "c1", "content": "bad arguments"},
        ],
    ),
    "a result as a list of texts": (
        [Assistant("", tool_calls=[asked(city="Oslo")]), ToolMessage(
            [{"type": "text", "text": "sunny", "id": "lc_1"}, {"type": "text", "text": "warm"}], tool_call_id="c1"
        )],
        [
            {"role": "assistant", "content": "", "tool_calls": [call("c1", '{"city": "Oslo"}')]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny\nwarm"},
        ],
    ),
    "a character in two halves": (
        [Assistant("Hi \ud83d\ude00"), User("\ud83d half")],
        [{"role": "assistant", "content": "Hi 😀"}, {"role": "user", "content": "\ufffd half"}],
    ),
    "half a character inside arguments": (
        [Assistant("", tool_calls=[asked(city="\udc00")])],
        [{"role": "assistant", "content": "", "tool_calls": [call("c1", '{"city": "\ufffd"}')]}],
    ),
    "a block without a type": ([User([{"text": "hi"}])], [{"role": "user", "content": "hi"}]),
    "blocks of another API": (
        [
            User([{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://x/y.png"}]),
            Assistant([{"type": "output_text", "text": "I see", "annotations": []}]),
        ],
        [
            {"role": "user", "content": [
                {"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ]},
            {"role": "assistant", "content": "I see"},
        ],
    ),
    "plain text as a block of its own": (
        [User([{"type": "text-plain", "text": "hello", "mime_type": "text/plain"}])],
        [{"role": "user", "content": "hello"}],
    ),
    "a provider's own block": (
        [User([{"type": "non_standard", "value": {"type": "video_url", "video_url": {"url": "https://x/a.mp4"}}}])],
        [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://x/a.mp4"}}]}],
    ),
    "audio under its type's name": (
        [User([{"type": "audio", "base64": "AAAA", "mime_type": "audio/mpeg"}])],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}]}],
    ),
    "cache_control": (
        [
            SystemMessage([{"type": "text", "text": "long", "cache_control": NOTE}, {"type": "text", "text": "short"}]),
            User([{"type": "text", "text": "q"}, {"type": "image", "url": "https://x/y.png", "cache_control": NOTE}]),
            Assistant([{"type": "text", "text": "a", "cache_control": NOTE}], tool_calls=[asked()]),
            ToolMessage([{"type": "text", "text": "r", "cache_control": NOTE}], tool_call_id="c1"),
        ],
        [
            {"role": "system", "content": [
                {"type": "text", "text": "long", "cache_control": NOTE}, {"type": "text", "text": "short"},
            ]},
            {"role": "user", "content": [
                {"type": "text", "text": "q"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}, "cache_control": NOTE},
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "a", "cache_control": NOTE}],
             "tool_calls": [call("c1", "{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "r", "cache_control": NOTE}]},
        ],
    ),
    "OpenAI's first form of calls": (
        [
            Assistant("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
            FunctionMessage(name="f", content="ok"),
        ],
        [
            {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "ok"},
        ],
    ),
    "its arguments as an object": (
        [Assistant("", additional_kwargs={"function_call": {"name": "f", "arguments": {"a": 1}}})],
        [{"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": '{"a": 1}'}}],
    ),
    "calls and results without ids": (
        [
            Assistant("", tool_calls=[
                {"name": "f", "args": {}, "id": None}, {"name": "g", "args": {}, "id": None},
            ]),
            ToolMessage("of g", tool_call_id="", name="g"),
            ToolMessage("of f", tool_call_id=""),
        ],
        [
            {"role": "assistant", "content": "", "tool_calls": [call("call_1", "{}"), call("call_2", "{}", "g")]},
            {"role": "tool", "name": "g", "tool_call_id": "call_2", "content": "of g"},
            {"role": "tool", "tool_call_id": "call_1", "content": "of f"},
        ],
    ),
    "dictionaries with arguments as objects": (
        [
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}},
            ]},
            {"role": "tool", "content": "1", "tool_call_id": "c1"},
        ],
        [
            {"role": "assistant", "content": "", "tool_calls": [call("c1", '{"a": 1}')]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ],
    ),
    "names with blanks": (
        [User("hi", name="Ada B. (she)"), Assistant("ho", name="my agent")],
        [
            {"role": "user", "name": "Ada B. (she)", "content": "hi"},
            {"role": "assistant", "name": "my agent", "content": "ho"},
        ],
    ),
    "no messages": ([], []),
    "late and repeated system messages": (
        [SystemMessage("a"), SystemMessage("b"), User("hi"), SystemMessage("c")],
        [
            {"role": "system", "content": "a"}, {"role": "system", "content": "b"},
            {"role": "user", "content": "hi"}, {"role": "system", "content": "c"},
        ],
    ),
    "a result without a call": (
        [ToolMessage("x", tool_call_id="nobody")],
        [{"role": "tool", "tool_call_id": "nobody", "content": "x"}],
    ),
    "no number, which Python writes": (
        [Assistant("", tool_calls=[asked(x=float("nan"))])],
        [{"role": "assistant", "content": "", "tool_calls": [call("c1", '{"x": NaN}')]}],
    ),
    "a result as an object": ([ToolMessage({"a": 1}, tool_call_id="c1")], [
        {"role": "tool", "tool_call_id": "c1", "content": "{'a': 1}"},
    ]),
    "the sum of a stream": (
        [
            AIMessageChunk(
                "", tool_call_chunks=[{"name": "f", "args": '{"a": 1}', "id": "c1", "index": 0}],
                additional_kwargs={"reasoning_content": "hm"},
            ),
            ToolMessage("ok", tool_call_id="c1"),
        ],
        [
            {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [call("c1", '{"a": 1}')]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("history", LANGCHAIN)
def test_a_langchain_history_is_sent_right(lc: Any, keeper: Any, way: Any, history: str) -> None:
    messages, expected = LANGCHAIN[history]
    way.lc(lc(), messages)
    assert keeper.last["messages"] == expected
    way.lc(lc(), messages)
    assert keeper.bodies[0] == keeper.bodies[1], "the same history gives the same bytes"


def block(arguments: Any, identity: str | None = "c1", name: str = "f") -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=identity, tool_name=name, tool_kwargs=arguments)


LLAMAINDEX: dict[str, tuple[list[ChatMessage], list[dict[str, Any]]]] = {
    "broken arguments go back as they came": (
        [li("assistant", blocks=[block('{"city": "Os')]), li("tool", "bad", tool_call_id="c1")],
        [
            {"role": "assistant", "content": None, "tool_calls": [call("c1", '{"city": "Os')]},
            {"role": "tool", "tool_call_id": "c1", "content": "bad"},
        ],
    ),
    "a result as a list of texts": (
        [li("tool", blocks=[TextBlock(text="sunny"), TextBlock(text="warm")], tool_call_id="c1")],
        [{"role": "tool", "tool_call_id": "c1", "content": "sunny\nwarm"}],
    ),
    "a character in two halves": (
        [li("assistant", "Hi \ud83d\ude00"), li("user", "\ud83d half")],
        [{"role": "assistant", "content": "Hi 😀"}, {"role": "user", "content": "\ufffd half"}],
    ),
    "a point to cache up to": (
        [li("system", blocks=[
            TextBlock(text="long"), CachePoint(cache_control=CacheControl(type="ephemeral")), TextBlock(text="short"),
        ])],
        [{"role": "system", "content": [
            {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
            {"type": "text", "text": "short"},
        ]}],
    ),
    "arguments as objects, in a block and in the older form": (
        [
            li("assistant", blocks=[block({"a": 1})]),
            li("assistant", "", tool_calls=[
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}},
            ]),
        ],
        [
            {"role": "assistant", "content": None, "tool_calls": [call("c1", '{"a": 1}')]},
            {"role": "assistant", "content": None, "tool_calls": [call("c1", '{"a": 1}')]},
        ],
    ),
    "OpenAI's first form of calls": (
        [li("assistant", "", function_call={"name": "f", "arguments": {}}), li("function", "ok", name="f")],
        [
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "ok"},
        ],
    ),
    "calls and results without ids": (
        [
            li("assistant", blocks=[block({}, None), block({}, None, "g")]),
            li("tool", "of g", name="g"),
            li("tool", "of f"),
        ],
        [
            {"role": "assistant", "content": None, "tool_calls": [call("call_1", "{}"), call("call_2", "{}", "g")]},
            {"role": "tool", "name": "g", "tool_call_id": "call_2", "content": "of g"},
            {"role": "tool", "tool_call_id": "call_1", "content": "of f"},
        ],
    ),
    "names with blanks": ([li("user", "hi", name="Ada B.")], [{"role": "user", "name": "Ada B.", "content": "hi"}]),
    "no messages": ([], []),
    "late and repeated system messages": (
        [li("system", "a"), li("system", "b"), li("user", "hi"), li("developer", "c")],
        [
            {"role": "system", "content": "a"}, {"role": "system", "content": "b"},
            {"role": "user", "content": "hi"}, {"role": "developer", "content": "c"},
        ],
    ),
    "a result without a call": ([li("tool", "x")], [{"role": "tool", "tool_call_id": "", "content": "x"}]),
    "a result of nothing": (
        [li("tool", None, tool_call_id="c")], [{"role": "tool", "tool_call_id": "c", "content": ""}],
    ),
    "no number, which Python writes": (
        [li("assistant", blocks=[block({"x": float("nan")})])],
        [{"role": "assistant", "content": None, "tool_calls": [call("c1", '{"x": NaN}')]}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("history", LLAMAINDEX)
def test_a_llamaindex_history_is_sent_right(li: Any, keeper: Any, way: Any, history: str) -> None:
    messages, expected = LLAMAINDEX[history]
    way.li(li(), messages)
    assert keeper.last["messages"] == expected
    way.li(li(), messages)
    assert keeper.bodies[0] == keeper.bodies[1], "the same history gives the same bytes"


WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
VALUES = {
    "datetime": WHEN,
    "date": WHEN.date(),
    "Decimal": decimal.Decimal("0.5"),
    "bytes": b"ab",
    "set": {1},
    "float32": np.float32(0.5),
    "int64": np.int64(1),
    "ndarray": np.zeros(2),
    "object": object(),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_json_lacks_is_named_with_its_place(lc: Any, li: Any, keeper: Any, way: Any, kind: str) -> None:
    value = VALUES[kind]
    model, llm = lc(), li()
    asks: dict[str, Any] = {
        "messages[1].tool_calls[0].args.when[0]": lambda: way.lc(
            model, [User("w?"), Assistant("", tool_calls=[asked(when=[value])])]
        ),
        "messages[0].content[0].note": lambda: way.lc(model, [User([{"type": "text", "text": "a", "note": value}])]),
        "messages[1].tool_calls[0].function.arguments.when": lambda: way.li(
            llm, [ChatMessage("w?"), ChatMessage(role="assistant", blocks=[block({"when": value})])]
        ),
        "logit_bias.x": lambda: way.lc(model, "q", logit_bias={"x": value}),
        "user": lambda: way.li(llm, [ChatMessage("q")], user=value),
        "temperature": lambda: way.lc(model, "q", temperature=value),
        "seed": lambda: way.lc(lc(model_kwargs={"seed": value}), "q"),
        "top_k": lambda: way.li(llm, [ChatMessage("q")], additional_kwargs={"top_k": value}),
    }
    for place, ask in asks.items():
        with pytest.raises(ConfigError) as caught:
            ask()
        assert f"{place} is a {kind}" in caught.value.message
        assert caught.value.hint
    assert not keeper.bodies


def test_numbers_of_numpy_that_are_pythons_too_are_sent(lc: Any, li: Any, keeper: Any, way: Any) -> None:
    way.lc(lc(temperature=np.float64(0.5), max_tokens=np.int64(7)), "q")
    assert (keeper.last["temperature"], keeper.last["max_tokens"]) == (0.5, 7)
    way.lc(lc(temperature=np.float32(0.5)), "q", top_p=np.float64(0.5))
    assert (keeper.last["temperature"], keeper.last["top_p"]) == (0.5, 0.5)
    way.li(li(temperature=np.float64(0.5)), [ChatMessage("q")], top_p=np.float64(0.25))
    assert (keeper.last["temperature"], keeper.last["top_p"]) == (0.5, 0.25)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "path": "/a/b.png"}],
        [{"type": "video", "url": "https://x/a.mp4"}],
        [{"type": "audio", "url": "https://x/a.wav"}],
        [{"type": "file", "url": "https://x/a.pdf", "mime_type": "application/pdf"}],
        [{"type": "image", "base64": b"abc", "mime_type": "image/png"}],
    ],
    ids=str,
)
def test_a_block_that_cannot_be_sent_is_refused_without_its_content(
    lc: Any, keeper: Any, way: Any, content: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        way.lc(lc(), [User(content)])
    assert caught.value.code in ("bad_message", "bad_image")
    assert "https://x" not in str(caught.value)
    assert "/a/b.png" not in str(caught.value)
    assert not keeper.bodies
