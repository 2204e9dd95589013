"""Token counts that cannot be true of the bytes that were exchanged."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.pricing import PROMPT_ALLOWANCE
from zg_core.types import Usage
from zg_core.verify.usage import implausible

REQUEST = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
counts = st.integers(min_value=0, max_value=10**6)


@pytest.mark.parametrize(
    ("usage", "request_body", "size", "reason"),
    [
        (None, REQUEST, 100, ""),
        (Usage(len(REQUEST) + PROMPT_ALLOWANCE, 100), REQUEST, 100, ""),
        (Usage(len(REQUEST) + PROMPT_ALLOWANCE + 1, 100), REQUEST, 100, "prompt tokens"),
        (Usage(5, 101), REQUEST, 100, "completion tokens, of 100 bytes"),
        (Usage(5, 5), b'{"max_tokens":5}', 100, ""),
        (Usage(5, 6), b'{"max_tokens":5}', 100, "allows 5"),
        (Usage(5, 6), b'{"max_completion_tokens":5}', 100, "allows 5"),
        (Usage(5, 6), b'{"max_tokens":9,"max_completion_tokens":5}', 100, "allows 5"),
        (Usage(5, 10), b'{"max_tokens":5,"n":2}', 100, ""),
        (Usage(5, 11), b'{"max_tokens":5,"n":2}', 100, "allows 10"),
        (Usage(5, 6), b'{"max_tokens":null}', 100, ""),
        (Usage(5, 6), b'{"max_tokens":true}', 100, ""),
        (Usage(5, 6), b'{"max_tokens":', 100, ""),
        (Usage(5, 6), b'["max_tokens"]', 100, ""),
        (Usage(5, 6, cached_tokens=6), REQUEST, 100, "cached tokens"),
        (Usage(5, 6, cached_tokens=5), REQUEST, 100, ""),
        # an image that is only named may cost any number of tokens
        (Usage(5000, 6), b'{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://p"}}]}]}', 100, ""),
    ],
)
def test_what_is_believed(usage: Usage | None, request_body: bytes, size: int, reason: str) -> None:
    found = implausible(usage, request_body, size)
    assert reason in found, found
    assert bool(found) is bool(reason), found


@given(text=st.text(max_size=200), answer=st.integers(0, 1000), limit=st.none() | st.integers(1, 2000), data=st.data())
def test_no_honest_count_is_doubted(text: str, answer: int, limit: int | None, data: st.DataObject) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": text}], **({"max_tokens": limit} if limit else {})})
    most = min(answer, limit or answer)
    usage = Usage(data.draw(st.integers(0, len(body))), data.draw(st.integers(0, most)))
    assert implausible(usage, body.encode(), answer) == ""


@given(prompt=counts, completion=counts, size=counts)
def test_more_than_ten_times_the_bytes_is_always_doubted(prompt: int, completion: int, size: int) -> None:
    usage = Usage(prompt, 10 * size + 1 + completion)
    assert implausible(usage, REQUEST, size)
