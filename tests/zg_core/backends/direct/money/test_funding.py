"""Auto-funding: off until started, never over its limits, one transfer at a time, and it stops."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.processes import together
from zg_core import (
    AsyncBroker,
    AsyncFunder,
    AutoFunding,
    Broker,
    Budget,
    BudgetExceeded,
    ChainError,
    ChatClient,
    ConfigError,
    Funder,
    Progress,
    Store,
    neuron,
    og,
)
from zg_core.budget import Spending
from zg_core.http.messages import Request, Response
from zg_core.http.transport import SyncTransport

QUESTION = {"messages": [{"role": "user", "content": "What is 6 times 7?"}]}
PLAN = AutoFunding(max_total=og("10"), max_per_provider=og("6"), target=og("2"), interval=3600)


ROOT = Path(__file__).resolve().parents[5]
MOVER = """
import os, sys
from zg_core import Budget, BudgetExceeded, Store, og
from zg_core.budget import Spending
spending = Spending(Budget(per_wallet=og("7")), Store(sys.argv[1]), 31337)
moved = 0
for _ in range(5):
    try:
        held = spending.reserve_transfer("0x" + "ab" * 20, "0x" + "cd" * 20, 10**18)
    except BudgetExceeded:
        break
    if sys.argv[2:]:
        os.kill(os.getpid(), 9)
    spending.settle_transfer(held, 10**18)
    moved += 1
print(moved)
"""


class Heard:
    """Collects progress and lets a test wait for a step."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self._changed = threading.Condition()

    def __call__(self, step: Progress) -> None:
        with self._changed:
            self.steps.append(step)
            self._changed.notify_all()

    def named(self, name: str) -> list[Progress]:
        return [step for step in self.steps if step.name == name]

    def wait_for(self, name: str, count: int = 1) -> list[Progress]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.named(name)) >= count, PATIENCE), [
                s.name for s in self.steps
            ]
        return self.named(name)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def where(net: Any, heard: Heard) -> dict[str, Any]:
    return {
        "network": "local",
        "rpc_url": net.rpc_url,
        "ledger": net.ledger,
        "inference": net.inference,
        "environ": {},
        "private_key": net.new_wallet().private_key,
    }


@pytest.fixture
def broker(where: dict[str, Any], heard: Heard) -> Iterator[Broker]:
    with Broker(**where, store=Store("memory:"), on_progress=heard) as made:
        made.deposit(og("20"))
        yield made


def test_nothing_moves_before_it_is_started(broker, provider):
    funder = Funder(broker, PLAN, [provider.address])
    assert not funder.running
    assert broker.account(provider.address) is None
    assert funder.spent == {}


def test_a_new_account_is_filled_to_the_target_and_the_event_has_the_hash(broker, provider, heard, net):
    with Funder(broker, PLAN, [provider.address.lower()]) as funder:
        (step,) = heard.wait_for("funded")
    assert broker.account(provider.address).usable == og("2")
    assert net.chain.receipt(step.details["transaction"]).status == 1
    assert (step.details["amount"], step.details["provider"]) == (2 * 10**18, provider.address)
    assert funder.spent == {provider.address: og("2")}
    assert not funder.running


def test_what_the_provider_has_not_settled_is_added(broker, provider, where):
    # The rule of 0g-direct §7: unsettled + target - usable, and at least 1 0G.
    broker.transfer(provider.address, og("2"))
    provider.drop_caches()
    with ChatClient(**where, provider=provider.address) as client:
        client.create(QUESTION)
    assert provider.unsettled(broker.address) > 0
    funder = Funder(broker, PLAN, [provider.address])
    funder.look()
    assert funder.spent == {provider.address: og("1")}
    funder.look()
    assert funder.spent == {provider.address: og("1")}, "enough is there now"


def test_a_large_deficit_is_transferred_exactly(broker, provider):
    broker.transfer(provider.address, og("1"))
    funder = Funder(
        broker, AutoFunding(max_total=og("9"), max_per_provider=og("9"), target=og("4")), [provider.address]
    )
    funder.look()
    assert broker.account(provider.address).usable == og("4")


