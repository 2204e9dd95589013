"""Events of a streamed reply on their way to chunks, servers of every habit included."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_zerog._stream import ChunkMaker, _Chunks
from zg_core.receipts.model import Receipt

Total = Callable[[list[AIMessageChunk]], AIMessageChunk]


def event(delta: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
    """One event with one choice."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": {} if delta is None else delta, "finish_reason": None, **choice}],
    }


def chunks_of(events: list[dict[str, Any]], receipt: Receipt, version: str | None = None) -> list[ChatGenerationChunk]:
    """The chunks of a whole stream."""
    maker = ChunkMaker(version)
    return [*(chunk for e in events if (chunk := maker.chunk(e)) is not None), maker.last(receipt)]


def test_a_chunk_of_text_is_what_langchain_would_make() -> None:
    first, second = (ChunkMaker().chunk(event({"content": text})) for text in ("one", "two"))
    assert first == ChatGenerationChunk(message=AIMessageChunk(content="one"))
    assert second is not None
    assert second.model_dump() == ChatGenerationChunk(message=AIMessageChunk(content="two")).model_dump()
    plain = AIMessageChunk(content="two")
    for made, expected in ((second.message, plain), (second, ChatGenerationChunk(message=plain))):
        assert made.model_fields_set == expected.model_fields_set
        assert made.__pydantic_extra__ == expected.__pydantic_extra__
        assert made.__pydantic_private__ == expected.__pydantic_private__
        assert vars(made).keys() == vars(expected).keys()
        assert pickle.loads(pickle.dumps(made)) == expected


def test_chunks_of_text_share_nothing_that_can_change() -> None:
    first, second = (ChunkMaker().chunk(event({"content": "same"})) for _ in range(2))
    assert first is not None
    assert second is not None
    mutable = [name for name, value in vars(first.message).items() if isinstance(value, dict | list)]
    assert {"additional_kwargs", "response_metadata", "tool_calls", "tool_call_chunks"} <= set(mutable)
    assert [name for name in mutable if getattr(first.message, name) is getattr(second.message, name)] == []


@pytest.fixture
def read(make_receipt: Callable[..., Receipt], total: Total) -> Callable[..., AIMessageChunk]:
    """The message that events add up to."""

    def add_up(*events: dict[str, Any]) -> AIMessageChunk:
        return total([chunk.message for chunk in chunks_of(list(events), make_receipt())])  # type: ignore[misc]

    return add_up


def fragment(arguments: Any = None, **call: Any) -> dict[str, Any]:
    """An event with one piece of a tool call."""
    name = call.pop("name", None)
    function = {} if name is None else {"name": name}
    if arguments is not None:
        function["arguments"] = arguments
    return event({"tool_calls": [{**call, "function": function}]})


def test_text_comes_as_it_is_said_and_the_rest_once_on_the_last_chunk(make_receipt: Callable[..., Receipt]) -> None:
    receipt = make_receipt()
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    chunks = chunks_of(
        [
            event({"role": "assistant", "content": ""}),
            event({"content": "Hel"}),
            event({"content": "lo"}),
            event(finish_reason="stop"),
            {"id": "chatcmpl-1", "model": "m", "choices": [], "usage": usage, "system_fingerprint": "fp"},
        ],
        receipt,
    )
    assert [chunk.message.content for chunk in chunks] == ["Hel", "lo", ""]
    *before, last = chunks
    for chunk in before:
        assert chunk.message.response_metadata == {}
        assert chunk.generation_info is None
        assert isinstance(chunk.message, AIMessageChunk)
        assert chunk.message.usage_metadata is None
        assert chunk.message.chunk_position is None
    assert isinstance(last.message, AIMessageChunk)
    assert last.message.chunk_position == "last"
    assert last.message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert last.generation_info == {"finish_reason": "stop"}
    assert last.message.response_metadata == {
        "model_name": "m",
        "model_provider": "zerog",
        "id": "chatcmpl-1",
        "system_fingerprint": "fp",
        "zerog": receipt.metadata(),
    }


def test_usage_in_every_event_counts_once(read: Callable[..., AIMessageChunk]) -> None:
    running = [{**event({"content": "a"}), "usage": {"prompt_tokens": 3, "completion_tokens": n}} for n in (1, 2, 3)]
    assert read(*running).usage_metadata == {"input_tokens": 3, "output_tokens": 3, "total_tokens": 6}


