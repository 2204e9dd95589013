"""Makes the calls of a plan, in threads and on event loops at once, while the network misbehaves."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool

from langchain_zerog import ChatZeroG
from tests.chaos import plan
from tests.chaos.plan import Task
from zg_core import AsyncChatClient, Broker, Budget, ChatClient, VerificationWarning, ZeroGError, og
from zg_core.backends.onchain import RECORD_AGE
from zg_core.http.transport import _WORKERS
from zg_core.localnet import Fault, LocalNet, LocalProvider, LocalWallet, ProviderSettings
from zg_core.receipts import Receipt

WORKERS = 8  # threads, and as many tasks of an event loop
MAX_TOKENS = 64
TIMEOUT = 3.0
BUDGET = og("50")
DEPOSIT = 20 * 10**18
POOR = 10**18 + 12 * 10**12  # one or two calls, then it is too little


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


class Counter(BaseCallbackHandler):
    """Counts the calls that an agent makes of its model."""

    def __init__(self) -> None:
        self.calls = 0

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.calls += 1


@dataclass
class Result:
    """What came of a task."""

    task: Task
    calls: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def refused(self) -> bool:
        """Whether its last call was refused, or never sent."""
        last = getattr(self.error, "receipt", None)
        return self.error is not None and (last is None or last.outcome == "refused")

    @property
    def served(self) -> list[Receipt]:
        """The receipts of what was served, or may have been."""
        return [receipt for receipt in self.receipts if receipt.outcome != "refused"]


RUNNING: ContextVar[Result] = ContextVar("RUNNING")


@dataclass
class Parties:
    """The clients of one provider, shared by all threads and loops."""

    blocking: ChatClient
    asynchronous: AsyncChatClient
    model: ChatZeroG
    agent: Any

    async def read_again(self) -> None:
        """Read the provider's record once more, each: what it says now corrects what was under way."""
        self.blocking.service()
        self.model._client().service()
        await self.asynchronous.service()
        await self.model._async_client().service()

    async def close(self) -> None:
        """Finish what they do aside, in this loop, and close them."""
        self.blocking.close()
        self.model.close()
        await self.asynchronous.close()
        await self.model.aclose()


