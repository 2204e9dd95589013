"""Providers that misbehave: what was answered is never passed off as proven, and nothing is paid twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core import exceptions
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk

import zg_core
from langchain_zerog import ChatZeroG, get_zerog_receipts
from zg_core.localnet import LocalProvider

Make = Callable[..., ChatZeroG]
CHAT = "/v1/proxy/chat/completions"


def prompts(provider: LocalProvider) -> int:
    """Prompts that have reached the provider."""
    return sum(request.path == CHAT for request in provider.requests)


FORGERIES = {
    "body_changed": "content_mismatch",
    "usage_changed": "content_mismatch",
    "other_signer": "signer_mismatch",
    "signature_other_bytes": "content_mismatch",
}


@pytest.mark.parametrize("fault", FORGERIES)
@pytest.mark.parametrize("verify", ["warn", "require"])
def test_a_forged_answer_is_an_error_that_holds_text_and_receipt(
    make_model: Make, provider: LocalProvider, talk: Any, fault: str, verify: str
) -> None:
    model = make_model(verify=verify)
    with provider.fault(fault), pytest.raises(zg_core.VerificationFailed) as caught:
        talk.invoke(model, "Hello")
    error = caught.value
    assert isinstance(error, exceptions.ModelError)
    assert not error.is_retryable
    assert error.code == FORGERIES[fault]
    assert error.text
    assert error.receipt is not None
    assert error.receipt.chat_id == provider.log[-1].chat_id
    assert error.receipt.verdict.status == "failed"
    assert "do not trust" in str(error)


@pytest.mark.parametrize("fault", ["body_changed", "usage_changed"])
def test_a_forged_stream_ends_in_the_error_and_has_no_last_chunk(
    make_model: Make, provider: LocalProvider, talk: Any, fault: str
) -> None:
    seen: list[AIMessageChunk] = []
    with provider.fault(fault), pytest.raises(zg_core.VerificationFailed) as caught:
        talk.stream(make_model(), "Hello", seen)
    assert "".join(chunk.text for chunk in seen) == caught.value.text != ""
    assert not [chunk for chunk in seen if "zerog" in chunk.response_metadata or chunk.chunk_position == "last"]
    assert caught.value.receipt is not None


def test_on_hold_nothing_of_a_forged_stream_is_shown(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    seen: list[AIMessageChunk] = []
    model = make_model(stream_policy="hold")
    with provider.fault("body_changed"), pytest.raises(zg_core.VerificationFailed) as caught:
        talk.stream(model, "Hello", seen)
    assert seen == []
    assert caught.value.text
    talk.stream(model, "Hello", seen)
    assert seen[-1].response_metadata["zerog"]["status"] == "verified"


def test_callbacks_hear_of_a_forged_answer(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    class Failures(BaseCallbackHandler):
        heard: list[BaseException] = []  # noqa: RUF012

        def on_llm_error(self, error: BaseException, **_: Any) -> None:
            self.heard.append(error)

    handler = Failures()
    with provider.fault("body_changed", times=2):
        for way in (talk.invoke, talk.stream):
            with pytest.raises(zg_core.VerificationFailed):
                way(make_model(), "Hello", config={"callbacks": [handler]})
    first, second = handler.heard
    assert isinstance(first, zg_core.VerificationFailed)
    assert isinstance(second, zg_core.VerificationFailed)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_fallback_model_takes_over_from_a_forger(
    make_model: Make, provider: LocalProvider, talk: Any, way: str
) -> None:
    safe = make_model(verify="require")
    if way == "stream":
        safe = make_model(verify="require", stream_policy="hold")
    pair = safe.with_fallbacks([make_model(verify="require")], exceptions_to_handle=(zg_core.VerificationFailed,))
    with provider.fault("body_changed"):
        answer = getattr(talk, way)(pair, "Hello")
    last = answer[-1] if way == "stream" else answer
    assert last.response_metadata["zerog"]["status"] == "verified"


def test_an_unproven_answer_passes_with_a_warning_or_is_refused(
    make_model: Make, provider: LocalProvider, talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0,))
    with provider.fault("signature_never", times=2):
        with pytest.warns(zg_core.VerificationWarning, match="no signature"):
            message = talk.invoke(make_model(verify="warn"), "Hello")
        assert message.response_metadata["zerog"]["status"] == "unavailable"
        with pytest.raises(zg_core.VerificationUnavailable) as caught:
            talk.invoke(make_model(verify="require"), "Hello")
    assert isinstance(caught.value, exceptions.ModelError)
    assert caught.value.text == message.text
    assert caught.value.receipt is not None


def test_a_stream_that_is_cut_keeps_what_came(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    seen: list[AIMessageChunk] = []
    with provider.fault("truncated_stream", events=4), pytest.raises(zg_core.StreamTruncated) as caught:
        talk.stream(make_model(), "Write a long story", seen)
    error = caught.value
    assert isinstance(error, exceptions.ModelAPIError)
    assert error.text == "".join(chunk.text for chunk in seen) != ""
    assert error.receipt is not None
    assert error.receipt.outcome == "truncated"
    assert not error.is_retryable


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_answer_that_never_came_is_not_asked_for_again(
    make_model: Make, provider: LocalProvider, talk: Any, way: str
) -> None:
    before = prompts(provider)
    with provider.fault("cut_before_first_byte"), pytest.raises(zg_core.OutcomeUnknown) as caught:
        getattr(talk, way)(make_model(max_retries=5), "Hello")
    assert isinstance(caught.value, exceptions.ModelConnectionError)
    assert not caught.value.is_retryable
    assert caught.value.receipt is not None
    assert caught.value.receipt.outcome == "unknown"
    assert prompts(provider) == before + 1


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_answer_that_never_came_is_asked_for_again_by_who_says_so(
    make_model: Make, provider: LocalProvider, talk: Any, way: str
) -> None:
    before = prompts(provider)
    with get_zerog_receipts() as receipts, provider.fault("cut_before_first_byte"):
        assert getattr(talk, way)(make_model(retry_unknown=True, retry_deadline=30), "Hello")
    assert [receipt.outcome for receipt in receipts] == ["unknown", "answered"]
    with provider.fault("cut_before_first_byte"), pytest.raises(zg_core.OutcomeUnknown):
        getattr(talk, way)(make_model(retry_unknown=True, retry_deadline=0), "Hello")
    assert prompts(provider) == before + 3


@pytest.mark.parametrize(
    ("fault", "more", "ours", "theirs"),
    [
        ("unavailable", {}, zg_core.ProviderUnavailable, exceptions.ModelAPIError),
        ("rate_limited", {"reset": 0}, zg_core.RateLimited, exceptions.ModelRateLimitError),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_refusal_is_retried_as_often_as_allowed_and_is_langchains_error(
    make_model: Make,
    provider: LocalProvider,
    talk: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    more: dict[str, Any],
    ours: type[Exception],
    theirs: type[Exception],
    way: str,
) -> None:
    monkeypatch.setattr("zg_core.calls.retries._FIRST_WAIT", 0.0)
    before = prompts(provider)
    with provider.fault(fault, times=None, **more), pytest.raises(ours) as caught:
        getattr(talk, way)(make_model(max_retries=2), "Hello")
    assert isinstance(caught.value, theirs)
    assert caught.value.is_retryable  # type: ignore[attr-defined]
    assert prompts(provider) == before + 3
    with provider.fault(fault, times=2, **more):
        assert getattr(talk, way)(make_model(max_retries=2), "Hello")


@pytest.mark.parametrize(
    ("reason", "code", "remedy"),
    [
        ("revoked", "revoked", "zerog keys create"),
        ("expired", "expired", "set this machine's clock"),  # it was signed a moment ago
        ("provider", "other_provider", "zerog keys create"),
    ],
)
def test_a_rejected_session_says_what_to_do(
    make_model: Make, provider: LocalProvider, talk: Any, reason: str, code: str, remedy: str
) -> None:
    rejected = provider.fault("session_rejected", times=None, reason=reason)
    with rejected, pytest.raises(exceptions.ModelAuthenticationError) as caught:
        talk.invoke(make_model(), "Hello")
    assert isinstance(caught.value, zg_core.SessionRejected)
    assert caught.value.code == code
    assert remedy in caught.value.hint


@pytest.mark.parametrize(
    "fault",
    ["split_utf8", "split_json", "comment_after_done", "trailing_event", "gzip", "usage_null", "no_header"],
)
def test_odd_but_honest_streams_are_proven(make_model: Make, provider: LocalProvider, talk: Any, fault: str) -> None:
    plain = talk.stream(make_model(verify="require"), "Say 'héllo wörld 日本'")
    with provider.fault(fault):
        chunks = talk.stream(make_model(verify="require"), "Say 'héllo wörld 日本'")
    assert "".join(chunk.text for chunk in chunks) == "".join(chunk.text for chunk in plain)
    assert chunks[-1].response_metadata["zerog"]["status"] == "verified"


def test_a_redirect_is_not_followed(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    with provider.fault("redirect"), pytest.raises(zg_core.RequestError) as caught:
        talk.invoke(make_model(), "Hello")
    assert caught.value.code == "redirect"
    assert isinstance(caught.value, exceptions.ModelAPIError)


def test_an_answer_without_a_choice_is_an_error_with_its_receipt(
    make_model: Make, net: Any, script: Any, talk: Any
) -> None:
    script.body = {"model": "scripted", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}
    with pytest.raises(zg_core.RequestError) as caught:
        talk.invoke(make_model(provider=net.providers[2].address), "Hello")
    assert caught.value.code == "malformed_reply"
    assert caught.value.receipt is not None
    assert isinstance(caught.value, exceptions.ModelAPIError)