def test_a_null_usage_after_the_real_one_does_not_erase_it(read: Callable[..., AIMessageChunk]) -> None:
    real = {**event({"content": "a"}), "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    usage = read(real, {**event(), "usage": None}).usage_metadata
    assert usage is not None
    assert usage["input_tokens"] == 3


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_the_answer(read: Callable[..., AIMessageChunk], name: str) -> None:
    whole = read(event({name: "2 and "}), event({name: "2"}), event({"content": "4"}))
    assert (whole.content, whole.additional_kwargs) == ("4", {"reasoning_content": "2 and 2"})


def test_a_refusal_adds_up(read: Callable[..., AIMessageChunk]) -> None:
    assert read(event({"refusal": "I "}), event({"refusal": "won't"})).additional_kwargs == {"refusal": "I won't"}


def test_logprobs_add_up(make_receipt: Callable[..., Receipt]) -> None:
    pieces = [{"token": t, "logprob": -0.5, "bytes": None, "top_logprobs": []} for t in ("a", "b")]
    events = [event({"content": p["token"]}, logprobs={"content": [p], "refusal": None}) for p in pieces]
    first, second, last = chunks_of(events, make_receipt())
    whole = first + second + last
    assert whole.generation_info == {"logprobs": {"content": pieces, "refusal": None}}


@pytest.mark.parametrize(
    "odd",
    [{}, {"choices": None}, {"choices": []}, {"choices": ["x"]}, {"choices": [{"delta": None}]}, {"choices": [{}]}],
    ids=str,
)
def test_an_event_without_a_choice_adds_nothing(odd: dict[str, Any], read: Callable[..., AIMessageChunk]) -> None:
    assert read(event({"content": "a"}), odd, event({"content": "b"})).content == "ab"


def test_an_empty_stream_still_has_its_last_chunk(read: Callable[..., AIMessageChunk]) -> None:
    whole = read()
    assert (whole.content, whole.chunk_position) == ("", "last")
    assert whole.response_metadata["model_name"] == "some-model"


# tool calls

WANTED = [
    {"name": "add", "args": {"a": 1, "b": 2}, "type": "tool_call"},
    {"name": "mul", "args": {"a": 3}, "type": "tool_call"},
]
HABITS: dict[str, list[dict[str, Any]]] = {
    "as openai": [
        fragment("", index=0, id="call_a", type="function", name="add"),
        fragment('{"a": 1,', index=0),
        fragment('"b": 2}', index=0),
        fragment("", index=1, id="call_b", type="function", name="mul"),
        fragment('{"a": 3}', index=1),
    ],
    "no index": [
        fragment("", id="call_a", name="add"),
        fragment('{"a": 1,'),
        fragment('"b": 2}'),
        fragment("", id="call_b", name="mul"),
        fragment('{"a": 3}'),
    ],
    "null index": [
        fragment("", index=None, id="call_a", name="add"),
        fragment('{"a": 1,', index=None, id=None),
        fragment('"b": 2}', index=None, id=None),
        fragment('{"a": 3}', index=None, id="call_b", name="mul"),
    ],
    "always 0, whole calls": [
        fragment('{"a": 1, "b": 2}', index=0, id="call_a", name="add"),
        fragment('{"a": 3}', index=0, id="call_b", name="mul"),
    ],
    "always 0, in pieces": [
        fragment('{"a": 1,', index=0, id="call_a", name="add"),
        fragment('"b": 2}', index=0),
        fragment("", index=0, id="call_b", name="mul"),
        fragment('{"a": 3}', index=0),
    ],
    "no index, no id, whole calls": [
        fragment('{"a": 1, "b": 2}', name="add"),
        fragment('{"a": 3}', name="mul"),
    ],
    "index 0, no id, whole calls": [
        fragment('{"a": 1, "b": 2}', index=0, name="add"),
        fragment('{"a": 3}', index=0, name="mul"),
    ],
    "id and name in every piece": [
        fragment('{"a": 1,', index=0, id="call_a", name="add"),
        fragment('"b": 2}', index=0, id="call_a", name="add"),
        fragment('{"a"', index=1, id="call_b", name="mul"),
        fragment(": 3}", index=1, id="call_b", name="mul"),
    ],
    "name in every piece, no id": [
        fragment('{"a": 1,', index=0, name="add"),
        fragment('"b": 2}', index=0, name="add"),
        fragment('{"a"', index=1, name="mul"),
        fragment(": 3}", index=1, name="mul"),
    ],
    "ids empty or null in words": [
        fragment('{"a": 1,', index=0, id="", name="add"),
        fragment('"b": 2}', index=0, id="null"),
        fragment('{"a": 3}', index=1, id="null", name="mul"),
    ],
    "pieces of both in turn": [
        fragment('{"a": 1,', index=0, id="call_a", name="add"),
        fragment('{"a"', index=1, id="call_b", name="mul"),
        fragment('"b": 2}', index=0),
        fragment(": 3}", index=1),
    ],
    "both in one event": [
        event(
            {
                "tool_calls": [
                    {"index": 0, "id": "call_a", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}},
                    {"index": 1, "id": "call_b", "function": {"name": "mul", "arguments": '{"a": 3}'}},
                ]
            }
        )
    ],
    "numbers that begin at 1": [
        fragment('{"a": 1, "b": 2}', index=1, id="call_a", name="add"),
        fragment('{"a": 3}', index=2, id="call_b", name="mul"),
    ],
    "arguments as an object": [
        fragment({"a": 1, "b": 2}, index=0, id="call_a", name="add"),
        fragment({"a": 3}, index=1, id="call_b", name="mul"),
    ],
    "the name in pieces": [
        fragment(None, index=0, id="call_a", name="a"),
        fragment('{"a": 1, "b": 2}', index=0, name="dd"),
        fragment('{"a": 3}', index=1, id="call_b", name="mul"),
    ],
    "a name that comes late": [
        fragment(None, index=0, id="call_a"),
        fragment('{"a": 1, "b": 2}', index=0, name="add"),
        fragment('{"a": 3}', index=1, id="call_b", name="mul"),
    ],
}