def test_the_limits_hold_for_one_provider_and_for_all(broker, net, provider, heard):
    first, second = provider.address, net.providers[1].address
    plan = AutoFunding(max_total=og("4"), max_per_provider=og("3"), target=og("5"))
    funder = Funder(broker, plan, [first, second])
    for _ in range(3):
        funder.look()
    assert funder.spent == {first: og("3"), second: og("1")}
    assert broker.account(first).balance == og("3")
    assert broker.account(second).balance == og("1")
    assert {step.details["provider"] for step in heard.named("funding_limit")} == {first, second}
    assert broker.ledger().available == og("16")


def test_a_new_account_that_the_limit_does_not_allow_is_not_opened_with_less(broker, provider, heard):
    plan = AutoFunding(max_total=og("0.9"), max_per_provider=og("5"))
    funder = Funder(broker, plan, [provider.address])
    funder.look()
    assert broker.account(provider.address) is None
    assert funder.spent == {provider.address: og("0")}
    assert heard.named("funding_limit")


def test_a_failed_transfer_is_told_and_not_counted(where, provider, heard):
    with Broker(**where, store=Store("memory:"), on_progress=heard) as poor:
        poor.deposit(og("3"))
        funder = Funder(
            poor, AutoFunding(max_total=og("9"), max_per_provider=og("9"), target=og("5")), [provider.address]
        )
        funder.look()
        assert funder.spent == {provider.address: og("0")}
        (step,) = heard.named("funding_failed")
        assert step.details["code"] == "ledger_too_small"
        assert "zerog deposit 2" in step.message


class Astray(SyncTransport):
    """Asks for the unsettled fees where the provider has no such route."""

    async def send(self, request: Request) -> Response:
        return await super().send(replace(request, url=request.url.replace("unsettledfee", "nowhere")))


@pytest.fixture
def limited(where: dict[str, Any], heard: Heard, tmp_path: Path) -> Iterator[tuple[Broker, Store]]:
    """A broker whose store outlives it, as a budget for a day needs."""
    store = Store(f"sqlite:///{tmp_path}/store.db")
    with Broker(**where, store=store, on_progress=heard) as made:
        made.deposit(og("20"))
        yield made, store
    store.close()


