"""Texts made for regular expressions."""

import re

import pytest

from zg_core.localnet.model.pattern import example, matches


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{5}(-\d{4})?$",
        r"^[A-Z]{2,3}$",
        r"[^a-z0-9]",
        r"^(red|green)$",
        r"^\w+@\w+\.com$",
        r"^(ab){3}\1$",
        r"^0x[0-9a-fA-F]{40}$",
        r"^[^\W\d]\S\D\W$",
        r"^.+?\s*$",
        r"a{0}b",
        "",
    ],
)
def test_the_example_matches(pattern):
    text = example(pattern)
    assert text is not None
    assert re.search(pattern, text), text


@pytest.mark.parametrize("pattern", [r"(", r"^(?=b)a$", r"^a{100000}$"])
def test_gives_up_on_what_it_cannot_write(pattern):
    assert example(pattern) is None


def test_a_pattern_python_cannot_read_matches_nothing():
    assert not matches(r"\p{L}(", "a")
