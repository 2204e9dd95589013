"""An operator lets his enclave serve and bill, and answers something else: every request that left is on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.adversarial.conftest import settings_for
from tests.adversarial.operator import Asked, Operator, Said
from tests.faces.faces import FACES, Face
from zg_core import Budget, og
from zg_core.localnet import Fault, LocalNet, LocalProvider
from zg_core.receipts.totals import totals_of

POOR = b'{"error":"validate request: insufficient balance: your locked balance is 0 0G"}'
SESSION = b'{"error":"validate session: session token has been revoked"}'

# What he says, how often our client asks (two retries), and what is on record.
LIES: dict[str, tuple[int, bytes, int, str]] = {
    "429": (429, b'{"error":"slow down"}', 3, "refused"),
    "503": (503, b'{"error":"too many requests"}', 3, "refused"),
    "522": (522, b"<html></html>", 3, "refused"),
    "400, poor": (400, POOR, 1, "refused"),
    "400, session": (400, SESSION, 2, "refused"),
    "403": (403, b"no", 1, "refused"),
    "410": (410, b"", 1, "refused"),
    "500": (500, b'{"error":"x"}', 1, "unknown"),
    "502": (502, b"", 1, "unknown"),
    "524": (524, b"<html></html>", 1, "unknown"),
    "408": (408, b"", 1, "unknown"),
    "599": (599, b"", 1, "unknown"),
    "418": (418, b"", 1, "unknown"),
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zg_core.calls.retries._FIRST_WAIT", 0.001)


@pytest.fixture
def operator(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    made = Operator(net, provider)
    yield made
    made.stop()


@pytest.fixture
def settings(net: LocalNet, operator: Operator) -> dict[str, Any]:
    budget = Budget(per_run=og("1"), completion_tokens=50)
    where = settings_for(net, net.wallet, operator.provider.address)
    return {**where, "model": "chat-ml", "verify": "require", "max_retries": 2, "budget": budget}


def billed(operator: Operator) -> tuple[int, int]:
    """How many requests the enclave has billed, and what it asks for them together."""
    log = operator.provider.log
    return len(log), sum(entry.fee for entry in log)


def lying(operator: Operator, status: int, body: bytes) -> Any:
    """A plan: the enclave serves and bills; the user hears something else."""

    def plan(asked: Asked) -> Said | None:
        if not asked.is_chat:
            return None
        operator.forward(asked)
        return Said(body, status, {"content-type": "application/json", "retry-after": "0"})

    return plan


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("face", FACES, ids=repr)
def test_what_was_billed_is_on_record(operator, settings, tally, face: Face, name: str):
    status, body, asked, outcome = LIES[name]
    before, fees = billed(operator)
    operator.plan = lying(operator, status, body)
    seen = face.ask(settings)
    assert seen.text == ""
    after, paid = billed(operator)
    assert after - before == asked
    assert seen.outcomes == [outcome] * asked
    assert seen.error.receipt is seen.receipt
    assert all(receipt.fee.lower == 0 < receipt.fee.upper for receipt in seen.receipts)
    (total,) = totals_of(seen.receipts)
    most = total.disputable if outcome == "refused" else total.upper
    assert 0 < paid - fees <= most.units, "the operator was paid more than the receipts can show"
    assert total.amount.units == 0
    tally("refused after it was served and billed", tried=asked, caught=asked)


@pytest.mark.parametrize("face", FACES, ids=repr)
def test_a_lie_that_ends_in_an_answer_is_on_record_too(operator, settings, tally, face: Face):
    served = operator.forward
    lies = [503, 429]
    before, _ = billed(operator)

    def plan(asked: Asked) -> Said | None:
        if not asked.is_chat:
            return None
        said = served(asked)
        return Said(b"{}", lies.pop(0), {"retry-after": "0"}) if lies else said

    operator.plan = plan
    seen = face.ask(settings)
    assert "Paris" in seen.text
    assert seen.outcomes == ["refused", "refused", "answered"]
    assert billed(operator)[0] - before == 3
    assert seen.receipt.fee.exact
    assert seen.receipt.fee.amount.units == operator.provider.log[-1].fee
    tally("refused after it was served and billed", tried=2, caught=2)


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.UNAVAILABLE])
@pytest.mark.parametrize("face", FACES, ids=repr)
def test_an_honest_refusal_costs_an_attempt_and_no_money(operator, settings, tally, face: Face, fault: Fault):
    how = {"reset": 0} if fault is Fault.RATE_LIMITED else {}
    operator.provider.fault(fault, times=1, **how)
    before, _ = billed(operator)
    seen = face.ask(settings)
    assert "Paris" in seen.text
    assert (seen.outcomes, seen.verdict) == (["refused", "answered"], "verified")
    assert billed(operator)[0] - before == 1
    (total,) = totals_of(seen.receipts)
    assert (total.exact, total.amount.units, total.refused) == (True, operator.provider.log[-1].fee, 1)
    tally("reply through an operator's machine", honest=1, accepted=1)
