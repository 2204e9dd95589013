"""A budget against counts that lie: flagged, bounded by what the bytes can cost, and no other provider pays for it.

Beside each lie stands the honest control: the same call through the same machine, with nothing changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from zg_core import Budget, ChatClient, ConfigError, ZeroGError, og
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.localnet.provider.operator import Operator, Passed, Said
from zg_core.pricing import PROMPT_ALLOWANCE, Tariff

QUESTION = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 20}
LIES = {
    "negative": '{"prompt_tokens":-5,"completion_tokens":1}',
    "cached": '{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":1000000000}}',
    "10^30": '{"prompt_tokens":1,"completion_tokens":1' + "0" * 30 + "}",
    "4290 digits": '{"prompt_tokens":1,"completion_tokens":1' + "0" * 4289 + "}",
    "fractions": '{"prompt_tokens":9.0,"completion_tokens":2.5}',
    "text": '{"prompt_tokens":"9","completion_tokens":"9"}',
    "true": '{"prompt_tokens":true,"completion_tokens":true}',
    "a list": "[1, 2]",
}


@pytest.fixture
def operator(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    with net.operator(provider) as made:
        yield made


def saying(operator: Operator, usage: str) -> None:
    """Answers of the enclave, with another usage object."""

    def plan(passed: Passed) -> Said | None:
        if not passed.is_call:
            return None
        said = operator.forward(passed)
        document = json.loads(said.body)
        document["usage"] = "@"
        return Said(json.dumps(document).replace('"@"', usage).encode(), said.status, said.headers)

    operator.plan = plan


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
@pytest.mark.parametrize("lie", LIES)
def test_a_count_that_lies_costs_what_the_bytes_can(
    lie: str, store: str, net: LocalNet, provider: LocalProvider, operator: Operator, tmp_path: Any
) -> None:
    url = store if store == "memory:" else f"sqlite:///{tmp_path}/store.db"
    budget = Budget(per_run=og("0.01"), per_wallet=og("0.02"))
    options: dict[str, Any] = {"provider": provider.address, "network": "local", "rpc_url": net.rpc_url}
    options |= {"private_key": net.wallet.private_key, "budget": budget, "store": url, "verify": "off", "environ": {}}
    with ChatClient(**options) as client:
        assert client.spending is not None
        honest = client.create(QUESTION).receipt
        assert (honest.flags, honest.fee.exact) == ((), True)
        before = client.spending.left(honest.payer, honest.provider)
        assert before["per_run"] == budget.per_run - honest.fee.amount

        saying(operator, LIES[lie])
        receipt = client.create(QUESTION).receipt
        assert "usage_implausible" in receipt.flags
        assert not receipt.fee.exact
        assert receipt.service is not None
        tariff = Tariff.of(receipt.service)
        assert tariff is not None
        bytes_can = tariff.most(receipt.request_bytes + PROMPT_ALLOWANCE, receipt.response_bytes)
        assert receipt.fee.upper is not None
        assert 0 <= receipt.fee.amount.units <= receipt.fee.upper <= bytes_can
        after = client.spending.left(honest.payer, honest.provider)
        for limit in ("per_run", "per_wallet"):
            assert before[limit].units - after[limit].units == receipt.fee.upper

        operator.honest()
        client.create(QUESTION)  # the next call is not refused
    elsewhere = net.providers[1].address
    with ChatClient(**options | {"provider": elsewhere}) as client:
        assert client.create(QUESTION).receipt.fee.exact


@pytest.mark.parametrize(
    "odd",
    [
        {"max_tokens": 500000.0}, {"max_tokens": 1, "n": 500000.0}, {"max_tokens": "500000"}, {"max_tokens": -1},
        {"max_tokens": 1, "n": True}, {"max_tokens": 1, "best_of": 10**30}, {"max_completion_tokens": [5]},
    ],
    ids=str,
)  # fmt: skip
def test_a_bound_of_an_odd_type_is_not_sent_under_a_budget(
    odd: dict[str, Any], net: LocalNet, provider: LocalProvider
) -> None:
    options: dict[str, Any] = {"provider": provider.address, "network": "local", "rpc_url": net.rpc_url}
    options |= {"private_key": net.wallet.private_key, "budget": Budget(per_call=og("0.05")), "environ": {}}
    before = len(provider.log)
    with ChatClient(**options) as client:
        with pytest.raises(ConfigError) as caught:
            client.create(QUESTION | odd)
        assert caught.value.code == "budget_unbounded"
        assert len(provider.log) == before
        client.create(QUESTION)
        assert len(provider.log) == before + 1


class TestTheChainIsTheReferee:
    """What an operator takes beyond the receipts is found as soon as it is claimed or settled, and counts."""

    def options(self, net: LocalNet, provider: LocalProvider, store: Any, budget: Budget, **more: Any) -> Any:
        where = {"provider": provider.address, "network": "local", "rpc_url": net.rpc_url, "environ": {}}
        return {
            **where, "private_key": net.wallet.private_key, "budget": budget, "verify": "off",
            "store": f"sqlite:///{store}/store.db", "max_retries": 0, **more,
        }  # fmt: skip

    @pytest.mark.parametrize("settled", [True, False], ids=["settled", "claimed"])
    @pytest.mark.parametrize("lie", ["refused after service", "usage inflated", "usage hidden", "settlement inflated"])
    def test_each_lie_is_found(
        self, lie: str, settled: bool, net: LocalNet, provider: LocalProvider, operator: Operator, tmp_path: Any
    ) -> None:
        if lie == "settlement inflated" and not settled:
            pytest.skip("nothing of it shows before the settlement")
        budget = Budget(per_run=og("0.01"), per_wallet=og("0.02"), per_provider=og("0.02"), per_day=og("0.02"))
        with ChatClient(**self.options(net, provider, tmp_path, budget)) as client:
            assert client.spending is not None
            payer = client.create(QUESTION).receipt.payer
            provider.settle()
            assert client.spending.reconcile() == [], "the honest control"
            billed = sum(one.fee for one in provider.log)
            before = client.spending.left(payer, provider.address)
            if lie == "refused after service":
                operator.refuse_after_serving(503)
                with pytest.raises(ZeroGError):
                    client.create(QUESTION)
                operator.honest()
            elif lie == "usage inflated":
                with provider.fault("usage_inflated", factor=1000):
                    client.create(QUESTION)
            elif lie == "usage hidden":
                saying(operator, '{"prompt_tokens":1,"completion_tokens":0}')
                client.create(QUESTION)
                operator.honest()
            else:
                with provider.fault("settlement_inflated", factor=3):
                    client.create(QUESTION)
                    provider.settle()
            if settled:
                provider.settle()
            (found,) = client.spending.reconcile()
            assert found.counted
            assert found.provider.lower() == provider.address.lower()
            after = client.spending.left(payer, provider.address)
            taken = sum(one.fee for one in provider.log) - billed
            for limit, left in after.items():
                counted = before[limit].units - left.units
                assert counted >= taken > 0 or (lie == "settlement inflated" and counted >= 3 * taken > 0), limit
            assert [each.excess for each in client.spending.reconcile()] == [found.excess]
            assert client.spending.left(payer, provider.address) == after, "counted once"
            assert client.spending.spent(payer, provider.address).discrepancies[0].excess == found.excess

    def test_two_budgets_and_a_late_settlement_refuse_nobody(
        self, net: LocalNet, provider: LocalProvider, tmp_path: Any
    ) -> None:
        first, second = Budget(per_run=og("0.01"), per_wallet=og("1")), Budget(per_run=og("0.01"), per_day=og("1"))
        with (
            ChatClient(**self.options(net, provider, tmp_path, first)) as one,
            ChatClient(**self.options(net, provider, tmp_path, second)) as two,
            ChatClient(**{**self.options(net, provider, tmp_path, first), "budget": None}) as unlimited,
        ):
            unlimited.create(QUESTION)  # before anybody is watched, and not settled
            assert one.spending is not None
            assert two.spending is not None
            receipts = [client.create(QUESTION).receipt for client in (one, two, unlimited, one, two)]
            assert one.spending.reconcile() == two.spending.reconcile() == []
            provider.settle()
            assert two.spending.reconcile() == one.spending.reconcile() == []
            paid = receipts[0].fee.amount + receipts[3].fee.amount
            payer = receipts[0].payer
            assert one.spending.left(payer, provider.address)["per_run"] == first.per_run - paid
            for client in (one, two):
                client.create(QUESTION)

    def test_what_other_programs_pay_is_reported_and_not_counted(
        self, net: LocalNet, provider: LocalProvider, tmp_path: Any
    ) -> None:
        told: list[Any] = []
        budget = Budget(per_wallet=og("0.02"), others=True)
        elsewhere = self.options(net, provider, tmp_path, budget) | {"budget": None, "store": "memory:"}
        with ChatClient(**self.options(net, provider, tmp_path, budget, on_progress=told.append)) as client:
            assert client.spending is not None
            payer = client.create(QUESTION).receipt.payer
            with ChatClient(**elsewhere) as other:
                cost = other.create(QUESTION).receipt.fee.amount
            before = client.spending.left(payer, provider.address)
            (found,) = client.spending.reconcile()
            assert (found.excess, found.counted) == (cost, False)
            assert client.spending.left(payer, provider.address) == before
            assert [each.name for each in told] == ["billed_beyond_receipts"]

    def test_a_run_that_was_not_alone_does_not_pay_for_it(
        self, net: LocalNet, provider: LocalProvider, operator: Operator, tmp_path: Any
    ) -> None:
        mine, theirs = Budget(per_run=og("0.01"), per_wallet=og("1")), Budget(per_run=og("0.01"))
        with (
            ChatClient(**self.options(net, provider, tmp_path, mine)) as one,
            ChatClient(**self.options(net, provider, tmp_path, theirs)) as two,
        ):
            assert one.spending is not None
            payer = one.create(QUESTION).receipt.payer
            two.create(QUESTION)
            operator.refuse_after_serving(503)
            with pytest.raises(ZeroGError):
                two.create(QUESTION)
            before = one.spending.left(payer, provider.address)
            (found,) = one.spending.reconcile()
            after = one.spending.left(payer, provider.address)
            assert before["per_run"] == after["per_run"]
            assert before["per_wallet"] - after["per_wallet"] == found.excess

    def test_a_memory_store_has_no_referee_and_says_so(self, net: LocalNet, provider: LocalProvider) -> None:
        options = self.options(net, provider, "", Budget(per_run=og("1"))) | {"store": "memory:"}
        with ChatClient(**options) as client, pytest.raises(ConfigError) as caught:
            assert client.spending is not None
            client.spending.reconcile()
        assert caught.value.code == "budget_needs_store"