class Storm:
    """A local network, clients that use it, and what is known of every call.

    Args:
        seed: Of the plan.
        store: URL of the store that all clients share.
    """

    def __init__(self, seed: int, store: str) -> None:
        self.waves = plan.draw(seed)
        self.store = store
        self.results: list[Result] = []
        self.receipts: list[Receipt] = []
        self.unattributed: list[Receipt] = []
        self.budget = Budget(per_run=BUDGET, run=f"storm-{seed}")
        self._guard = threading.Lock()
        self._ended = 0
        settings = replace(ProviderSettings.fast(), settle_interval=None)
        specs = list(plan.SPECS)
        specs[plan.LAGGING] = replace(specs[plan.LAGGING], settings=replace(settings, account_cache=120))
        self.net = LocalNet(providers=specs, settings=settings)
        self._parties: dict[tuple[int, bool], Parties] = {}

    @contextmanager
    def running(self) -> Iterator[Storm]:
        """Start the network and open the accounts."""
        with self.net as net:
            self.rich, self.poor = net.new_wallet(), net.new_wallet()
            for provider in net.providers:
                net.open_account(self.rich, provider, DEPOSIT)
            net.open_account(self.poor, net.providers[plan.LAGGING], POOR)
            yield self

    def wallet(self, *, poor: bool) -> LocalWallet:
        """Who pays."""
        return self.poor if poor else self.rich

    # the calls

    def blow(self) -> None:
        """All waves, one after the other."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerificationWarning)
            for wave, tasks in enumerate(self.waves):
                self._wave(wave, tasks)
        self.net.clock.advance(RECORD_AGE + 1)
        asyncio.run(self._close())
        self._settled_down()

    def _wave(self, wave: int, tasks: list[Task]) -> None:
        net = self.net
        self._ended = 0
        self._due = sorted(self._events(wave, len(tasks)), key=lambda event: event[0])
        self._happen()
        for task in tasks:
            if (trouble := task.trouble) is not None:
                net.providers[task.provider].fault(
                    trouble.fault, times=trouble.times, containing=task.mark, **trouble.options
                )
        with ThreadPoolExecutor(WORKERS) as pool:
            threads = [pool.submit(self._in_thread, task) for task in tasks if not task.loop]
            asyncio.run(self._in_loop([task for task in tasks if task.loop]))
            for thread in threads:
                thread.result()
        for provider in net.providers:
            provider.clear_faults()
        assert not self._due, "something of the wave never happened"
        net.providers[wave % plan.PROVIDERS].settle()

    def _events(self, wave: int, size: int) -> list[tuple[int, Callable[[], object]]]:
        """What happens in a wave, and after how many of its tasks have ended."""
        net = self.net
        one, two, three, four, five = net.providers
        early, half, late = size // 4, size // 2, 3 * size // 4

        def raise_prices(provider: LocalProvider) -> None:
            provider.set_price(6 * provider.prices[0] // 5, 6 * provider.prices[1] // 5)

        events: list[tuple[int, Callable[[], object]]] = []
        if wave in (plan.KILLED, plan.ALL):
            events += [(early, two.kill), (late, two.restart)]
        if wave in (plan.STORMY, plan.ALL):
            events += [(early // 2, lambda: three.fault(Fault.RATE_LIMITED, times=size // 2))]
        if wave == plan.PRICED:
            # All of these clients read a record later, and correct what was under way; that is what they are held to.
            events += [(0, lambda: raise_prices(four)), (0, lambda: net.clock.advance(601))]
            events += [(number, lambda one=one: raise_prices(one)) for number in range(early, late, 6)]
            events += [(number, lambda: raise_prices(three)) for number in range(early, late, 10)]
        if wave in (plan.ROTATED, plan.ALL):
            events += [(early, one.rotate_signer), (early, lambda: four.rotate_signer(acknowledged=False))]
            events += [(half, four.acknowledge)]
        if wave in (plan.OUTAGE, plan.ALL):
            events += [(1, lambda: net.chain_outage(30)), (late, lambda: net.clock.advance(30))]
        if wave == plan.LAG:
            events += [(half, self._top_up)]
        if wave == plan.SKEW:
            events += [(early, lambda: five.fault(Fault.CLOCK_AHEAD, times=12))]
            events += [(half, lambda: net.clock.advance(3600))]
        return events

    def _top_up(self) -> None:
        with Broker(**self._settings(poor=True)) as broker:
            broker.transfer(self.net.providers[plan.LAGGING].address, og("1"))

    def _ending(self, result: Result) -> None:
        with self._guard:
            self.results.append(result)
            self._ended += 1
        self._happen()

    def _happen(self) -> None:
        """Let happen what is due. One thread at a time; the others go on."""
        while True:
            with self._guard:
                if not self._due or self._due[0][0] > self._ended:
                    return
                event = self._due.pop(0)[1]
            event()

    def _in_thread(self, task: Task) -> None:
        result = Result(task)
        token = RUNNING.set(result)
        try:
            self._call(task, result)
        except ZeroGError as error:
            result.error = error
        finally:
            RUNNING.reset(token)
        self._ending(result)

    async def _in_loop(self, tasks: list[Task]) -> None:
        left = list(reversed(tasks))

        async def worker() -> None:
            while left:
                task = left.pop()
                result = Result(task)
                token = RUNNING.set(result)
                try:
                    await self._acall(task, result)
                except ZeroGError as error:
                    result.error = error
                finally:
                    RUNNING.reset(token)
                await asyncio.to_thread(self._ending, result)

        await asyncio.gather(*(worker() for _ in range(WORKERS)))

    def _call(self, task: Task, result: Result) -> None:
        parties = self._make(task.provider, poor=task.poor) if task.fresh else self._shared(task)
        with ExitStack() as stack:
            if task.fresh:
                stack.callback(asyncio.run, parties.close())
            if task.way == "agent":
                counter = Counter()
                try:
                    parties.agent.invoke({"messages": [("human", task.question)]}, {"callbacks": [counter]})
                finally:
                    result.calls = counter.calls
                return
            result.calls = 1
            payload = _payload(task)
            if task.way == "create":
                parties.blocking.create(payload)
                return
            with parties.blocking.stream(payload) as events:
                for _ in events:
                    if task.way == "left":
                        break

    async def _acall(self, task: Task, result: Result) -> None:
        parties = self._make(task.provider, poor=task.poor) if task.fresh else self._shared(task)
        try:
            if task.way == "agent":
                counter = Counter()
                try:
                    await parties.agent.ainvoke({"messages": [("human", task.question)]}, {"callbacks": [counter]})
                finally:
                    result.calls = counter.calls
                return
            result.calls = 1
            payload = _payload(task)
            if task.way == "create":
                await parties.asynchronous.create(payload)
                return
            async with parties.asynchronous.stream(payload) as events:
                async for _ in events:
                    if task.way == "left":
                        break
        finally:
            if task.fresh:
                await parties.close()

    # the clients

    def _settings(self, *, poor: bool) -> dict[str, Any]:
        wallet = self.wallet(poor=poor)
        named = {"network": "local", "rpc_url": self.net.rpc_url, "store": self.store}
        return {**named, "private_key": wallet.private_key}

    def _shared(self, task: Task) -> Parties:
        key = (task.provider, task.poor)
        with self._guard:
            if key not in self._parties:
                self._parties[key] = self._make(task.provider, poor=task.poor)
            return self._parties[key]

    def _make(self, provider: int, *, poor: bool) -> Parties:
        settings = {
            **self._settings(poor=poor),
            "provider": self.net.providers[provider].address,
            "timeout": TIMEOUT,
            "budget": self.budget,
            "on_receipt": self._told,
        }
        model = ChatZeroG(**settings, max_tokens=MAX_TOKENS)
        return Parties(
            ChatClient(**settings, environ={}),
            AsyncChatClient(**settings, environ={}),
            model,
            create_agent(model, [multiply]),
        )

    def _told(self, receipt: Receipt) -> None:
        result = RUNNING.get(None)
        with self._guard:
            self.receipts.append(receipt)
            if result is None:
                self.unattributed.append(receipt)
            else:
                result.receipts.append(receipt)

    async def _close(self) -> None:
        for parties in self._parties.values():
            await parties.read_again()
            await parties.close()

    def _settled_down(self) -> None:
        """Wait until no provider and no client is at work any more: what was hung up on is billed, and corrected."""
        running = self.net._server._running
        ended = threading.Event()
        for _ in range(6000):
            if not self.net._server.call(lambda: len(running)) and not _WORKERS._busy and not _WORKERS._queues:
                return
            ended.wait(0.01)
        raise AssertionError(f"{len(running)} requests and {_WORKERS._busy} checks never end")


def _payload(task: Task) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": task.question}], "max_tokens": MAX_TOKENS}
