"""Errors that a server writes into a stream without the form of one."""

from __future__ import annotations

from zg_core.sse import SSEDecoder


def test_an_error_that_a_failing_server_writes_as_it_is_is_an_event() -> None:
    decoder = SSEDecoder()
    events = decoder.feed(b'data: {"a": 1}\n\n{"error": {"message": ')
    events += decoder.feed(b'"gone"}}')
    assert [*events, *decoder.flush()] == [b'{"a": 1}', b'{"error": {"message": "gone"}}']
