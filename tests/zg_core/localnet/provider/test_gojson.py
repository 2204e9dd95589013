"""Go's JSON writing, from its documented rules (0g-direct §12.4)."""

import json

import pytest

from tests.vectors import load
from zg_core.localnet.provider import gojson


@pytest.mark.parametrize(
    ("text", "go"),
    [
        ("1.0", "1"),
        ("-0.0", "-0"),
        ("0.1", "0.1"),
        ("100", "100"),
        ("123456789012345678", "123456789012345680"),
        ("9007199254740993", "9007199254740992"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("1.5e300", "1.5e+300"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("1.25e-10", "1.25e-10"),
        ("12345.678", "12345.678"),
        ("-2.5", "-2.5"),
        ("5e-324", "5e-324"),
    ],
)
def test_numbers_become_the_shortest_float64(text, go):
    assert gojson.dumps(gojson.loads(text.encode())).decode() == go


def test_keys_are_sorted_and_spaces_removed():
    assert gojson.dumps(gojson.loads(b'{ "b" : [1, 2], "a" : { "d": null, "c": true } }')) == (
        b'{"a":{"c":true,"d":null},"b":[1,2]}'
    )


def test_keys_sort_by_utf8_bytes():
    assert gojson.dumps({"\uffff": 1, "\U00010000": 2, "é": 3, "z": 4}).decode() == (
        '{"z":4,"é":3,"\uffff":1,"\U00010000":2}'
    )


def test_requests_escape_html_and_responses_do_not():
    assert gojson.dumps("<a & b>") == rb'"\u003ca \u0026 b\u003e"'
    assert gojson.dumps("<a & b>", escape_html=False) == b'"<a & b>"'
    assert gojson.dumps({"<": 1}) == rb'{"\u003c":1}'


def test_line_separators_are_escaped_either_way():
    for html in (True, False):
        assert gojson.dumps("\u2028\u2029", escape_html=html) == rb'"\u2028\u2029"'


def test_control_characters_and_text_stay_readable():
    assert gojson.dumps('"\\\n\r\t\b\f\x00\x1f\x7f é 你好 🙂').decode() == (
        '"\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\x7f é 你好 🙂"'
    )


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert gojson.dumps(json.loads(r'"a\ud800b"')) == '"a\ufffdb"'.encode()


def test_responses_keep_number_texts():
    body = b'{"usage":{"total_tokens":12345678901234567890},"score":1.0,"small":1e-7}'
    assert gojson.dumps(gojson.loads_keeping_numbers(body), escape_html=False) == (
        b'{"score":1.0,"small":1e-7,"usage":{"total_tokens":12345678901234567890}}'
    )


@pytest.mark.parametrize("bad", [b"NaN", b"[Infinity]", b"{", b"", b"\xef\xbb\xbf{}", b"'a'"])
def test_what_go_would_not_read_is_refused(bad):
    with pytest.raises(ValueError):
        gojson.loads(bad)
    with pytest.raises(ValueError):
        gojson.loads_keeping_numbers(bad)


def test_what_has_no_json_form_is_refused():
    with pytest.raises(TypeError, match="set"):
        gojson.dumps({"a": {1}})
    with pytest.raises(ValueError, match="finite"):
        gojson.dumps(float("inf"))


def test_empty_containers():
    assert gojson.dumps({"a": {}, "b": [], "c": ""}) == b'{"a":{},"b":[],"c":""}'


@pytest.mark.parametrize("read", [gojson.loads, gojson.loads_keeping_numbers])
def test_a_document_of_brackets_is_refused_and_does_not_end_the_process(read):
    with pytest.raises(ValueError, match="too deep"):
        read(b"[" * 200_000 + b"]" * 200_000)


@pytest.mark.parametrize("case", load("go_json_marshal")["cases"], ids=lambda case: case["in"][:40])
def test_what_go_itself_wrote(case):
    value = gojson.loads(case["in"].encode())
    assert gojson.dumps(value).decode() == case["go_marshal"]
    assert gojson.dumps(value, escape_html=False).decode() == case["go_encoder_no_html"]
