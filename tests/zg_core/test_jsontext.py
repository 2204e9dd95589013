"""JSON on its way out: what Python holds and JSON cannot is named, halves of characters are made whole."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core import jsontext
from zg_core.errors import ConfigError
from zg_core.jsontext import encode_body, not_json


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"temperature": decimal.Decimal("0.5")}, "temperature is a Decimal"),
        ({"a": [{"b": {1, 2}}]}, "a[0].b is a set"),
        ({"messages": [{"content": "x"}, {"content": dt.date(2026, 1, 2)}]}, "messages[1].content is a date"),
        ({"a": float("nan")}, "a is nan, which is no number of JSON"),
        ({"a": {(1, 2): 3}}, "a has a tuple for a name"),
        ({"a": object}, "a is a type"),
    ],
)
def test_what_cannot_be_written_is_named_with_its_place(payload: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        encode_body(payload)
    assert said in caught.value.message
    assert caught.value.code == "bad_request_body"


def test_a_value_without_an_end_is_named() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(ConfigError, match="nested deeper"):
        encode_body(endless)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("\ud83d\ude00", "😀"),
        ("\ud83d", "\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("a\ud83db", "a\ufffdb"),
        ("é\ud83d\ude00\ud83d", "é😀\ufffd"),
    ],
)
def test_halves_of_characters_are_put_together_or_replaced(text: str, sent: str) -> None:
    assert json.loads(encode_body({"content": text, text: 1})) == {"content": sent, sent: 1}


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Cs"])))
def test_every_text_is_sent(text: str) -> None:
    sent = json.loads(encode_body({"content": text}))["content"]
    assert len(sent.encode()) >= len(sent)
    if text.isascii():
        assert sent == text


LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_is_json_has_no_culprit(value: Any) -> None:
    assert not not_json(value)


@pytest.mark.parametrize("long", ["a" * 5000, "a" * 5000 + '"', "a" * 5000 + "\x7f\x1f", "\n" + "a" * 5000, "ä" * 5000])
def test_long_texts_are_written_as_json_writes_them(long: str) -> None:
    payload = {"messages": [{"content": [{"text": long}, 1, 1.5, True, None]}], long: "x"}
    expected = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    assert encode_body(payload) == expected.encode()


_WRITERS = ("orjson", "pydantic_core", "")


@pytest.fixture(params=_WRITERS)
def writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Long texts are written by this package; "" is Python's own encoder."""
    if request.param:
        pytest.importorskip(request.param)
    for name in _WRITERS[: _WRITERS.index(request.param)]:
        monkeypatch.setitem(sys.modules, name, None)
    jsontext._quoting.cache_clear()
    yield request.param
    jsontext._quoting.cache_clear()


def _as_python_does(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_long_text_is_written_by_the_package_that_is_there(writer: str) -> None:
    module: str = jsontext._quoting().__module__ or ""
    assert module.partition(".")[0] == {"pydantic_core": "pydantic_core", "orjson": "orjson", "": "zg_core"}[writer]


def test_long_texts_are_the_bytes_that_python_writes(writer: str) -> None:
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    plain, quotes = "plain " * 50_000, '"\\\n\0' * 50_000
    payload = {"a": every, every[:9000]: [plain, "\0", {"b": quotes}], "c": every[::-1], "\0": 1.5, "d": plain[:5000]}
    assert encode_body(payload) == _as_python_does(payload), writer


@pytest.mark.parametrize("place", [0, 65_535, 65_536, 70_000, 131_071])
@pytest.mark.parametrize("text", ["\ud83d\ude00", "\ud83d", "\ud83d\ude00"[::-1], "\ud83d\ud83d\ude00"])
def test_halves_of_characters_in_a_long_text_meet_the_same_fate(writer: str, place: int, text: str) -> None:
    long = "x" * place + text + "é" * (140_000 - place)
    mended = long.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert encode_body({"a": "b", "c": [long, long], "d": text}) == _as_python_does(
        {"a": "b", "c": [mended, mended], "d": text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")}
    ), writer


def test_a_text_of_another_class_is_written_as_what_it_holds() -> None:
    class Odd(str):
        __slots__ = ()

        def __getitem__(self, key: Any) -> str:
            return "other"

        def __len__(self) -> int:
            return 10_000

    assert encode_body({"a": Odd("what it holds")}) == b'{"a":"what it holds"}'


def test_a_package_that_writes_texts_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    orjson = pytest.importorskip("orjson")
    monkeypatch.setattr(orjson, "dumps", lambda text: json.dumps(text).encode())  # escapes what need not be
    jsontext._quoting.cache_clear()
    assert encode_body({"a": "é" * 5000}) == _as_python_does({"a": "é" * 5000})
    jsontext._quoting.cache_clear()


def test_what_cannot_be_written_is_named_beside_a_long_text_too() -> None:
    with pytest.raises(ConfigError, match=r"b\[0\] is a set"):
        encode_body({"a": "x" * 10_000, "b": [{1}]})


def test_a_long_text_is_not_copied_over_and_over(writer: str) -> None:
    text = "a line of prose\n" * 400_000
    encode_body({"a": text[:5000]})
    tracemalloc.start()
    body = encode_body({"a": text})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * len(body), writer
