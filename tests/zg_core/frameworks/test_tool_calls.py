"""True calls, cut into every shape that servers of the field send, come back as they were: no more, no fewer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zg_core.frameworks.tool_calls import ToolCallMerger, arguments_in, calls_in

Call = tuple[str, dict[str, Any]]
NAMES = ("get_weather", "ping", "f", "get_")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('aé"\\{}[] \n😀', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
CALLS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(["city", "x"]), VALUES, max_size=2)),
    min_size=1,
    max_size=4,
)


def text_of(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def pieces(text: str, places: list[int]) -> list[str]:
    """`text` in pieces, empty ones among them."""
    marks = sorted(place % (len(text) + 1) for place in places)
    return [text[a:b] for a, b in zip([0, *marks], [*marks, len(text)], strict=True)]


def part(index: Any = None, identity: Any = None, name: Any = None, arguments: Any = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"index": index, "id": identity, "type": "function" if identity else None}
    function = {"name": name, "arguments": arguments}
    entry["function"] = {key: value for key, value in function.items() if value is not None}
    return {key: value for key, value in entry.items() if value is not None}


# Each gives the fragments of one call, number n of the reply; `cut` cuts its arguments.
Cut = Callable[[str], list[str]]
Shape = Callable[[int, str, dict[str, Any], Cut], list[dict[str, Any]]]


def usual(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(n, f"c{n}", name, ""), *(part(n, arguments=piece) for piece in cut(text_of(arguments)))]


def with_the_first(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    first, *rest = cut(text_of(arguments))
    return [part(n, f"c{n}", name, first), *(part(n, arguments=piece) for piece in rest)]


def all_again(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(n, f"c{n}", name, piece) for piece in cut(text_of(arguments))]


def other_ids(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    made = [part(n, f"c{n}-{m}", None, piece) for m, piece in enumerate(cut(text_of(arguments)))]
    return [part(n, f"c{n}", name, ""), *made]


def other_ids_and_names(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    made = [part(n, f"c{n}-{m}", name, piece) for m, piece in enumerate(cut(text_of(arguments)))]
    return [*made, part(n, f"c{n}-last", name, "")]


def name_again_and_nothing(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [*all_again(n, name, arguments, cut), part(n, name=name, arguments=""), part(n, f"c{n}", name, None)]


def names_without_ids(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(n, None, name, piece) for piece in cut(text_of(arguments))]


def name_in_pieces(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    head = [part(n, f"c{n}", name[:1], ""), part(n, name=name[1:], arguments="")]
    return [*head, *(part(n, arguments=piece) for piece in cut(text_of(arguments)))]


def as_an_object(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(n, f"c{n}", name, arguments)]


def null_ids(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(n, "null", name, None), *(part(n, "", "", piece) for piece in cut(text_of(arguments)))]


def numbers_for_ids(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(str(n), 17, name, ""), *(part(n, 17, "", piece) for piece in cut(text_of(arguments)))]


def one_id_for_all(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(n, "call_0", name, ""), *(part(n, "call_0", None, piece) for piece in cut(text_of(arguments)))]


def nulls(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    head: dict[str, Any] = {"index": n, "id": f"c{n}", "type": None, "function": {"name": name, "arguments": None}}
    tail: dict[str, Any] = {"index": n, "id": None, "function": {"name": None, "arguments": None}}
    made = [{**tail, "function": {"name": None, "arguments": piece}} for piece in cut(text_of(arguments))]
    return [head, *made, tail, {"index": n}, {"index": n, "function": None}]


def all_zero(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(0, f"c{n}", name, piece) for piece in cut(text_of(arguments))]


def zero_then_arguments(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(0, f"c{n}", name, ""), *(part(0, arguments=piece) for piece in cut(text_of(arguments)))]


def whole_and_zero(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(0, f"c{n}", name, text_of(arguments))]


def no_number(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(None, f"c{n}", name, ""), *(part(arguments=piece) for piece in cut(text_of(arguments)))]


def no_number_and_ids(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(None, f"c{n}", name, ""), *(part(None, f"c{n}", None, piece) for piece in cut(text_of(arguments)))]


def whole_without_anything(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(None, None, name, text_of(arguments))]


def number_later(n: int, name: str, arguments: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    return [part(None, f"c{n}", name, ""), *(part(n, arguments=piece) for piece in cut(text_of(arguments)))]


NUMBERED: list[Shape] = [
    usual, with_the_first, all_again, other_ids, other_ids_and_names, name_again_and_nothing, names_without_ids,
    name_in_pieces, as_an_object, null_ids, numbers_for_ids, one_id_for_all, nulls,
]  # fmt: skip
IN_ORDER: list[Shape] = [
    *NUMBERED, all_zero, zero_then_arguments, whole_and_zero, no_number, no_number_and_ids, whole_without_anything,
    number_later,
]  # fmt: skip
CUTS = st.lists(st.integers(0, 200), max_size=4)


def got(calls: Any) -> list[Call]:
    assert len({call.id for call in calls}) == len(calls), "results are matched to calls by their ids"
    return [(call.name, arguments_in(call.arguments)) for call in calls]


def merged(deltas: list[list[dict[str, Any]]]) -> list[Call]:
    merger = ToolCallMerger()
    shown: dict[int, list[str]] = {}
    for delta in deltas:
        for fragment in merger.take({"tool_calls": delta}):
            entry = shown.setdefault(fragment.index, ["", "", ""])
            for place, value in enumerate((fragment.id, fragment.name, fragment.arguments)):
                entry[place] += value or ""
    # What was shown piece by piece adds up to the same.
    assert list(shown.values()) == [[call.id, call.name, call.arguments] for call in merger.calls]
    return got(merger.calls)


def grouped(fragments: list[dict[str, Any]], marks: list[int]) -> list[list[dict[str, Any]]]:
    """Some deltas hold several fragments."""
    places = sorted(mark % (len(fragments) + 1) for mark in marks)
    return [fragments[a:b] for a, b in zip([0, *places], [*places, len(fragments)], strict=True)]


@pytest.mark.parametrize("shape", IN_ORDER, ids=lambda shape: shape.__name__)
@given(calls=CALLS, places=CUTS, marks=CUTS, first=st.integers(0, 2))
@example(calls=[("ping", {}), ("ping", {})], places=[], marks=[], first=0)
@example(calls=[("f", {"x": 1}), ("f", {"x": 1})], places=[], marks=[], first=0)
def test_one_after_the_other(shape: Shape, calls: list[Call], places: list[int], marks: list[int], first: int) -> None:
    fragments = [
        each
        for n, (name, arguments) in enumerate(calls, first)
        for each in shape(n, name, arguments, lambda text: pieces(text, places))
    ]
    assert merged(grouped(fragments, marks)) == calls


@given(
    calls=st.lists(st.tuples(st.sampled_from(NUMBERED), CALLS.map(lambda calls: calls[0])), min_size=1, max_size=4),
    places=CUTS,
    order=st.lists(st.integers(0, 3), max_size=40),
)
def test_side_by_side_and_in_any_mixture(calls: list[tuple[Shape, Call]], places: list[int], order: list[int]) -> None:
    waiting = [
        shape(n, name, arguments, lambda text: pieces(text, places))
        for n, (shape, (name, arguments)) in enumerate(calls)
    ]
    fragments = [each.pop(0) for each in waiting]  # calls begin in their order
    fragments += [waiting[turn].pop(0) for turn in order if turn < len(waiting) and waiting[turn]]
    fragments += [one for each in waiting for one in each]
    assert merged([[fragment] for fragment in fragments]) == [call for _, call in calls]


@given(call=CALLS.map(lambda calls: calls[0]), places=CUTS, again=st.booleans())
def test_in_the_first_form(call: Call, places: list[int], again: bool) -> None:
    name, arguments = call
    merger = ToolCallMerger()
    merger.take({"function_call": {"name": name}})
    for piece in pieces(text_of(arguments), places):
        merger.take({"function_call": {"arguments": piece, **({"name": name} if again else {})}})
    assert got(merger.calls) == [call]
    assert got(calls_in({"function_call": {"name": name, "arguments": text_of(arguments)}})) == [call]


@given(calls=CALLS)
def test_whole(calls: list[Call]) -> None:
    forms: list[Callable[[dict[str, Any]], Any]] = [
        text_of,
        dict,
        lambda a: a or None,
        lambda a: text_of(a) if a else "",
    ]
    for form in forms:
        entries = [{"id": "x", "function": {"name": name, "arguments": form(a)}} for name, a in calls]
        assert got(calls_in({"tool_calls": entries, "function_call": {"name": "f"}})) == calls


CASES: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {
    "one id under two numbers is two calls": (
        [part(0, "a", "f", '{"x":1}'), part(1, "a", "f", '{"x":2}')], [("f", '{"x":1}'), ("f", '{"x":2}')],
    ),
    "another name under one number and id is another call": (
        [part(0, "a", "f", '{"x":1}'), part(0, "a", "g", '{"x":2}')], [("f", '{"x":1}'), ("g", '{"x":2}')],
    ),
    "another name with an id is no piece of a name": (
        [part(0, "a", "ping", ""), part(0, "b", "pong", "")], [("ping", ""), ("pong", "")],
    ),
    "a name without arguments is no second call": (
        [part(0, "a", "f", '{"x":1}'), part(0, None, "f", ""), part(0, "a", "f", ""), part(0, "b", "f")],
        [("f", '{"x":1}')],
    ),
    "whole arguments once more are no second call": (
        [part(0, "a", "f", '{"x":1}'), part(0, "a", "f", '{"x":1}')], [("f", '{"x":1}')],
    ),
    "whole arguments once more without a name are broken": (
        [part(0, "a", "f", ""), part(0, arguments='{"x":1}'), part(0, arguments='{"x":1}')],
        [("f", '{"x":1}{"x":1}')],
    ),
    "an id or a number alone is no call": ([part(0, "a"), part(1), part(None, "b"), {}, {"function": {}}], []),
    "an id that came alone belongs to what follows": (
        [part(0, "a"), part(0, None, "f", "{}")], [("f", "{}")],
    ),
    "a number that is wrong later begins no call": (
        [part(0, "a", "f", ""), part(1, arguments='{"x":1}')], [("f", '{"x":1}')],
    ),
    "null inside arguments stays": (
        [part(0, "a", "f", '{"x":'), part(0, arguments="null"), part(0, arguments=" "), part(0, arguments="}")],
        [("f", '{"x":null }')],
    ),
    "null for arguments is none": ([part(0, "a", "f", "null")], [("f", "")]),
    "true, a text or a fraction is no number": (
        [part(True, "a", "f", "{}"), part("x", "b", "g", "{}"), part(0.5, "c", "h", "{}")],
        [("f", "{}"), ("g", "{}"), ("h", "{}")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_one_call_and_what_is_two(name: str) -> None:
    fragments, wanted = CASES[name]
    merger = ToolCallMerger()
    for fragment in fragments:
        merger.take({"tool_calls": [fragment]})
    assert [(call.name, call.arguments) for call in merger.calls] == wanted
    together = ToolCallMerger()
    together.take({"tool_calls": fragments})
    assert [(call.name, call.arguments) for call in together.calls] == wanted


@pytest.mark.parametrize("junk", [None, 5, "x", {}, [None], [5], [[]], [{"function": []}], [{"function": {"name": 5}}]])
def test_junk_is_no_call(junk: Any) -> None:
    assert ToolCallMerger().take({"tool_calls": junk, "function_call": junk}) == []
    assert calls_in({"tool_calls": junk, "function_call": None}) == []


@pytest.mark.parametrize("text", ["", None, " ", "null", " null\n", "{}", {}])
def test_none_and_null_are_empty_arguments(text: Any) -> None:
    assert arguments_in(text) == {}


@pytest.mark.parametrize("text", ["[]", '"{}"', "5", "{", '{"a":1}{', "[" * 100_000, 5, []])
def test_arguments_that_are_no_object_are_an_error(text: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        arguments_in(text)
