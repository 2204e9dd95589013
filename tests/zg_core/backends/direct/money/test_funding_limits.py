"""The limits of auto-funding hold whatever nodes and providers say, and a bad look stops no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core import AutoFunding, Broker, Budget, ChainError, ConfigError, Funder, Progress, Sending, Store, neuron, og
from zg_core.budget import Spending
from zg_core.holders import holder
from zg_core.localnet import LocalNet

PATIENT = Sending(timeout=PATIENCE, heal_after=0.1)
HASTY = Sending(timeout=0.3, heal_after=0.05)
PLAN = AutoFunding(max_total=og("4"), max_per_provider=og("4"), target=og("2"), interval=3600)


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=3) as network:
        yield network


class Funded:
    """A wallet with 20 0G in its ledger."""

    def __init__(self, net: LocalNet) -> None:
        self.net, self.wallet, self.store = net, net.new_wallet(), Store("memory:")
        self.steps: list[Progress] = []
        self.funded = threading.Event()
        with self.broker(PATIENT) as broker:
            broker.deposit(og("20"))
        self.providers = [each.address for each in net.providers]

    def broker(self, sending: Sending = PATIENT) -> Broker:
        net = self.net
        where = {"network": "local", "rpc_url": net.rpc_url, "ledger": net.ledger, "inference": net.inference}
        key, hear = self.wallet.private_key, self.hear
        return Broker(**where, environ={}, private_key=key, store=self.store, sending=sending, on_progress=hear)

    def hear(self, step: Progress) -> None:
        self.steps.append(step)
        if step.name == "funded":
            self.funded.set()

    def moved(self) -> int:
        """What lies in sub-accounts, as the chain itself says."""
        from zg_core.localnet.chain.abi import inference
        from zg_core.localnet.chain.chain import Reverted

        contract, total = inference(), 0
        for provider in self.providers:
            data = contract.encode("getAccount", self.wallet.address, provider)
            try:
                found = contract.decode("getAccount", self.net.chain.call(to=self.net.inference, data=data))
            except Reverted:
                continue
            total += found["balance"]
        return total

    def named(self, name: str) -> list[Progress]:
        return [step for step in self.steps if step.name == name]


@pytest.fixture
def funded(net: LocalNet) -> Iterator[Funded]:
    yield Funded(net)
    net.clear_node_faults()


def total(funder: Funder) -> int:
    return sum(amount.units for amount in funder.spent.values())


class TestWhatANodeWasGiven:
    @pytest.mark.parametrize(
        ("fault", "options"),
        [
            ("answered_with_error", {"words": "request timed out"}),
            ("answered_with_error", {"words": "txpool is full"}),
            ("answered_with_error", {"words": "invalid sender"}),
            ("repeated", {}),
            ("answer_lost", {}),
            ("receipt_reverted", {}),
            ("receipt_hidden", {}),
        ],
    )
    def test_counts_whatever_it_says_afterwards(self, net: LocalNet, funded: Funded, fault: str, options: Any) -> None:
        net.node_fault(fault, times=None, **options)
        with funded.broker(HASTY) as broker:
            funder = Funder(broker, PLAN, funded.providers)
            for _ in range(3):
                funder.look()
        assert funded.moved() <= 4 * 10**18
        assert total(funder) >= funded.moved()

    def test_stays_held_in_a_budget(self, net: LocalNet, funded: Funded) -> None:
        net.node_fault("receipt_reverted", times=None)
        budget = Budget(per_run=og("3"))
        with funded.broker(HASTY) as broker:
            Funder(broker, replace(PLAN, budget=budget), funded.providers).look()
            left = Spending(budget, funded.store, net.chain_id).left(broker.address, funded.providers[0], moving=True)
        assert left == {"per_run": og("1")}
        assert funded.moved() == 2 * 10**18

    def test_is_waited_for_before_anything_is_added(self, net: LocalNet, funded: Funded) -> None:
        net.node_fault("dropped", times=None)
        one = funded.providers[:1]
        with funded.broker(HASTY) as broker:
            funder = Funder(broker, PLAN, one)
            funder.look()
            assert (funded.moved(), total(funder)) == (0, 2 * 10**18)
            funder.look()
            assert (funded.moved(), total(funder)) == (0, 2 * 10**18), "the same transfer, not another"
            net.clear_node_faults()
            broker.core.sender.sending = PATIENT
            funder.look()
            assert (funded.moved(), total(funder)) == (2 * 10**18, 2 * 10**18)
        assert [step.details["code"] for step in funded.named("funding_failed")] == ["transaction_pending"] * 2
        assert len(funded.named("funded")) == 1

    @pytest.mark.parametrize("amount", [og("2"), og("1")])
    def test_nor_beside_what_another_funder_or_the_user_left_unclear(
        self, net: LocalNet, funded: Funded, amount: Any
    ) -> None:
        provider = funded.providers[0]
        net.node_fault("dropped", times=None)
        with funded.broker(HASTY) as broker:
            with pytest.raises(ChainError, match="may still be"):
                broker.transfer(provider, amount)
            funder = Funder(broker, PLAN, [provider])
            funder.look()
            assert (funded.moved(), total(funder)) == (0, 0), "nothing beside it"
            net.clear_node_faults()
            broker.core.sender.sending = PATIENT
            funder.look()
        assert funded.moved() == 2 * 10**18
        assert total(funder) == (og("2") - amount).units

    def test_nothing_that_was_not_given_counts(self, net: LocalNet, funded: Funded) -> None:
        net.node_fault("price_raised", times=None)
        with funded.broker() as broker:
            funder = Funder(broker, PLAN, funded.providers)
            funder.look()
            assert (total(funder), funder.gas) == (0, neuron(0))
        assert {step.details["code"] for step in funded.named("funding_failed")} == {"gas_too_expensive"}


class TestGas:
    def test_is_counted_as_it_was_signed_for(self, net: LocalNet, funded: Funded) -> None:
        before = net.chain.balance(funded.wallet.address)
        with funded.broker() as broker:
            funder = Funder(broker, PLAN, funded.providers[:2])
            funder.look()
            paid = before - net.chain.balance(funded.wallet.address)
            assert 0 < paid <= funder.gas.units < 10 * paid
            assert funder.gas < og("0.1")

    def test_has_a_limit(self, net: LocalNet, funded: Funded) -> None:
        net.node_fault("price_raised", times=None, tip=100 * 10**9)
        plan = replace(PLAN, max_gas=og("0.15"))
        with funded.broker() as broker:
            funder = Funder(broker, plan, funded.providers)
            for _ in range(4):
                funder.look()
            assert funder.gas <= og("0.15")
            assert 0 < len(funded.named("funded")) < 3
        assert "gas" in funded.named("funding_limit")[0].message

    def test_a_plan_below_the_cap_of_one_transfer_is_refused(self, funded: Funded) -> None:
        with funded.broker() as broker, pytest.raises(ConfigError, match="max_gas") as caught:
            Funder(broker, replace(PLAN, max_gas=og("0.05")), funded.providers)
        assert caught.value.code == "bad_amount"
        with pytest.raises(ConfigError):
            replace(PLAN, max_gas=og("0"))


class TestBadLooks:
    def test_a_fault_of_ours_at_one_provider_stops_no_other(
        self, funded: Funded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with funded.broker() as broker:
            read = broker.core.chain.service_and_account

            async def broken(provider: str, user: str) -> Any:
                if provider == funded.providers[0]:
                    raise ZeroDivisionError("a bug")
                return await read(provider, user)

            monkeypatch.setattr(broker.core.chain, "service_and_account", broken)
            funder = Funder(broker, PLAN, funded.providers[:2])
            funder.look()
            assert funder.spent == {funded.providers[1]: og("2")}
        (step,) = funded.named("funding_failed")
        assert (step.details["code"], "ZeroDivisionError" in step.message) == ("unexpected", True)

    def test_absurd_unsettled_fees_are_refused(self, net: LocalNet, funded: Funded, monkeypatch: Any) -> None:
        provider = funded.providers[0]
        with funded.broker() as broker:
            broker.transfer(provider, og("1"))
            said = [10**18 + 1, 10**30]

            async def fee(*_: Any) -> int:
                return said.pop(0)

            monkeypatch.setattr("zg_core.backends.direct.money.funding.unsettled_fee", fee)
            funder = Funder(broker, PLAN, [provider])
            funder.look()
            funder.look()
        assert [step.details["code"] for step in funded.named("funding_failed")] == ["absurd_fee"] * 2
        assert (total(funder), funded.moved()) == (0, 10**18)

    def test_the_lease_of_a_killed_process_ends_at_once(self, funded: Funded) -> None:
        place, pid, began = holder().rsplit("/", 2)
        provider = funded.providers[0]
        name = f"fund:31337:{funded.wallet.address}:{provider}".lower()
        with funded.store.transaction() as work:
            work.run("INSERT INTO leases (name, holder, expires) VALUES (:name, 'it', :end)", name=name, end=10**12)
            work.run(
                "INSERT INTO lease_processes VALUES (:name, 'it', :process)",
                name=name,
                process=f"{place}/{pid}/{began}",
            )
        with funded.broker() as broker:
            funder = Funder(broker, PLAN, [provider])
            funder.look()
            assert funder.spent == {}, "somebody alive is at it"
            with funded.store.transaction() as work:
                work.run("UPDATE lease_processes SET process = :gone", gone=f"{place}/{2**22 + 1}/1")
            funder.look()
            assert funder.spent == {provider: og("2")}

    def test_a_failing_node_does_not_end_the_thread(self, net: LocalNet, funded: Funded) -> None:
        failed = threading.Event()
        net.node_fault("junk", times=None, status=200, body="<html>", then=failed.set)
        with funded.broker() as broker, Funder(broker, replace(PLAN, interval=0.05), funded.providers[:1]) as funder:
            assert failed.wait(PATIENCE)
            assert funder.running
            net.clear_node_faults()
            assert funded.funded.wait(PATIENCE)
            assert funder.running