class TestBudget:
    def test_what_is_moved_is_counted_and_beyond_it_nothing_is_sent(self, limited, net, heard):
        broker, store = limited
        budget = Budget(per_day=og("5"), per_wallet=og("100"))
        plan = replace(PLAN, budget=budget)
        first, second, third = (each.address for each in net.providers[:3])
        Funder(broker, plan, [first, second]).look()
        spending = Spending(budget, store, net.chain_id)
        left = {"per_day": og("1"), "per_wallet": og("96")}
        assert spending.left(broker.address, first, moving=True) == left
        nonce = net.chain.nonce(broker.address)
        late = Funder(broker, plan, [third])  # a new one: the limits outlive a funder
        late.look()
        (told,) = heard.named("funding_failed")
        assert told.details["code"] == "budget_exceeded"
        assert "the movement is of 2 0G, and the budget per_day of 5 0G has 1 0G left until" in told.message
        assert (broker.account(third), late.spent[third], net.chain.nonce(broker.address)) == (None, og("0"), nonce)
        assert spending.held() == []

    def test_calls_are_counted_apart_from_what_is_moved(self, limited, provider, where, net):
        broker, store = limited
        budget = Budget(per_wallet=og("3"))
        Funder(broker, replace(PLAN, budget=budget), [provider.address]).look()
        provider.drop_caches()
        with ChatClient(**where, provider=provider.address, store=store, budget=budget) as client:
            fee = client.create({**QUESTION, "max_tokens": 20}).receipt.fee.amount
        spending = Spending(budget, store, net.chain_id)
        assert spending.left(broker.address, provider.address) == {"per_wallet": og("3") - fee}
        assert spending.left(broker.address, provider.address, moving=True) == {"per_wallet": og("1")}

    def test_a_transfer_that_was_refused_is_given_back(self, where, provider, heard, tmp_path, net):
        budget, store = Budget(per_day=og("5")), Store(f"sqlite:///{tmp_path}/store.db")
        with Broker(**where, store=store, on_progress=heard) as broker:  # without a ledger
            Funder(broker, replace(PLAN, budget=budget), [provider.address]).look()
            spending = Spending(budget, store, net.chain_id)
            assert spending.left(broker.address, provider.address, moving=True) == {"per_day": og("5")}
        assert heard.named("funding_failed")
        assert spending.held() == []
        store.close()

    def test_one_whose_outcome_is_unknown_stays_held(self, limited, provider, monkeypatch, net):
        broker, store = limited
        budget = Budget(per_day=og("5"))

        async def lost(*_: Any) -> None:
            raise ChainError("it is not mined yet", code="transaction_pending")

        monkeypatch.setattr(broker.core, "transfer", lost)
        Funder(broker, replace(PLAN, budget=budget), [provider.address]).look()
        spending = Spending(budget, store, net.chain_id)
        (held,) = spending.held()
        assert (held.state, held.upper, held.provider) == ("unknown", og("2"), provider.address)
        assert held.receipt.startswith("transfer-")
        assert spending.left(broker.address, provider.address, moving=True) == {"per_day": og("3")}

    def test_one_that_was_mined_before_something_failed_is_not_given_back(self, limited, provider, monkeypatch, net):
        broker, store = limited
        budget = Budget(per_day=og("5"))

        async def full(*_: Any) -> None:
            raise ConfigError("the disk is full", code="store_failed")

        monkeypatch.setattr(broker.core, "note_change", full)
        funder = Funder(broker, replace(PLAN, budget=budget), [provider.address])
        funder.look()
        assert broker.account(provider.address).balance == og("2")
        assert funder.spent == {provider.address: og("2")}
        spending = Spending(budget, store, net.chain_id)
        assert [(held.state, held.upper) for held in spending.held()] == [("unknown", og("2"))]
        assert spending.left(broker.address, provider.address, moving=True) == {"per_day": og("3")}

    def test_the_async_twin_is_held_to_it(self, where, net, heard, tmp_path):
        budget, store = Budget(per_run=og("3")), Store(f"sqlite:///{tmp_path}/store.db")
        first, second = (each.address for each in net.providers[:2])

        async def main() -> dict[str, Any]:
            async with AsyncBroker(**where, store=store, on_progress=heard) as broker:
                await broker.deposit(og("20"))
                funder = AsyncFunder(broker, replace(PLAN, budget=budget), [first, second])
                await funder.look()
                return funder.spent

        assert asyncio.run(main()) == {first: og("2"), second: og("0")}
        assert [step.details["code"] for step in heard.named("funding_failed")] == ["budget_exceeded"]
        store.close()

    def test_transfers_at_once_never_exceed(self, tmp_path, net):
        store = Store(f"sqlite:///{tmp_path}/store.db")
        spending = Spending(Budget(per_wallet=og("7")), store, net.chain_id)

        def move(_: int) -> bool:
            try:
                spending.settle_transfer(spending.reserve_transfer("0x" + "ab" * 20, "0x" + "cd" * 20, 10**18), 10**18)
            except BudgetExceeded:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(move, range(40))) == 7
        store.close()

    def test_processes_that_share_a_store_never_exceed(self, tmp_path):
        url = f"sqlite:///{tmp_path}/store.db"
        moved = list(map(int, together(4, MOVER, url, preload=("sqlalchemy.dialects.sqlite",))))
        assert sum(moved) == 7, moved

    @pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
    def test_a_process_killed_with_a_transfer_on_its_way_leaves_an_unknown(self, tmp_path):
        url = f"sqlite:///{tmp_path}/store.db"
        assert subprocess.run([sys.executable, "-c", MOVER, url, "die"], cwd=ROOT, check=False).returncode == -9
        store = Store(url)
        spending = Spending(Budget(per_wallet=og("7")), store, 31337)
        (held,) = spending.held()
        assert (held.state, held.upper, held.receipt[:9]) == ("unknown", og("1"), "transfer-")
        assert spending.left(held.payer, held.provider, moving=True) == {"per_wallet": og("6")}
        store.close()


def test_a_provider_that_does_not_tell_its_fees_is_not_funded_by_a_guess(broker, provider, heard, monkeypatch):
    broker.transfer(provider.address, og("1"))
    funder = Funder(broker, PLAN, [provider.address])
    monkeypatch.setattr(funder._core, "_transport", Astray())
    funder.look()
    (step,) = heard.named("funding_failed")
    assert (step.details["code"], "HTTP 404" in step.message) == ("provider_unavailable", True)
    assert broker.account(provider.address).balance == og("1")
    assert funder.spent == {}
    monkeypatch.undo()
    funder.look()
    assert broker.account(provider.address).balance == og("2")


