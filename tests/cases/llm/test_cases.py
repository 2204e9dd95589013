"""What servers of the field send, through a provider that signs it: the same right value in every face."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.exceptions import ContextOverflowError

import zg_core
from tests.cases.llm.asking import Face
from tests.cases.llm.conftest import Stage
from tests.cases.llm.inputs import CASES, HERE, Case, names_in
from tests.cases.llm.values import HTTP, right

ANSWERS = [case for case in CASES if case.form != "http"]
REFUSALS = [case for case in CASES if case.form == "http"]
KINDS = [(case, kind) for case in ANSWERS for kind in right(case).kinds]


def test_every_case_has_its_right_value(record_property: Callable[[str, object], None]) -> None:
    forms = Counter(case.form for case in CASES)
    record_property("cases of the field", dict(forms))
    assert {case.name for case in CASES} == set(names_in(HERE))
    assert {case.name for case in REFUSALS} == set(HTTP)
    assert (forms["stream"], forms["whole"], forms["http"]) == (38, 16, 20)


@pytest.mark.requires("cases")
def test_every_shared_case_of_a_server_is_among_them(shared: Path) -> None:
    inputs = shared / "cases" / "llm" / "inputs"
    served = [name for name in names_in(inputs) if not name.startswith(("c", "l"))]
    assert served == names_in(HERE)
    for name in served:
        for path in (inputs / name).iterdir():
            if path.name not in ("expected.json", "call.json"):
                assert path.read_bytes() == (HERE / name / path.name).read_bytes(), path


@pytest.mark.parametrize(("case", "kind"), KINDS, ids=[f"{case}-{kind}" for case, kind in KINDS])
def test_an_answer(stage: Stage, face: Face, case: Case, kind: str) -> None:
    wanted = right(case)
    stage.serve(case)
    got = face.ask(stage.settings(kind), stream=case.form == "stream")
    if wanted.error:
        assert got.error is not None, "it was taken for an answer"
        assert isinstance(got.error, zg_core.RequestError)
        assert wanted.error in got.error.message
        assert got.error.code == wanted.code
        if case.form == "stream":
            assert got.error.text == wanted.text
        else:
            assert wanted.error in got.error.text, "the body"
        assert got.error.receipt is got.receipts[-1]
        return
    assert got.raised is None, got.raised
    assert got.text == wanted.text
    receipt = got.receipts[-1]
    assert (str(receipt.verdict), receipt.fee.exact) == ("verified", wanted.exact)
    if face.name not in ("langchain", "llamaindex"):
        return
    assert (got.finish or None) == wanted.finish
    assert got.usage == wanted.usage
    if wanted.exact:
        assert receipt.usage is not None
        assert got.usage == (receipt.usage.prompt_tokens, receipt.usage.completion_tokens)
    assert (got.calls, got.invalid) == (wanted.calls, wanted.invalid)
    assert got.reasoning == wanted.reasoning
    assert set(wanted.beside) <= set(got.beside)


@pytest.mark.parametrize("case", REFUSALS, ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_refusal(stage: Stage, face: Face, case: Case, stream: bool) -> None:
    kind, code, words, more = HTTP[case.name]
    began = time.monotonic()
    stage.serve(case)
    got = face.ask({**stage.settings("TeeML"), **stage.enclave.settings, "max_retries": 0}, stream=stream)
    error = got.error
    assert error is not None, got.raised
    assert isinstance(error, getattr(zg_core, kind)), type(error)
    assert error.code == ("stream_truncated" if stream and not case.body else code)
    assert words in error.message
    assert more.items() <= error.details.items()
    assert error.receipt is got.receipts[-1]
    if "429-retry" in case.name:
        late = time.monotonic() - began  # a date is so much nearer when it is read
        assert math.isclose(error.details["retry_after"], more.get("retry_after", 4), abs_tol=2 + late)
    if kind == "OutcomeUnknown":
        assert error.receipt.outcome == "unknown"
    if code == "malformed_reply":
        assert ("Just a moment" in (error.text or "")) == bool(case.body)
    if code == "context_length_exceeded" and face.name == "langchain":
        assert isinstance(got.raised, ContextOverflowError)
    if "wallet" in error.hint:
        pytest.fail(f"it sends the user to his wallet: {error.hint}")
    assert len(stage.enclave.prompts()) == 1
