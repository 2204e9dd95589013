"""Verdicts: their order, their words, and that they are no yes or no."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from zg_core.types import Kind
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

PROVING = [Status.CLAIMED, Status.SIGNER_ONLY, Status.RESPONSE_BOUND, Status.VERIFIED]  # weakest first


@pytest.mark.parametrize("status", Status)
def test_is_neither_true_nor_false(status: Status) -> None:
    verdict = Verdict(status)
    for question in (
        lambda: bool(verdict),
        lambda: not verdict,
        lambda: verdict and 1,
        lambda: [1 for _ in [0] if verdict],
    ):
        with pytest.raises(TypeError, match="satisfies"):
            question()


@pytest.mark.parametrize("minimum", Status)
def test_satisfies_by_rank_and_only_what_proves_something(minimum: Status) -> None:
    for status in Status:
        expected = status in PROVING and minimum in PROVING and PROVING.index(status) >= PROVING.index(minimum)
        assert Verdict(status).satisfies(minimum) is expected, status
        assert Verdict(status).satisfies(str(minimum)) is expected, status


def test_an_unknown_minimum_is_an_error() -> None:
    with pytest.raises(ValueError, match="good enough"):
        Verdict(Status.VERIFIED).satisfies("good enough")


def test_the_statuses_are_those_of_the_table() -> None:
    table = "verified response_bound signer_only claimed not_checked pending unavailable not_verifiable failed"
    assert [str(status) for status in Status] == table.split()


@pytest.mark.parametrize("reason", [r for r in Reason if r])
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    sentence = Verdict(Status.FAILED, reason).explain()
    assert len(sentence.split()) > 3
    assert sentence not in (str(reason), "failed")


@pytest.mark.parametrize("status", [Status.VERIFIED, Status.SIGNER_ONLY, Status.CLAIMED, Status.PENDING])
def test_every_status_without_a_reason_has_a_sentence(status: Status) -> None:
    assert len(Verdict(status).explain().split()) > 3


def test_sentences_are_all_different() -> None:
    sentences = [Verdict(Status.FAILED, reason).explain() for reason in Reason if reason]
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Status.VERIFIED, kind=Kind.TEE_TLS, provider_identity="openrouter"),
        Verdict(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN, Kind.TEE_TLS, provider_identity="openrouter"),
    ],
)
def test_for_teetls_it_says_who_answered_outside_the_enclave(verdict: Verdict) -> None:
    assert verdict.explain().endswith("vendor openrouter answered outside the enclave")
    assert verdict.prompt == "vendor"


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        (Kind.TEE_ML, "declared"),
        (Kind.TEE_ML_SEPARATED, "declared"),
        (Kind.TEE_TLS, "vendor"),
        (Kind.STANDARD, "open"),
        (None, "open"),
    ],
)
def test_claims_no_more_of_the_prompt_than_the_kind_declares(kind: Kind | None, prompt: str) -> None:
    assert Verdict(Status.VERIFIED, kind=kind).prompt == prompt


def test_is_plain_data_with_every_field() -> None:
    verdict = Verdict(Status.FAILED, Reason.MALFORMED, Kind.TEE_ML, Binding.UNKNOWN, signed_text="t", signature="0x")
    data = verdict.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert all(type(value) in (str, bool) for name, value in data.items() if name != "record_age")
    assert data["record_age"] is None
    assert set(data) == {*Verdict.__dataclass_fields__, "prompt", "explanation"}
    assert (data["status"], data["reason"], data["kind"], data["binding"]) == (
        "failed",
        "malformed",
        "TeeML",
        "unknown",
    )
    assert Verdict(Status.PENDING).to_dict()["kind"] is None


def test_reads_as_status_and_reason() -> None:
    assert str(Verdict(Status.VERIFIED)) == "verified"
    assert str(Verdict(Status.FAILED, Reason.REPLAYED)) == "failed (replayed)"


def test_can_be_copied_and_compared_but_not_changed() -> None:
    verdict = Verdict(Status.VERIFIED, kind=Kind.TEE_ML)
    assert pickle.loads(pickle.dumps(verdict)) == copy.deepcopy(verdict) == verdict
    with pytest.raises(AttributeError):
        verdict.status = Status.FAILED  # type: ignore[misc]