def test_many_funders_of_one_store_transfer_once(where, provider, tmp_path):
    store = Store(f"sqlite:///{tmp_path}/store.db")
    brokers = [Broker(**where, store=store) for _ in range(4)]
    brokers[0].deposit(og("20"))
    funders = [Funder(broker, PLAN, [provider.address]) for broker in brokers]
    started = threading.Barrier(4)

    def look(funder: Funder) -> None:
        started.wait()
        funder.look()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, funders))
    assert brokers[0].account(provider.address).balance == og("2")
    assert sum(sum(amount.units for amount in funder.spent.values()) for funder in funders) == 2 * 10**18


def test_it_looks_again_after_the_interval_and_stops(broker, provider, heard):
    plan = AutoFunding(max_total=og("10"), max_per_provider=og("10"), target=og("2"), interval=0.05)
    funder = Funder(broker, plan, [provider.address]).start()
    heard.wait_for("funded")
    broker.retrieve([provider.address])  # the account is empty again: the next look fills it
    heard.wait_for("funded", 2)
    assert funder.start() is funder, "starting again is no error"
    thread = funder._thread
    assert thread is not None
    funder.stop()
    funder.stop()
    assert not funder.running
    assert not thread.is_alive()
    count = len(heard.steps)
    broker.retrieve([provider.address])
    assert not heard.named("funded")[2:]
    assert len(heard.steps) > count


def test_a_bug_in_a_listener_does_not_end_it(where, provider):
    looked = threading.Event()

    def broken(step: Progress) -> None:
        if step.name == "funded":
            looked.set()
        raise RuntimeError("listener")

    with Broker(**where, store=Store("memory:"), on_progress=broken) as broker:
        broker.deposit(og("5"))
        with Funder(broker, PLAN, [provider.address]) as funder:
            assert looked.wait(PATIENCE)
            assert funder.running


def test_the_async_twin_funds_and_stops(where, provider, heard, net):
    async def work() -> tuple[Any, bool]:
        async with AsyncBroker(**where, store=Store("memory:"), on_progress=heard) as broker:
            await broker.deposit(og("20"))
            plan = AutoFunding(max_total=og("10"), max_per_provider=og("10"), interval=0.05)
            async with AsyncFunder(broker, plan, [provider.address]) as funder:
                assert funder.running
                await asyncio.to_thread(heard.wait_for, "funded")
            assert not funder.running
            return await broker.account(provider.address), len(asyncio.all_tasks()) == 1

    account, alone = asyncio.run(work())
    assert account.usable == og("2")
    assert alone, "no task is left"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"max_total": 5}, "bad_amount"),
        ({"max_total": og("0")}, "bad_amount"),
        ({"max_per_provider": 1.5}, "bad_amount"),
        ({"target": neuron(10**18 - 1)}, "bad_target"),
        ({"interval": 0}, "bad_interval"),
        ({"interval": float("nan")}, "bad_interval"),
        ({"budget": og("5")}, "bad_budget"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, code):
    with pytest.raises(ConfigError) as caught:
        AutoFunding(**{"max_total": og("5"), "max_per_provider": og("5"), **changes})
    assert caught.value.code == code


def test_limits_have_to_be_given():
    with pytest.raises(TypeError):
        AutoFunding()


def test_it_needs_a_wallet_and_a_provider(broker, where):
    with pytest.raises(ConfigError, match="provider"):
        Funder(broker, PLAN, [])
    with pytest.raises(ConfigError, match="not an address"):
        Funder(broker, PLAN, ["here"])
    reader = Broker.read_only(**{name: value for name, value in where.items() if name != "private_key"})
    with pytest.raises(ConfigError, match="wallet"):
        Funder(reader, PLAN, [broker.address])


def test_a_lease_of_a_dead_process_runs_out(broker, provider, tmp_path: Path):
    name = f"fund:31337:{broker.address}:{provider.address}".lower()
    funder = Funder(broker, PLAN, [provider.address])
    with broker.store.transaction() as work:
        work.run("INSERT INTO leases VALUES (:name, 'gone', :expires)", name=name, expires=time.time() + 60)
    funder.look()
    assert funder.spent == {}, "somebody else is at it"
    with broker.store.transaction() as work:
        work.run("UPDATE leases SET expires = :past", past=time.time() - 1)
    funder.look()
    assert funder.spent == {provider.address: og("2")}
