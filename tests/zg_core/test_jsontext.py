"""JSON on its way out: what Python holds and JSON cannot is named, halves of characters are made whole."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
