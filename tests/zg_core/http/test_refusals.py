"""What any refusal says: its text, and how long to wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.http.refusals import error_text, retry_after


class TestErrorText:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b'{"error":"plain"}', "plain"),
            (b'{"error":{"message":"inside","type":"t"}}', "inside"),
            (b'{"error":{"type":"t"}}', '{"type": "t"}'),
            (b'{"message":"top"}', "top"),
            (b'{"error":null,"message":"top"}', "top"),
            (b'{"error":"","message":"top"}', "top"),
            (b'{"error":5}', "5"),
            (b'{"error":{"message":["a"]}}', "['a']"),
            (b'["a"]', "['a']"),
            (b'"text"', "text"),
            (b"null", "None"),
            (b"  Bad Gateway \n", "Bad Gateway"),
            (b"<!DOCTYPE html><html><title>Just a\n moment...</title></html>", "a web page, 'Just a moment...'"),
            (b"<html><body>502</body></html>", "a web page"),
            (b"", ""),
            (b"[" * 100_000, "[" * 500),
        ],
    )
    def test_is_found_in_every_shape(self, body: bytes, text: str) -> None:
        assert error_text(body) == text

    @given(body=st.binary(max_size=3000))
    def test_is_short_whatever_comes(self, body: bytes) -> None:
        assert len(error_text(body)) <= 2000

    @given(body=st.recursive(st.none() | st.integers() | st.text(), lambda i: st.lists(i) | st.dictionaries(
        st.sampled_from(["error", "message", "x"]), i), max_leaves=8))  # fmt: skip
    def test_any_json_has_some(self, body: Any) -> None:
        assert isinstance(error_text(json.dumps(body).encode()), str)

    @pytest.mark.parametrize(
        "body",
        [
            b"cannot read Bearer app-sk-c2VjcmV0IHRva2Vu==",
            b'{"error":"header app-sk-c2VjcmV0IHRva2Vu== refused"}',
            b'{"error":{"headers":{"Authorization":"Bearer app-sk-c2VjcmV0IHRva2Vu=="}}}',
            b"x" * 450 + b" app-sk-c2VjcmV0IHRva2Vu==" * 90,
        ],
    )
    def test_a_token_that_the_server_repeats_is_blotted_out(self, body: bytes) -> None:
        assert "c2VjcmV0" not in error_text(body)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "text", "seconds"),
        [
            ({"retry-after": "7"}, "", 7.0),
            ({"retry-after": " 1.5 "}, "", 1.5),
            ({"x-ratelimit-reset-requests": "12s"}, "", 12.0),
            ({"x-ratelimit-reset-requests": "1m30s"}, "", 90.0),
            ({"x-ratelimit-reset-requests": "2h"}, "", 7200.0),
            ({"x-ratelimit-reset-requests": "500ms"}, "", 0.5),
            ({"x-ratelimit-reset-requests": "1m0.5s"}, "", 60.5),
            ({"x-ratelimit-reset": "3"}, "", 3.0),
            ({"x-ratelimit-reset-requests": "5s", "x-ratelimit-reset-tokens": "9s"}, "", 9.0),
            (
                {
                    "x-ratelimit-reset-requests": "5s",
                    "x-ratelimit-remaining-requests": "0",
                    "x-ratelimit-reset-tokens": "9s",
                    "x-ratelimit-remaining-tokens": "100",
                },
                "",
                5.0,
            ),
            ({"retry-after": "4", "x-ratelimit-reset-requests": "5s"}, "please wait 6 seconds", 4.0),
            ({}, "token rate limit exceeded. please wait 42 seconds (limit: 9)", 42.0),
            ({}, "", None),
            ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", 9.0),
            ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", 0.0),
            ({"retry-after": "Wednesday, 21-Oct-26 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", 9.0),
            ({"retry-after": "Wed, 21 Oct 2026 09:28:09 +0200", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", 9.0),
            ({"retry-after": "Wed, 41 Oct 2026 07:28:09 GMT"}, "", None),
            ({"retry-after": "Wed, 21 Oct 0000 07:28:09 GMT"}, "", None),
            ({"retry-after": "tomorrow"}, "", None),
            ({"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
            ({"retry-after-ms": "soon", "retry-after": "2"}, "", 2.0),
            ({"retry-after": "-5"}, "", None),
            ({"retry-after": "\u00b2"}, "", None),
            ({"retry-after": "\u0665"}, "", None),
            ({"retry-after": "9" * 400}, "", None),
            ({"retry-after": "nan"}, "", None),
            ({"x-ratelimit-reset-requests": "-5"}, "", None),
            ({"x-ratelimit-reset-requests": "-5s"}, "", None),
            ({"x-ratelimit-reset-requests": "inf"}, "", None),
            ({"x-ratelimit-reset-requests": "1e9"}, "", None),
            ({"x-ratelimit-reset-requests": ""}, "", None),
            ({"x-ratelimit-reset-requests": "soon"}, "", None),
            ({}, "wait " + "9" * 400 + " seconds", None),
        ],
    )
    def test_is_read_from_where_providers_put_it(
        self, headers: dict[str, str], text: str, seconds: float | None
    ) -> None:
        assert retry_after(headers, text) == seconds

    def test_a_date_is_read_by_our_clock_where_the_server_shows_none(self) -> None:
        seconds = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)})
        assert seconds is not None
        assert 60 < seconds <= 90

    @given(value=st.text(max_size=12) | st.from_regex(r"[0-9.hms-]{0,12}"))
    def test_is_never_negative_or_endless(self, value: str) -> None:
        for headers in ({"retry-after": value}, {"retry-after-ms": value}, {"x-ratelimit-reset-requests": value}):
            seconds = retry_after(headers)
            assert seconds is None or 0 <= seconds < 1e13
