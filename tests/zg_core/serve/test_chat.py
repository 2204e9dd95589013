"""One whole answer through the server: bytes, headers, verdict."""

from __future__ import annotations

import pytest

from tests.zg_core.serve.serving import ANSWER, QUESTION, Running
from zg_core.crypto import sha256_hex
from zg_core.localnet import LocalNet, LocalProvider


def test_a_whole_answer_is_the_providers_bytes_with_the_verdict_on_its_head(served: Running) -> None:
    got = served.chat({"model": "chat-ml", **QUESTION})
    assert got.status == 200, got.body
    assert got.json["choices"][0]["message"]["content"] == ANSWER
    receipt = served.server.seen.get(got.headers["x-zerog-receipt"]).receipt
    assert receipt.response_sha256 == sha256_hex(got.body)
    assert got.headers["x-zerog-verdict"] == "verified"
    assert got.headers["x-zerog-provider"] == receipt.provider
    assert got.headers["x-zerog-chat-id"] == receipt.chat_id == got.headers["zg-res-key"]
    assert (got.headers["x-zerog-fee"], got.headers["x-zerog-fee-exact"]) == (str(receipt.fee.amount.units), "true")
    assert got.headers["x-zerog-fee-unit"] == "neuron"


def test_every_model_on_chain_is_answered_by_who_serves_it(served: Running, net: LocalNet) -> None:
    for provider in net.providers[:3]:
        got = served.chat({"model": provider.model, **QUESTION})
        assert (got.status, got.headers["x-zerog-provider"]) == (200, provider.address)


def test_a_stream_ends_with_a_comment_that_holds_the_verdict(served: Running) -> None:
    got = served.chat({"model": "chat-ml", "stream": True, **QUESTION})
    assert got.status == 200
    assert got.headers["content-type"] == "text/event-stream"
    assert got.text == ANSWER
    assert got.events[-1] == "[DONE]"
    assert got.comment["verdict"] == "verified"
    receipt = served.server.seen.get(got.comment["receipt"]).receipt
    sent, comment, _ = got.body.partition(b": zerog ")
    assert comment
    assert receipt.response_sha256 == sha256_hex(sent)
    assert got.headers["x-zerog-receipt"] == receipt.id
    assert "x-zerog-verdict" not in got.headers, "it is not known yet"


def test_a_changed_answer_is_an_error_and_not_handed_on(served: Running, provider: LocalProvider) -> None:
    provider.fault("body_changed")
    got = served.chat({"model": "chat-ml", **QUESTION})
    assert got.status == 424
    assert got.error["code"] == "content_mismatch"
    assert got.error["type"] == "verification_error"
    assert got.headers["x-zerog-verdict"] == "failed"
    assert got.headers["x-should-retry"] == "false"
    assert b"capital of France" not in got.body


def test_a_changed_stream_ends_with_an_error_event_and_without_done(served: Running, provider: LocalProvider) -> None:
    provider.fault("body_changed")
    got = served.chat({"model": "chat-ml", "stream": True, **QUESTION})
    assert got.status == 200
    assert "[DONE]" not in got.events
    assert '"code": "content_mismatch"' in got.events[-1]
    assert got.comment["verdict"] == "failed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_without_a_model_names_the_choices(served: Running, stream: bool) -> None:
    got = served.chat({"model": "no-such", "stream": stream, **QUESTION})
    assert (got.status, got.error["code"]) == (404, "model_not_served")
