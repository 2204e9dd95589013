"""Arithmetic in prose: found where it is, computed exactly, never guessed."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.localnet.model.arithmetic import evaluate, expressions, number_text, rewrite


def results(text):
    values = [evaluate(found.tree) for found in expressions(text)]
    return [None if value is None else number_text(value) for value in values]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2+2", ["4"]),
        ("What is 12 * 7?", ["84"]),
        ("What is 12 times 7?", ["84"]),
        ("What is 12 multiplied by 7?", ["84"]),
        ("3 x 4 and 3 \u00d7 4", ["12", "12"]),
        ("7 divided by 2", ["3.5"]),
        ("ten minus three", ["7"]),
        ("1,000 + 2", ["1002"]),
        ("0.1 + 0.2", ["0.3"]),
        ("1 / 3", ["0.3333333333"]),
        ("-(3 + 4) * 2", ["-14"]),
        ("2^10 or 2 ** 10", ["1024", "1024"]),
        ("2 ^ 3 ^ 2", ["512"]),
        ("7 % 4", ["3"]),
        ("5 squared", ["25"]),
        ("15% of 80", ["12"]),
        ("the sum of 3 and 4, the product of 3 and 4", ["7", "12"]),
        ("subtract 3 from 10, divide 10 by 4", ["7", "2.5"]),
        ("(121 + 2) * 5", ["615"]),
        ("3*4 and 5+6", ["12", "11"]),
        ("1 / 0", [None]),
        ("0 ^ -1", [None]),
        ("9 ^ 9 ^ 9 ^ 9", [None]),
    ],
)
def test_finds_and_computes(text, values):
    assert results(text) == values


@pytest.mark.parametrize(
    "text",
    [
        "on 2024-01-02",
        "on 10/11/2012",
        "version 1.2.3",
        "192.168.0.1",
        "I have 3 cats",
        "50% off",
        "5 - and so on",
        "http://x/1+1",
        "gpt-4",
        "magic_function(3)",
        "((((",
        "",
    ],
)
def test_finds_nothing_where_nothing_is_computed(text):
    assert results(text) == []


def test_an_expression_too_long_is_left_out_rather_than_cut():
    assert results("1" + "+1" * 500 + " and 2+2") == ["4"]


def test_says_where_the_expression_stands_and_how_it_is_written():
    found = expressions("Please compute (3 plus 4) times 2 now")[0]
    assert found.text == "(3 + 4) * 2"
    assert rewrite("Please compute (3 plus 4) times 2 now")[found.start : found.end] == "(3 + 4) * 2"


@given(st.integers(0, 10**9), st.sampled_from("+-*"), st.integers(0, 10**9))
def test_agrees_with_python(left, symbol, right):
    expected = {"+": left + right, "-": left - right, "*": left * right}[symbol]
    assert results(f"What is {left} {symbol} {right}?") == [str(expected)]


@given(st.text(alphabet="0123456789+-*/^%().x ,", max_size=40))
def test_never_breaks(text):
    for found in expressions(text):
        value = evaluate(found.tree)
        assert value is None or isinstance(number_text(value), str)


@given(st.fractions(min_value=-1000, max_value=1000))
def test_numbers_are_written_to_ten_places(value):
    assert abs(Fraction(number_text(value)) - value) <= Fraction(1, 10**10)