@pytest.mark.parametrize("habit", HABITS)
def test_tool_calls_are_put_together_whatever_the_servers_habit(
    habit: str, read: Callable[..., AIMessageChunk]
) -> None:
    whole = read(*HABITS[habit], event(finish_reason="tool_calls"))
    found = [{name: value for name, value in call.items() if name != "id"} for call in whole.tool_calls]
    assert found == WANTED, f"{habit}: {whole.tool_call_chunks}"
    assert whole.invalid_tool_calls == []
    ids = [call["id"] for call in whole.tool_calls]
    assert len({i for i in ids if i}) == 2, f"{habit}: every call needs an id of its own, got {ids}"
    if '"call_a"' in json.dumps(HABITS[habit]):
        assert ids == ["call_a", "call_b"]


def test_two_calls_without_arguments_or_ids_stay_two(read: Callable[..., AIMessageChunk]) -> None:
    whole = read(fragment("", name="ping"), fragment("", name="pong"))
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("ping", {}), ("pong", {})]


def test_two_equal_calls_stay_two(read: Callable[..., AIMessageChunk]) -> None:
    whole = read(fragment('{"x": 1}', index=0, name="roll"), fragment('{"x": 1}', index=0, name="roll"))
    assert [call["args"] for call in whole.tool_calls] == [{"x": 1}, {"x": 1}]


@pytest.mark.parametrize("junk", [["x"], [None], "x", [{}], [{"function": None}]], ids=str)
def test_tool_calls_that_are_none_do_not_break_the_stream(junk: Any, read: Callable[..., AIMessageChunk]) -> None:
    whole = read(event({"content": "a", "tool_calls": junk}), event({"content": "b"}))
    assert (whole.content, whole.tool_calls, whole.invalid_tool_calls) == ("ab", [], [])


@given(cuts=st.lists(st.integers(1, 40), max_size=8), indexed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_arguments_survive_any_cut(cuts: list[int], indexed: bool) -> None:
    arguments = json.dumps({"text": 'He said "{é}" 日本', "n": [1, 2]}, ensure_ascii=False)
    places = [0, *sorted({min(cut, len(arguments)) for cut in cuts}), len(arguments)]
    pieces = [arguments[a:b] for a, b in pairwise(places)]
    extra: dict[str, Any] = {"index": 0} if indexed else {}
    maker = ChunkMaker()
    made = [maker.chunk(fragment("", id="call_1", name="f", **extra))]
    made += [maker.chunk(fragment(piece, **extra)) for piece in pieces]
    whole: Any = None
    for chunk in made:
        assert chunk is not None
        whole = chunk.message if whole is None else whole + chunk.message
    assert whole.tool_calls == [{"name": "f", "args": json.loads(arguments), "id": "call_1", "type": "tool_call"}]


def test_under_v1_tool_calls_keep_clear_of_the_numbers_of_text_blocks(make_receipt: Callable[..., Receipt]) -> None:
    chunks = chunks_of([event({"content": "a"}), *HABITS["as openai"]], make_receipt(), "v1")
    numbers = {call["index"] for c in chunks for call in c.message.tool_call_chunks}  # type: ignore[attr-defined]
    assert numbers == {1000, 1001}


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=6,
        ),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_arguments_that_were_cut_off_make_no_call(arguments: dict[str, Any], data: st.DataObject) -> None:
    whole = json.dumps(arguments, ensure_ascii=data.draw(st.booleans()))
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    for said, valid in ((whole, True), (cut, False)):
        merger = _Chunks(0)
        chunks = merger.take({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": said}}]})
        message = AIMessageChunk("", tool_call_chunks=chunks) + AIMessageChunk("", tool_call_chunks=merger.spoil())
        assert isinstance(message, AIMessageChunk)
        assert [call["args"] for call in message.tool_calls] == ([arguments] if valid else [])
        assert len(message.invalid_tool_calls) == (0 if valid else 1)
