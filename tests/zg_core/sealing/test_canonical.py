"""Canonical JSON and the bindings that are signed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.zg_core.sealing.known import vectors
from zg_core.sealing.canonical import associated_data, binding, bindings_of, canonical, decode

CHAT, PROFILES = vectors("chat"), vectors("profiles")
PAIRS = [
    CHAT["request"],
    CHAT["response"],
    *CHAT["stream"]["frames"],
    *(each[side] for each in PROFILES["profiles"].values() for side in ("request", "response")),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_every_published_envelope_has_its_aad_and_its_binding(pair: dict[str, Any]) -> None:
    aad = associated_data(pair["envelope"])
    assert aad.decode() == pair["aad"]
    assert binding(aad, bytes.fromhex(pair["ciphertext_hex"])).hex() == pair["binding"]


def test_the_published_bindings_of_texts_alone() -> None:
    known = PROFILES["published_binding_kat"]
    assert binding(b"kat-aad", b"kat-ct").hex() == known["binding_hash_of_kat-aad_kat-ct"]
    request, response = (each.hex() for each in bindings_of([known["req"], known["resp"]]))
    assert known["nonstream_text"] == f"zg-sig-v1/e2ee-ct:{request}:{response}"


def test_what_the_router_rewrites_leaves_the_binding_as_it_is() -> None:
    after = CHAT["response"]["after_router"]["envelope"]
    assert after["model"] != CHAT["response"]["envelope"]["model"]
    assert bindings_of([after])[0].hex() == CHAT["response"]["binding"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9007199254740993, "9007199254740992"),
        (1.0, "1"),
        (-0.0, "0"),
        (1e-7, "1e-7"),
        (1e21, "1e+21"),
        (123456789012345678901, "123456789012345680000"),
        (0.000001, "0.000001"),
        (5e-324, "5e-324"),
        (True, "true"),
        ({"\ufb33": 1, "😀": 2, "a": 3}, '{"a":3,"😀":2,"\ufb33":1}'),  # by UTF-16, not by code point
        ({"€": None, "\r": [], "": {}}, '{"":{},"\\r":[],"€":null}'),
        ('<&>\u2028\x7f\x01"\\/', '"<&>\u2028\x7f\\u0001\\"\\\\/"'),
    ],
)
def test_the_canonical_form(value: Any, text: str) -> None:
    assert canonical(value).decode() == text


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, "\ud800", {1: 2}, b"bytes", {"a": "\udc00"}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


def test_numbers_that_are_the_same_double_are_the_same() -> None:
    spellings = ["1", "1.0", "1e0", "10e-1"]
    assert len({canonical(json.loads(each)) for each in spellings}) == 1


@pytest.mark.parametrize("text", ["YQ==", "YR", "a+b/", "é", None, "abcde"])
def test_one_text_writes_one_row_of_bytes(text: Any) -> None:
    with pytest.raises(ValueError, match="base64url"):
        decode(text)
