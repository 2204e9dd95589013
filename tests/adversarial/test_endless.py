"""Evidence that never ends holds nobody for ever, and nobody else at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.adversarial.conftest import settings_for
from tests.adversarial.operator import Asked, Operator, Said
from tests.patience import PATIENCE
from zg_core import ChatClient
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.verify import Status

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 50}


@pytest.fixture
def silent(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    """An operator who keeps every question for a signature open until the test is over."""
    operator, over = Operator(net, provider), threading.Event()

    def plan(asked: Asked) -> Said | None:
        if "/signature/" in asked.path:
            over.wait(PATIENCE)
        return None

    operator.plan = plan
    yield operator
    over.set()
    operator.stop()


def test_a_provider_that_keeps_signatures_back_holds_no_verdict_of_another(
    net: LocalNet, silent: Operator, tally: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocking clients share the threads of their background checks."""
    monkeypatch.setattr("zg_core.backends.signatures.SIGNATURE_SECONDS", 600.0)  # longer than this test

    def client(provider: str) -> ChatClient:
        return ChatClient(**settings_for(net, net.wallet, provider), verify="background", environ={})

    with client(silent.provider.address) as slow, client(net.providers[1].address) as honest:
        waiting = [slow.create(QUESTION).receipt for _ in range(40)]
        receipt = honest.create(QUESTION).receipt
        assert receipt.resolve(PATIENCE).status is Status.VERIFIED
        assert sum(each.verdict.status is Status.PENDING for each in waiting) > 30, "they were answered meanwhile"
    tally("verdicts held up by another provider", tried=1, caught=1)
