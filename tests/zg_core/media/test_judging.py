"""Exchanges made elsewhere, with a token of ours, are judged as our own would be; one of each task."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.zg_core.media.conftest import PICTURE, RECORDING
from zg_core import ChatClient, ConfigError, RequestError
from zg_core.tasks.forms import form_of, part_of

FORMS = {
    "image_edits": {"prompt": "more fox", "n": 2, "image": part_of(PICTURE, what="an image", most=10**6)},
    "transcription": {"file": part_of(RECORDING, what="a recording", most=10**6)},
}
MODELS = {
    "chat": ("chat", "/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "images": ("text-to-image/TeeML", "/images/generations", {"prompt": "a fox", "n": 2}),
    "image_edits": ("image-editing/TeeML", "/images/edits", None),
    "transcription": ("speech-to-text/TeeML", "/audio/transcriptions", None),
}


def exchange(client: ChatClient, provider: Any, task: str) -> tuple[bytes, Any]:
    """An exchange by hand: the request's bytes and the response."""
    model, path, payload = MODELS[task]
    if payload is None:
        body, kind = form_of({"model": model, **FORMS[task]})
        assert isinstance(body, bytes)
    else:
        body, kind = json.dumps({"model": model, **payload}).encode(), "application/json"
    headers = {"authorization": f"Bearer {client.token().reveal()}", "content-type": kind}
    return body, httpx2.post(f"{provider.url}/v1/proxy{path}", content=body, headers=headers, trust_env=False)


@pytest.mark.parametrize("task", MODELS)
def test_one_of_each_task_is_judged_and_priced(settings: dict[str, Any], at: Any, task: str) -> None:
    provider = at(MODELS[task][0])
    with ChatClient(**settings, provider=provider.address) as client:
        request, response = exchange(client, provider, task)
        assert response.status_code == 200, response.text
        for _ in "ab":  # to look twice is no replay
            receipt = client.judge(task, request=request, response=response.content, headers=dict(response.headers))
            assert (str(receipt.verdict), receipt.task, receipt.outcome) == ("verified", task, "answered")
        assert receipt.fee.amount.units == provider.log[-1].fee
        assert (receipt.fee.exact, "made_elsewhere" in receipt.flags) == (True, True)
        assert len(client.receipts) == 0
        changed = response.content.replace(b"o", b"a").replace(b"AAAA", b"AAAB")
        worse = client.judge(task, request=request, response=changed, headers=dict(response.headers))
        assert str(worse.verdict) == "failed (content_mismatch)"


def test_the_id_inside_names_the_signature_of_chats_alone(settings: dict[str, Any], at: Any) -> None:
    with ChatClient(**settings, provider=at("chat").address) as client:
        request, response = exchange(client, at("chat"), "chat")
        assert str(client.judge("chat", request=request, response=response.content).verdict) == "verified"
    with ChatClient(**settings, provider=at("text-to-image/TeeML").address) as client:
        request, response = exchange(client, at("text-to-image/TeeML"), "images")
        found = client.judge("images", request=request, response=response.content).verdict
        assert str(found) == "unavailable (no_chat_id)"


def test_another_question_is_not_what_was_signed(settings: dict[str, Any], at: Any) -> None:
    with ChatClient(**settings, provider=at("chat").address) as client:
        request, response = exchange(client, at("chat"), "chat")
        other = request.replace(b"hi", b"ho")
        found = client.judge("chat", request=other, response=response.content).verdict
    assert str(found.status) == "response_bound"


@pytest.mark.parametrize(
    ("task", "request_", "response", "code"),
    [
        ("video", b"{}", b"{}", "unknown_task"),
        ("chat", b"not json", b"{}", "bad_request_body"),
        ("transcription", b"--x\r\nhalf", b"{}", "bad_request_body"),
        ("chat", b'{"messages":[],"stream":true}', b'data: {"choices":[]}\n\n', "bad_exchange"),
        ("chat", b'{"messages":[],"stream":true}', b'data: {"choices":[{"delta":{"content":"a"}}]}', "bad_exchange"),
        ("chat", b'{"messages":[]}', b"<html>", "malformed_reply"),
        ("chat", b'{"messages":[]}', b'{"error":"no"}', "error_in_reply"),
    ],
)
def test_what_is_no_exchange_is_said(
    settings: dict[str, Any], at: Any, task: str, request_: bytes, response: bytes, code: str
) -> None:
    with ChatClient(**settings, provider=at("chat").address) as client, pytest.raises((ConfigError, RequestError)) as e:
        client.judge(task, request=request_, response=response)
    assert e.value.code == code
