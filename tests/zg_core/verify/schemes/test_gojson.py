"""JSON as Go writes it: what is documented of encoding/json, as known answers and as properties."""

from __future__ import annotations

import decimal
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import load
from tests.zg_core.verify.scene import service
from zg_core.localnet.provider import gojson as other
from zg_core.types import Kind
from zg_core.verify.schemes.gojson import marshal
from zg_core.verify.schemes.signed_hashes import rewrites

# encoding/json: floatEncoder ('f' for 1e-6 <= |x| < 1e21, else 'e' with one-digit exponents cleaned), string escapes.
NUMBERS = [
    (0, "0"),
    (0.0, "0"),
    (-0.0, "-0"),
    (1, "1"),
    (-1, "-1"),
    (100, "100"),
    (1.0, "1"),
    (0.1, "0.1"),
    (-0.1, "-0.1"),
    (1.5, "1.5"),
    (3.141592653589793, "3.141592653589793"),
    (1e-6, "0.000001"),
    (9.99e-7, "9.99e-7"),
    (1e-7, "1e-7"),
    (-1.5e-9, "-1.5e-9"),
    (1e-10, "1e-10"),
    (1.25e-10, "1.25e-10"),
    (5e-324, "5e-324"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (1.5e21, "1.5e+21"),
    (-1e21, "-1e+21"),
    (999999999999999900000, "999999999999999900000"),
    (123456789012345680000, "123456789012345680000"),
    (123456789012345678901, "123456789012345680000"),
    (2**53, "9007199254740992"),
    (2**53 + 1, "9007199254740992"),
    (2**63, "9223372036854776000"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (1e100, "1e+100"),
    (0.30000000000000004, "0.30000000000000004"),
    (100.25, "100.25"),
    (1234567.0, "1234567"),
]
TEXTS = [
    ("", '""'),
    ("plain", '"plain"'),
    ('"\\', '"\\"\\\\"'),
    ("/", '"/"'),
    ("\n\r\t", '"\\n\\r\\t"'),
    ("\b\f", '"\\b\\f"'),
    ("\x00\x01\x1f", '"\\u0000\\u0001\\u001f"'),
    ("\x7f", '"\x7f"'),
    ("<a href='x'>&", "\"\\u003ca href='x'\\u003e\\u0026\""),
    ("\u2028\u2029", '"\\u2028\\u2029"'),
    ("h\u00e9 \u4e16\u754c \U0001f600", '"h\u00e9 \u4e16\u754c \U0001f600"'),
    ("\ud800x", '"\ufffdx"'),
]


@pytest.mark.parametrize(("number", "text"), NUMBERS)
def test_numbers(number: float, text: str) -> None:
    assert marshal(number).decode() == text
    assert marshal([number]).decode() == f"[{text}]"


@pytest.mark.parametrize(("value", "text"), TEXTS)
def test_texts(value: str, text: str) -> None:
    assert marshal(value).decode() == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ([], "[]"),
        ({}, "{}"),
        ([[], {}], "[[],{}]"),
        ((1, "a"), '[1,"a"]'),
        ({"b": 1, "a": {"d": [True, None], "c": 2}}, '{"a":{"c":2,"d":[true,null]},"b":1}'),
        ({"<": 1}, '{"\\u003c":1}'),
    ],
)
def test_containers(value: Any, text: str) -> None:
    assert marshal(value).decode() == text


def test_keys_are_sorted_by_their_bytes() -> None:
    keys = ["b", "a", "B", "a\u00e9", "\u00e9", "\U0001f600", "\uffff", "10", "9", ""]
    found = list(json.loads(marshal(dict.fromkeys(keys, 0))))
    assert found == sorted(keys, key=str.encode)
    assert found.index("\uffff") < found.index("\U0001f600"), "bytes, not UTF-16 units"


def test_the_request_of_the_known_answers_is_a_fixed_point() -> None:
    request = b'{"messages":[{"content":"hi","role":"user"}],"model":"m"}'
    assert marshal(json.loads(request)) == request


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -math.inf, 10**400, [10**309], object(), b"x", {1: 2}, {None: 1}, {"a": {1}}, 1j],
)  # fmt: skip
def test_what_go_cannot_hold_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError):
        marshal(value)


def test_the_callers_decimal_context_changes_nothing() -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        context.traps[decimal.Inexact] = True
        assert marshal(0.30000000000000004) == b"0.30000000000000004"


numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=25,
)  # fmt: skip


def as_go_reads(value: Any) -> Any:
    """Numbers as float64, half characters replaced."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if value.isascii() else clean(value)
    if isinstance(value, list):
        return [as_go_reads(item) for item in value]
    return {key: as_go_reads(item) for key, item in value.items()}


def clean(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


@given(values)
@settings(max_examples=80)
def test_marshalling_again_changes_nothing(value: Any) -> None:
    once = marshal(value)
    assert marshal(json.loads(once, parse_int=float)) == once


@given(values)
@settings(max_examples=80)
def test_what_is_written_means_the_same(value: Any) -> None:
    assert as_go_reads(json.loads(marshal(value))) == as_go_reads(value)


@given(values)
@settings(max_examples=80)
def test_the_local_networks_own_writer_agrees(value: Any) -> None:
    text = json.dumps(value).encode()
    assert marshal(json.loads(text, parse_int=float)) == other.dumps(other.loads(text))


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.none()))
def test_keys_are_always_sorted_and_kept(value: dict[str, None]) -> None:
    assert list(json.loads(marshal(value))) == sorted(value, key=str.encode)


@given(numbers)
@settings(max_examples=300)
def test_every_float_is_read_back_and_has_gos_shape(number: float) -> None:
    text = marshal(number).decode()
    assert float(text) == number
    assert math.copysign(1, float(text)) == math.copysign(1, number)
    plain = number == 0 or 1e-6 <= abs(number) < 1e21
    assert ("e" in text) is not plain
    mantissa, _, exponent = text.partition("e")
    assert not mantissa.endswith(".")
    assert "." not in mantissa or not mantissa.endswith("0")
    assert plain or exponent.lstrip("+-").lstrip("0") == exponent[1:]


@given(st.text(st.characters(codec="utf-8")))
def test_no_character_that_html_reads_is_left(text: str) -> None:
    written = marshal(text).decode()
    assert not set(written) & set("<>&\u2028\u2029")
    assert all(char >= " " for char in written)
    assert json.loads(written) == text


GO = load("go_json_marshal")["cases"]


@pytest.mark.parametrize("case", GO, ids=[str(number) for number in range(len(GO))])
def test_what_go_itself_wrote(case: dict[str, str]) -> None:
    # Read as `rewrites` reads a request: every number is a float64, -0 included.
    assert marshal(json.loads(case["in"], parse_int=float)).decode() == case["go_marshal"]


@pytest.mark.parametrize("case", [one for one in GO if '"model"' in one["in"]])
def test_a_request_that_go_wrote_anew_is_among_the_forms_that_are_tried(case: dict[str, str]) -> None:
    forms = rewrites(case["in"].encode(), service(Kind.TEE_ML))
    assert case["go_marshal"].encode() in [form.body for form in forms]
