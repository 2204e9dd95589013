"""Token counts: the same everywhere, and adding up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.localnet.model.request import Message
from zg_core.localnet.model.tokens import REPLY_TOKENS, count_message, count_prompt, count_tokens, split_tokens
from zg_core.localnet.model.values import Media, ToolCall

TEXT = st.text(max_size=60)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("Hello, world!", ["Hello", ",", " world", "!"]),
        ("12345", ["123", "45"]),
        ("internationalization", ["internationa", "lization"]),
        ("你好吗", ["你", "好", "吗"]),
        ("a  b\n\n", ["a", "  ", "b", "\n\n"]),
        ("é🙂", ["é", "🙂"]),
    ],
)
def test_cuts_text_as_written_down_here(text, pieces):
    assert split_tokens(text) == pieces
    assert count_tokens(text) == len(pieces)


@given(TEXT)
def test_pieces_join_to_the_text(text):
    pieces = split_tokens(text)
    assert "".join(pieces) == text
    assert all(count_tokens(piece) == 1 for piece in pieces), pieces


@given(TEXT, TEXT)
def test_joining_texts_never_costs_more_than_both(left, right):
    assert max(count_tokens(left), count_tokens(right)) <= count_tokens(left + right)
    assert count_tokens(left + right) <= count_tokens(left) + count_tokens(right)


MESSAGES = st.lists(st.builds(Message, st.just("user"), TEXT, st.none() | TEXT), max_size=4)


@given(MESSAGES, MESSAGES)
def test_a_prompt_costs_what_its_messages_cost(first, second):
    assert count_prompt(first + second) == count_prompt(first) + count_prompt(second) - REPLY_TOKENS
    assert count_prompt(first) == count_prompt(first)


def test_everything_sent_is_counted():
    plain = Message("user", "Hello")
    named = Message("user", "Hello", name="Ada")
    called = Message("assistant", "", tool_calls=(ToolCall("call_1", "add", '{"a":1}'),))
    seen = Message("user", "Hello", media=(Media("image", "image/png", 5000),))
    heard = Message("user", "Hello", media=(Media("audio", "audio/wav", 4096),))
    assert [count_message(message) for message in (plain, named, called, seen, heard)] == [5, 6, 4 + 1 + 7, 90, 10]
    assert count_prompt([plain], [{"type": "function"}]) == count_prompt([plain]) + count_tokens(
        '[{"type":"function"}]'
    )
