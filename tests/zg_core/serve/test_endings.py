"""How answers end before their end: callers that leave, a server that is stopped, streams that are held or cut."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.patience import PATIENCE, until
from tests.zg_core.serve.serving import ANSWER, QUESTION, TOKEN, Running, running, settings_of
from zg_core.localnet import LocalProvider

GOOD = {"model": "chat-ml", **QUESTION}
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def begun(server: Running, body: dict[str, Any]) -> Any:
    """A request that has been sent, its answer not read."""
    connection = server.connection()
    connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), HEADERS)
    return connection


@pytest.fixture
def own(reach: dict[str, Any], provider: LocalProvider) -> Any:
    """A server of the test's own, which may be stopped."""
    with running(settings_of(reach, grace=PATIENCE)) as server:
        yield server


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_caller_that_leaves_stops_the_upstream_and_leaves_its_receipt(
    served: Running, provider: LocalProvider, stream: bool
) -> None:
    provider.fault("slow_drip", size=1000, delay=0.5) if stream else provider.fault("hang")  # event by event
    before, asked, billed = len(served.server.seen.after(0)), len(provider.requests), len(provider.log)
    connection = begun(served, {**GOOD, "stream": stream})
    if stream:
        assert connection.getresponse().read(20)
    else:
        until(lambda: len(provider.requests) > asked)
    connection.close()
    seen = until(lambda: served.server.seen.after(0)[before:])
    assert [each.receipt.outcome for each in seen] == ["abandoned"]
    until(lambda: not served.server.relays.under_way)
    until(lambda: len(provider.log) > billed)  # once it sees that nobody listens: not in the next test


def test_a_held_stream_comes_with_its_verdict_on_its_head(reach: dict[str, Any], provider: LocalProvider) -> None:
    said = {"held": {"model": "chat-ml", "hold": True}}
    with running(settings_of(reach, said)) as server:
        got = server.chat({"model": "held", "stream": True, **QUESTION})
        assert (got.status, got.text, got.events[-1]) == (200, ANSWER, "[DONE]")
        assert got.headers["x-zerog-verdict"] == got.comment["verdict"] == "verified"
        provider.fault("body_changed")
        got = server.chat({"model": "held", "stream": True, **QUESTION})
        assert (got.status, got.error["code"]) == (424, "content_mismatch")
        assert b"Paris" not in got.body
        assert b"delta" not in got.body


def test_a_stream_that_breaks_off_ends_with_an_error_and_its_receipt(served: Running, provider: LocalProvider) -> None:
    provider.fault("cut_after_first_byte")
    got = served.chat({**GOOD, "stream": True})
    assert (got.status, json.loads(got.events[-1])["error"]["code"]) == (200, "stream_truncated")
    assert got.comment["outcome"] == "truncated"


def test_a_server_that_is_stopped_ends_what_is_under_way_first(own: Running, provider: LocalProvider) -> None:
    provider.fault("slow_drip", size=100)
    connection = begun(own, {**GOOD, "stream": True})
    response = connection.getresponse()
    assert response.read(20)
    own.stop()
    body = response.read()
    assert b"data: [DONE]" in body
    assert b'"verdict":"verified"' in body
    own.thread.join(PATIENCE)
    assert not own.thread.is_alive()
    with pytest.raises(OSError):
        own.get("/health")


def test_a_second_signal_cuts_what_is_under_way_and_its_receipt_says_so(own: Running, provider: LocalProvider) -> None:
    provider.fault("hang")
    asked, billed = len(provider.requests), len(provider.log)
    connection = begun(own, GOOD)
    until(lambda: len(provider.requests) > asked)
    own.stop()
    own.stop()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (424, "stopped")
    own.thread.join(PATIENCE)
    assert not own.thread.is_alive()
    assert [each.receipt.outcome for each in own.server.seen.after(0)] == ["abandoned"]
    until(lambda: len(provider.log) > billed)


def test_many_streams_at_once_are_all_judged(served: Running) -> None:
    before = len(served.server.seen.after(0))
    texts: list[str] = []

    def one() -> None:
        got = served.chat({**GOOD, "stream": True})
        assert got.comment["verdict"] == "verified"
        texts.append(got.text)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert texts == [ANSWER] * 20
    assert len(served.server.seen.after(0)) == before + 20
