"""Headers of callers: theirs pass, ours and HTTP's own do not."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.calls.extra_headers import extra_headers
from zg_core.config import SecretHeaders
from zg_core.errors import ConfigError


def test_plain_headers_pass_and_do_not_show_their_values() -> None:
    made = extra_headers({"X-Team": "search", "HTTP-Referer": "https://app.example", "Cookie": "a=b"})
    assert dict(made) == {"X-Team": "search", "HTTP-Referer": "https://app.example", "Cookie": "a=b"}
    assert isinstance(made, SecretHeaders)
    assert dict(extra_headers(None)) == {}


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "authorization", "HOST", "Content-Length", "transfer-encoding", "Connection", "Content-Type",
        "Accept-Encoding", "Proxy-Authorization", "X-PAYMENT", "PAYMENT-SIGNATURE", "Payment", "X-Upto-Session",
        "X-Payment-Response", "Expect", "TE",
    ],
)  # fmt: skip
def test_what_says_who_asks_and_pays_or_frames_the_body_is_ours(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is ours") as caught:
        extra_headers({name: "of the caller"})
    assert caught.value.code == "bad_headers"
    assert "of the caller" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"X\r\nHost": "x"},
        {"": "x"},
        {"X Y": "x"},
        {1: "x"},
        {"X": "a\r\nAuthorization: b"},
        {"X": "a\x00b"},
        {"X": "süß"},
        {"X": 5},
        {"X": b"bytes"},
        {"X": None},
        "X: y",
        [("X", "y")],
    ],
    ids=repr,
)
def test_what_is_no_header_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        extra_headers(given)
    assert caught.value.code == "bad_headers"
