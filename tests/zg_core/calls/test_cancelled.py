"""What has become of a call is written, though its task is cancelled while every thread is busy."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core import AsyncChatClient
from zg_core.receipts import ReceiptStore
from zg_core.store import Store
from zg_core.verify import Status

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 20}


@pytest.mark.parametrize("busy", [True, False])
def test_a_verdict_that_was_made_is_written_once(
    options: dict[str, Any], provider: Any, tmp_path: Any, busy: bool
) -> None:
    store, free = f"sqlite:///{tmp_path}/store.db", threading.Event()
    options = {**options, "provider": provider.address, "verify": "require", "store": store}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(threads := ThreadPoolExecutor(1))
        async with AsyncChatClient(**options) as client:
            closing = client.calls.closing
            verdict, append = closing._verdict, closing._recorder._stored.append

            async def crowded(call: Any) -> Any:
                made = await verdict(call)
                if busy:
                    threads.submit(free.wait, PATIENCE)
                    loop.call_soon(task.cancel)
                return made

            def slow(receipt: Any) -> None:
                if not busy:  # it is under way when its task is cancelled
                    loop.call_soon_threadsafe(task.cancel)
                    free.wait(PATIENCE)
                append(receipt)

            closing._verdict, closing._recorder._stored.append = crowded, slow  # type: ignore[method-assign]
            task = asyncio.ensure_future(client.create(QUESTION))
            with pytest.raises(asyncio.CancelledError):
                await task
            free.set()
        (receipt,) = client.receipts
        assert receipt.verdict.status is Status.VERIFIED

    asyncio.run(main())
    kept = ReceiptStore(Store.open(store))
    (receipt,) = kept
    assert receipt.verdict.status is Status.VERIFIED
    assert len(kept.verdicts(receipt.id)) == 1
