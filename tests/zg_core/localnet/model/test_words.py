"""What the rules see in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.localnet.model.words import keywords, names, numbers, quoted, quoted_at, sentences, squeeze, stem, topic


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3 and -4", [3, -4]),
        ("5-6", [5, 6]),
        ("1,000.5 or 12,34", [1000.5, 12, 34]),
        ("f(3)", [3]),
        ("v2 x3 1.2.3", []),
        ("the year 1979.", [1979]),
        ("9" * 50, []),
    ],
)
def test_numbers(text, found):
    assert [number.value for number in numbers(text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("'a' and \"b\"", ["a", "b"]),
        ("It's what's 'here'", ["here"]),
        ("“x” «y» 「你好」 `z` \u2018w\u2019", ["x", "y", "你好", "z", "w"]),
        ("'open", []),
    ],
)
def test_quoted(text, found):
    assert quoted(text) == found


def test_quoted_at_a_place():
    assert quoted_at("name 'Ada'", 5) == "Ada"
    assert quoted_at("name 'Ada'", 4) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is the weather in San Francisco, CA?", ["San Francisco, CA"]),
        ("Who was Ada Lovelace?", ["Ada Lovelace"]),
        ("Ada Lovelace wrote it. Then Bob left.", ["Ada Lovelace", "Bob"]),
        ("London?", ["London"]),
        ("Rio de Janeiro or Paris", ["Rio de Janeiro", "Paris"]),
        ("The cat sat.", []),
        ("Cats sleep. Dogs bark.", []),
    ],
)
def test_names(text, found):
    assert names(text) == found


def test_forms_of_a_word_meet():
    groups = [
        ("multiply", "multiplication", "multiplied", "times", "product"),
        ("add", "adder", "adding", "plus", "sum"),
        ("city", "cities"),
        ("sleep", "sleeps", "sleeping"),
    ]
    for group in groups:
        assert len({stem(word) for word in group}) == 1, {word: stem(word) for word in group}
    assert stem("time") != stem("times")


def test_keywords_take_names_apart_and_leave_out_what_says_nothing():
    assert keywords("get_weather") == keywords("getWeather") == keywords("the weather") == ["weath"]
    assert keywords("What is it that you do?") == []


def test_topic():
    assert topic("Tell me a joke about cats, please") == "cats"
    assert topic("What are ledgers?") == "ledgers"
    assert topic("?") == "that"


def test_sentences_end_at_points_and_lines():
    assert sentences("One. Two!\nThree? 四。五") == ["One.", "Two!", "Three?", "四。", "五"]


@given(st.text(alphabet=" \n\tab", max_size=200))
def test_squeezed_text_keeps_its_words(text):
    assert squeeze(text).split() == text.split()
    assert len(squeeze(text)) <= len(text)
