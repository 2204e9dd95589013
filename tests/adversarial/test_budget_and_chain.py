"""What an operator may do to a budget between two looks at the chain, and what is lost with streams and processes.

Beside each stands the honest control. What he bills is corrected by the next read of his record, or found by the chain.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE, until
from zg_core import Budget, BudgetExceeded, ChatClient, ProviderUnavailable, Store, og
from zg_core.backends.direct.audit.noted import Noted
from zg_core.budget import Spending
from zg_core.calls.closing import RECORD_CHANGED
from zg_core.localnet import LocalNet, LocalProvider, ProviderSettings, ProviderSpec
from zg_core.localnet.provider.operator import Passed, Said
from zg_core.money import Amount, neuron
from zg_core.receipts import ReceiptStore

ROOT = Path(__file__).resolve().parents[2]
QUESTION = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 20}
PER_RUN, PER_CALL = og("0.001"), og("0.0002")


@pytest.fixture
def given(options: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return {**options, "environ": {}, "verify": "require", "store": f"sqlite:///{tmp_path}/store.db"}


def billed(provider: LocalProvider, since: int) -> int:
    return sum(entry.fee for entry in provider.log[since:])


def most_of(given: dict[str, Any], *, stream: bool = False) -> int:
    """What a budget holds for the question."""
    with ChatClient(**given, budget=Budget(per_run=neuron(1))) as client, pytest.raises(BudgetExceeded) as caught:
        if stream:
            with client.stream(QUESTION) as events:
                list(events)
        client.create(QUESTION)
    return int(caught.value.details["asked"].units)


class TestPricesRaisedInBetween:
    """A record that was read is used for `record_age`; the operator bills ten thousand times as much from now on."""

    def raised(self, provider: LocalProvider) -> None:
        assert provider.log, "what was asked is billed before"
        provider.set_price(provider.prices[0] * 10_000, provider.prices[1] * 10_000)

    def test_a_record_that_is_read_for_every_call_lets_none_through(self, given, provider, tally):
        before = len(provider.log)
        budget = Budget(per_run=PER_RUN, per_call=PER_CALL)
        with ChatClient(**given, budget=budget, record_age=0) as client:
            assert client.spending is not None
            for _ in range(3):
                client.create(QUESTION)
            client.service()  # nothing rests on an earlier record
            tally("price raised between two calls", honest=3, accepted=3)
            self.raised(provider)
            for _ in range(9):
                with pytest.raises(BudgetExceeded):
                    client.create(QUESTION)
            left = client.spending.left(client.backend.payer, provider.address)["per_run"]
        assert len(provider.log) == before + 3
        assert left == PER_RUN - neuron(billed(provider, before))
        tally("price raised between two calls", tried=9, caught=9)

    def test_what_was_billed_within_the_age_of_a_record_is_taken_back_by_the_next_read(self, given, provider, tally):
        with ChatClient(**given, budget=Budget(per_run=PER_RUN, per_call=PER_CALL), record_age=60) as client:
            assert client.spending is not None
            client.create(QUESTION)
            client.backend._chain.forget(provider.address)
            client.service()  # nothing rests on an earlier one
            before = len(provider.log)
            self.raised(provider)
            receipts = [client.create(QUESTION).receipt for _ in range(4)]
            taken = billed(provider, before)
            assert taken > PER_RUN.units, "the attack"
            client.backend._chain.forget(provider.address)
            with pytest.raises(BudgetExceeded) as caught:
                client.create(QUESTION)
            assert caught.value.details["limit"] == "per_call"
            for receipt in receipts:
                assert (receipt.fee.exact, receipt.fee.reason) == (False, "price_changed")
                assert RECORD_CHANGED in receipt.flags
            assert sum(receipt.fee.upper or 0 for receipt in receipts) >= taken
            left = client.spending.left(client.backend.payer, provider.address)["per_run"]
            assert left.units <= PER_RUN.units - taken
            assert provider.log, "what was asked is billed before"
            provider.set_price(provider.prices[0] // 10_000, provider.prices[1] // 10_000)
            client.backend._chain.forget(provider.address)
            with pytest.raises(BudgetExceeded) as caught:
                client.create(QUESTION)
            assert caught.value.details["limit"] == "per_run", "an honest price does not make it good again"
        tally("price raised between two calls", tried=4, caught=4)

    def test_the_chain_shows_it_first_and_a_correction_counts_it_no_second_time(self, given, provider, tally):
        with ChatClient(**given, budget=Budget(per_run=og("1"), per_wallet=og("1")), record_age=60) as client:
            assert client.spending is not None
            honest = client.create(QUESTION).receipt
            assert client.spending.reconcile() == [], "the honest control"
            before = len(provider.log)
            self.raised(provider)
            receipts = [client.create(QUESTION).receipt for _ in range(2)]
            taken = billed(provider, before)
            (found,) = client.spending.reconcile()
            told = sum(receipt.fee.amount.units for receipt in receipts)
            assert (found.excess, found.counted) == (neuron(taken - told), True)
            left = client.spending.left(honest.payer, provider.address)
            spent = honest.fee.amount + neuron(taken)
            assert left == {"per_run": og("1") - spent, "per_wallet": og("1") - spent}
            client.backend._chain.forget(provider.address)
            client.service()
            stored = client.stored
            assert stored is not None
            until(lambda: all(RECORD_CHANGED in receipt.flags for receipt in stored.select()))
            assert client.spending.reconcile() == [], "what the receipts allow is no discrepancy any more"
            corrected = [honest, *receipts]
            most = sum(receipt.fee.most or 0 for receipt in corrected)
            assert client.spending.left(honest.payer, provider.address)["per_run"] == og("1") - neuron(most)
        tally("price raised between two calls", tried=2, caught=2)


@pytest.fixture(scope="module")
def market() -> Iterator[LocalNet]:
    """A provider that bills in USD, by a list of its own."""
    spec = ProviderSpec(model="chat-ml", usd_prices=("0.0000005", "0.000002"))
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=[spec], settings=settings) as network:
        network.open_account(network.wallet, network.providers[0], 20 * 10**18)
        yield network


class TestAListThatSaysNothing:
    """A provider with prices of its own lists them as 0, and bills."""

    @pytest.mark.parametrize("lies", [False, True], ids=["honest", "lying"])
    def test_it_holds_what_the_user_says_and_is_found_by_the_chain(self, market, tmp_path, tally, lies):
        (provider,) = market.providers

        def plan(passed: Passed) -> Said | None:
            if "/v1/models" not in passed.path or not lies:
                return None
            document = json.loads(operator.forward(passed).body)
            for entry in document["data"]:
                for block in ("pricing", "pricing_usd"):
                    entry[block] = {**entry.get(block, {}), "prompt": "0", "completion": "0"}
            return Said(json.dumps(document).encode())

        budget = Budget(per_run=og("0.2"), per_wallet=og("0.2"), usd=og("4"), unpriced=og("0.05"))
        where = {"network": "local", "rpc_url": market.rpc_url, "environ": {}, "verify": "off"}
        where |= {"private_key": market.wallet.private_key, "store": f"sqlite:///{tmp_path}/store.db"}
        with market.operator(provider) as operator:
            operator.plan = plan
            before = len(provider.log)
            with ChatClient(**where, provider=provider.address, budget=budget) as client:
                assert client.spending is not None
                receipt = client.create(QUESTION).receipt
                assert not receipt.fee.exact
                taken = billed(provider, before)
                found = client.spending.reconcile()
                left = client.spending.left(receipt.payer, provider.address)["per_run"]
        if lies:
            assert receipt.fee.most == 0
            assert [(each.excess, each.counted) for each in found] == [(neuron(taken), True)]
            tally("price list that says 0", tried=1, caught=1)
        else:
            assert found == []
            tally("price list that says 0", honest=1, accepted=1)
        assert taken > 0
        assert (budget.per_run or og("0")).units - left.units >= taken


class TestRefusals:
    """He serves, bills and says that he did not: the chain is asked once that can have cost as much as the budget."""

    @pytest.mark.parametrize("lies", [True, False], ids=["lying", "honest"])
    def test_a_limits_worth_of_them_is_looked_at_without_being_asked(self, given, provider, tally, lies, monkeypatch):
        monkeypatch.setattr("zg_core.backends.direct.audit.referee._EVERY", math.inf)  # else a minute is enough
        limit = neuron(most_of(given) * 3 // 2)
        fault, before = ("refused_after_service" if lies else "unavailable"), len(provider.log)
        with ChatClient(**given, budget=Budget(per_run=limit)) as client:
            assert client.spending is not None
            looks: list[Any] = []
            referee: Any = client.spending.referee
            compared = referee._compared
            referee._compared = lambda *seen: looks.append(seen) or compared(*seen)
            client.create(QUESTION)
            end = time.monotonic() + PATIENCE
            with provider.fault(fault, times=None):
                try:
                    while time.monotonic() < end and (lies or len(looks) < 3):
                        with pytest.raises(ProviderUnavailable):
                            client.create(QUESTION)
                except BudgetExceeded:
                    pass
            assert time.monotonic() < end, "nobody looks"
            refused = [receipt for receipt in client.receipts if receipt.outcome == "refused"]
            if lies:
                assert client.spending.discrepancies()[0].counted
                assert billed(provider, before) >= sum(each.excess.units for each in client.spending.discrepancies())
                with pytest.raises(BudgetExceeded):
                    client.create(QUESTION)
                tally("refused after it was served and billed", tried=len(refused), caught=len(refused))
            else:
                assert client.create(QUESTION).receipt.fee.exact
                tally("honest refusal", honest=1, accepted=1)


class TestWhatIsSaidToBeOwed:
    """He says that much was unsettled before he was first seen, to charge it later."""

    @pytest.mark.parametrize("lies", [True, False], ids=["lying", "honest"])
    def test_it_excuses_no_more_than_he_can_collect_and_is_shown(self, given, net, provider, tally, lies):
        wallet = net.new_wallet()
        net.open_account(wallet, provider, 3 * 10**18)
        claim = json.dumps({"unsettledFee": str(10**24)}).encode()

        def plan(passed: Passed) -> Said | None:
            return Said(claim) if lies and passed.path.endswith("/unsettledfee") else None

        given = {**given, "private_key": wallet.private_key}
        with net.operator(provider) as operator:
            operator.plan = plan
            with ChatClient(**given, budget=Budget(per_wallet=og("1"))) as client:
                assert client.spending is not None
                client.create(QUESTION)
                (noted,) = Noted(client.spending).compared_at()
        assert noted.owed == (og("3") if lies else og("0")), "a new wallet owes nothing: whoever looks can see it"
        tally("debt from before", **({"tried": 1, "caught": 1} if lies else {"honest": 1, "accepted": 1}))


class TestWhatIsLost:
    def test_streams_that_are_left_cost_no_more_than_the_budget(self, given, provider, tally):
        def calls(client: ChatClient, *, leaves: bool) -> int:
            done = 0
            with pytest.raises(BudgetExceeded):
                while True:
                    with client.stream(QUESTION) as events:
                        for _ in events:
                            if leaves:
                                break
                    done += 1
            return done

        limit = Budget(per_run=neuron(4 * most_of(given, stream=True)))
        before = len(provider.log)
        with ChatClient(**given, budget=limit) as client:
            assert client.spending is not None
            assert calls(client, leaves=True) == 4
            held = client.spending.held()
            until(lambda: len(provider.log) == before + 4)
            assert [each.state for each in held] == ["unknown"] * 4
            assert billed(provider, before) <= sum(each.upper.units for each in held) <= limit.per_run.units
            assert all(receipt.fee.upper for receipt in client.receipts), "abandoned calls say what they can have cost"
        tally("stream that is left", tried=4, caught=4)
        before = len(provider.log)
        with ChatClient(**given, budget=replace(limit, run="honest")) as client:
            read = calls(client, leaves=False)
            assert read > 4, "who reads to the end gets back what it did not cost"
        assert billed(provider, before) <= limit.per_run.units
        tally("stream that is left", honest=read, accepted=read)

    def test_threads_that_share_a_budget_spend_it_once(self, given, provider, tally):
        limit = Budget(per_run=neuron(3 * most_of(given)))
        before = len(provider.log)

        def ask(client: ChatClient) -> bool:
            try:
                client.create(QUESTION)
            except BudgetExceeded:
                return False
            return True

        with ChatClient(**given, budget=limit) as one, ChatClient(**given, budget=limit) as two:
            assert one.spending is not None
            with ThreadPoolExecutor(12) as pool:
                answered = sum(pool.map(ask, [one, two] * 12))
            left = one.spending.left(one.backend.payer, provider.address)["per_run"]
            assert one.spending.held() == []
        assert len(provider.log) - before == answered >= 3
        assert left == limit.per_run - neuron(billed(provider, before))
        assert left.units >= 0
        tally("threads that share a budget", honest=answered, accepted=answered)

    def test_a_process_that_is_killed_leaves_what_it_held(self, given, provider, tally):
        most = most_of(given)
        before = len(provider.log)
        settings = {**given, "budget": {"units": 2 * most, "run": "crash"}, "question": QUESTION}
        child = subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(settings)], cwd=ROOT)
        try:
            with provider.fault("hang", containing="the last") as fault:
                until(lambda: fault.fired == 1)
                os.kill(child.pid, signal.SIGKILL)
                child.wait(PATIENCE)
                until(lambda: len(provider.log) == before + 2)
        finally:
            child.kill()
            child.wait(PATIENCE)
        store = Store(given["store"])
        spending = Spending(Budget(per_run=neuron(2 * most), run="crash"), store, 31337)
        (held,) = spending.held()
        first, second = (entry.fee for entry in provider.log[before:])
        assert held.state == "unknown"
        assert second <= held.upper.units
        payer = held.payer
        left = spending.left(payer, provider.address)["per_run"]
        assert left == neuron(2 * most - first) - held.upper
        (receipt,) = (one for one in ReceiptStore(store).select() if one.id == held.receipt)
        assert (receipt.outcome, receipt.fee.upper) == ("unknown", held.upper.units)
        tally("process that is killed while it waits", tried=1, caught=1)
        spending.release_held(held.receipt, Amount(second))
        assert spending.left(payer, provider.address)["per_run"] == neuron(2 * most - first - second)
        store.close()
        with ChatClient(**given, budget=Budget(per_run=neuron(2 * most), run="crash")) as client:
            assert client.create(QUESTION).receipt.fee.exact, "the next process goes on with what is left"
        tally("process that is killed while it waits", honest=1, accepted=1)


CHILD = """
import json, sys
from zg_core import Budget, ChatClient, neuron

settings = json.loads(sys.argv[1])
budget, question = settings.pop("budget"), settings.pop("question")
with ChatClient(**settings, budget=Budget(per_run=neuron(budget["units"]), run=budget["run"])) as client:
    client.create(question)
    client.create({**question, "messages": [{"role": "user", "content": "the last"}]})
"""
