"""How a call ends: a correction of its receipt and its verdict may come at the same time, in two threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from zg_core import AsyncChatClient, Budget, ChatClient, og
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


class _Busy(ThreadPoolExecutor):
    """The threads of a loop, all busy when this work is to be done: whoever waits for it leaves before it is begun."""

    def __init__(self, name: str, leave: Callable[[], None]) -> None:
        super().__init__(max_workers=1)
        self._name, self._leave = name, leave
        self.free = threading.Event()

    def submit(self, work: Any, /, *given: Any, **more: Any) -> Any:
        asked = getattr(work, "args", ())
        if asked and getattr(asked[0], "__name__", "") == self._name:
            self._name = ""
            super().submit(self.free.wait, 60)
            loop = asyncio.get_running_loop()
            loop.call_soon(self._leave)
            loop.call_soon(loop.call_soon, loop.call_soon, loop.call_soon, self.free.set)  # turns later: it has left
        return super().submit(work, *given, **more)


@pytest.mark.parametrize(("name", "refused"), [("_write_end", False), ("release", True)])
def test_what_a_call_cost_is_counted_though_its_task_is_cancelled_before_a_thread_is_free(
    options: dict[str, Any], provider: Any, tmp_path: Any, name: str, refused: bool
) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    settings = {**options, "provider": provider.address, "max_retries": 0}

    async def ask() -> Any:
        async with AsyncChatClient(**settings, verify="off", store=store, budget=Budget(per_run=og("1"))) as client:
            assert client.spending is not None
            await client.create(QUESTION)
            task = asyncio.create_task(client.create(QUESTION))
            threads = _Busy(name, task.cancel)
            asyncio.get_running_loop().set_default_executor(threads)
            with provider.fault("unavailable") if refused else nullcontext(), pytest.raises(asyncio.CancelledError):
                await task
        return client.spending.held()

    assert asyncio.run(ask()) == []
    outcomes = sorted(each.outcome for each in ReceiptStore(Store.open(store)))
    assert outcomes == (["answered", "refused"] if refused else ["answered", "answered"])
