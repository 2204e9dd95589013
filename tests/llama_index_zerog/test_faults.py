"""Providers that misbehave: what was answered is never passed off as proven, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import zg_core
from llama_index_zerog import ZeroGEmbedding, get_zerog_receipts, receipt_of
from tests.llama_index_zerog.conftest import EMBED
from zg_core.localnet import LocalNet, LocalProvider

LIES = {"body_changed": "content_mismatch", "usage_changed": "content_mismatch", "other_signer": "signer_mismatch"}
ODD = ["split_utf8", "split_json", "gzip", "usage_null", "no_header", "body_remarshalled", "signature_late"]
REFUSALS = {
    "rate_limited": zg_core.RateLimited,
    "unavailable": zg_core.ProviderUnavailable,
    "redirect": zg_core.RequestError,
    "session_rejected": zg_core.SessionRejected,
    "cut_before_first_byte": zg_core.OutcomeUnknown,
}


@pytest.mark.parametrize("fault", LIES)
def test_a_lie_is_an_error_with_text_and_receipt(make_llm: Any, provider: LocalProvider, way: Any, fault: str) -> None:
    provider.fault(fault)
    with get_zerog_receipts() as receipts, pytest.raises(zg_core.VerificationFailed) as caught:
        way.chat(make_llm(), "What is the capital of France?")
    assert caught.value.code == LIES[fault]
    assert caught.value.text
    assert [receipt.id for receipt in receipts] == [caught.value.receipt.id]


@pytest.mark.parametrize("fault", ODD)
def test_an_odd_but_honest_reply_is_proven(make_llm: Any, provider: LocalProvider, way: Any, fault: str) -> None:
    provider.fault(fault)
    assert receipt_of(way.chat(make_llm(), "Say 'héllo 日本'")).verdict.satisfies("verified")


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_is_typed(make_llm: Any, provider: LocalProvider, way: Any, fault: str) -> None:
    provider.fault(fault, times=None)
    with pytest.raises(REFUSALS[fault]) as caught:
        way.chat(make_llm(max_retries=0), "hi")
    assert caught.value.hint


def test_a_lost_answer_is_asked_for_again_by_who_says_so(make_llm: Any, provider: LocalProvider, way: Any) -> None:
    provider.fault("cut_before_first_byte")
    with get_zerog_receipts() as receipts:
        assert way.chat(make_llm(retry_unknown=True, retry_deadline=30), "hi")
    assert [receipt.outcome for receipt in receipts] == ["unknown", "answered"]


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_a_lost_vector_is_asked_for_again_by_who_says_so(net: LocalNet, loop: bool) -> None:
    service = net.providers[EMBED]
    service.fault("cut_before_first_byte")
    with ZeroGEmbedding(provider=service.address, retry_unknown=True) as model, get_zerog_receipts() as receipts:
        assert asyncio.run(model.aget_text_embedding("hi")) if loop else model.get_text_embedding("hi")
    assert [receipt.outcome for receipt in receipts] == ["unknown", "answered"]


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_on_hold_nothing_of_a_forged_stream_is_shown(make_llm: Any, provider: LocalProvider, loop: bool) -> None:
    from tests.llama_index_zerog.conftest import Way

    seen: list[Any] = []
    provider.fault("body_changed")
    with pytest.raises(zg_core.VerificationFailed):
        Way(loop, True).chat(make_llm(stream_policy="hold"), "What is the capital of France?", seen=seen)
    assert seen == []
