"""How a call ends: a correction of its receipt and its verdict may come at the same time, in two threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core import Amount, AsyncChatClient, Budget, ChatClient
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
        assert written.wait(PATIENCE)
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
            super().submit(self.free.wait, PATIENCE)
            loop = asyncio.get_running_loop()
            loop.call_soon(self._leave)
            loop.call_soon(loop.call_soon, loop.call_soon, loop.call_soon, self.free.set)  # turns later: it has left
        return super().submit(work, *given, **more)


def test_what_a_refused_call_held_is_given_back_though_it_is_cancelled_while_no_thread_is_free(
    options: dict[str, Any], provider: Any, tmp_path: Any
) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    settings = {**options, "provider": provider.address, "max_retries": 0}

    async def ask() -> Any:
        async with AsyncChatClient(**settings, verify="off", store=store, budget=BUDGET) as client:
            assert client.spending is not None
            await client.create(QUESTION)
            task = asyncio.create_task(client.create(QUESTION))
            threads = _Busy("release", task.cancel)
            asyncio.get_running_loop().set_default_executor(threads)
            with provider.fault("unavailable"), pytest.raises(asyncio.CancelledError):
                await task
        return client.spending.held()

    assert asyncio.run(ask()) == []
    outcomes = sorted(each.outcome for each in ReceiptStore(Store.open(store)))
    assert outcomes == ["answered", "refused"]


BUDGET = Budget(per_run=Amount("1", "0G"))


def test_a_call_that_is_cancelled_while_no_thread_is_free_is_counted_and_written(
    options: dict[str, Any], provider: Any, tmp_path: Any
) -> None:
    store, free = f"sqlite:///{tmp_path}/store.db", threading.Event()
    options = {**options, "provider": provider.address, "verify": "require", "store": store, "budget": BUDGET}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(threads := ThreadPoolExecutor(1))
        async with AsyncChatClient(**options) as client:
            replays = client.calls.closing._replays
            arrived = replays.arrived

            def crowded(call: Any) -> Any:
                threads.submit(free.wait, PATIENCE)
                loop.call_soon(task.cancel)
                return arrived(call)

            replays.arrived = crowded  # type: ignore[method-assign]
            task = asyncio.ensure_future(client.create(QUESTION))
            with pytest.raises(asyncio.CancelledError):
                await task
            free.set()
        (receipt,) = client.receipts
        assert (receipt.outcome, receipt.fee.exact) == ("answered", True)
        assert client.spending.held() == []
        assert client.spending.spent(receipt.payer, receipt.provider).amounts["per_run"] == receipt.fee.amount
        kept = ReceiptStore(Store.open(store)).get(receipt.id)
        assert (kept.outcome, kept.fee) == ("answered", receipt.fee)

    asyncio.run(main())


@pytest.mark.parametrize("budget", [None, BUDGET])
def test_a_call_that_is_cancelled_while_it_is_noted_leaves_nothing(
    options: dict[str, Any], provider: Any, tmp_path: Any, budget: Budget | None
) -> None:
    store, slow = f"sqlite:///{tmp_path}/store.db", threading.Event()
    options = {**options, "provider": provider.address, "store": store, "budget": budget}
    spending = []

    async def main() -> None:
        async with AsyncChatClient(**options) as client:
            spending.append(client.spending)
            stored = client.calls.closing._recorder._stored
            loop, write, drop, begun = asyncio.get_running_loop(), stored.write, stored.drop, asyncio.Event()
            dropped = asyncio.Event()

            def writes(receipt: Any, **how: Any) -> None:
                loop.call_soon_threadsafe(begun.set)
                assert slow.wait(PATIENCE)
                write(receipt, **how)

            def drops(receipt: Any) -> None:
                if Store.open(store)._writer._open is None:  # else it waits for the transaction of what is slow
                    drop(receipt)
                    loop.call_soon_threadsafe(dropped.set)
                    return
                loop.call_soon_threadsafe(dropped.set)
                drop(receipt)

            stored.write, stored.drop = writes, drops  # type: ignore[method-assign]
            task = asyncio.ensure_future(client.create(QUESTION))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await dropped.wait()
            slow.set()

    asyncio.run(main())  # its threads have ended then
    assert list(Store.open(store).stream("SELECT id FROM receipts")) == []
    assert spending[0] is None or spending[0].held() == []
