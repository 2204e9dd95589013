"""How a call ends: a correction of its receipt and its verdict may come at the same time, in two threads."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from zg_core import ChatClient
from zg_core.calls.closing import RECORD_CHANGED, _Ended
from zg_core.receipts import ReceiptStore
from zg_core.store import Store
from zg_core.verify import Status, Verdict

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 20}


@pytest.mark.parametrize("comes", ["before it is written", "while it is made", "after it"])
def test_a_correction_takes_back_no_verdict_that_comes_meanwhile(
    options: dict[str, Any], provider: Any, tmp_path: Any, comes: str
) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    with ChatClient(**{**options, "provider": provider.address}, verify="require", store=store) as client:
        receipt = client.create(QUESTION).receipt
        made, closing = receipt.verdict, client.calls.closing
        assert made.status is Status.VERIFIED
        # As it was before its check ended.
        pending = Verdict(Status.PENDING, kind=receipt.kind)
        receipt.settle(pending)
        with Store.open(store).transaction() as work:
            work.run("UPDATE receipts SET status = 'pending', verdict = '{}', judged = NULL")
        written = threading.Event()

        class Correction:
            """A price that was raised, of a provider whose key is as it was."""

            fee = replace(receipt.fee, exact=False, reason="price_changed", lower=0, upper=receipt.fee.amount.units * 2)
            kind, tariff = receipt.kind, None

            @property
            def signer(self) -> str:
                if comes == "while it is made":
                    receipt.settle(made)
                return made.recovered_signer

        corrected = closing._corrected

        async def told(of: Any) -> None:
            if comes == "before it is written":
                receipt.settle(made)
                closing._recorder._stored.append(receipt)
            await corrected(of)
            written.set()

        closing._corrected = told
        closing._changed(_Ended(receipt, None), Correction())  # type: ignore[arg-type]
        assert written.wait(60)
        if comes != "before it is written":
            receipt.settle(made)
            closing._recorder._stored.append(receipt)
        assert receipt.verdict == made
        assert RECORD_CHANGED in receipt.flags
        kept = ReceiptStore(Store.open(store)).get(receipt.id)
        assert (kept.verdict.status, kept.fee.exact, kept.flags) == (Status.VERIFIED, False, receipt.flags)
        earlier = ReceiptStore(Store.open(store)).verdicts(receipt.id)
        assert Status.PENDING not in {each.status for each in earlier}
