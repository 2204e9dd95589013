"""Nodes and gateways that would have a user pay twice, or more than his limits, get nothing.

Beside each attack stands the honest control: who means to pay, pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core import AutoFunding, Broker, Budget, ChainError, Funder, Sending, Store, neuron, og
from zg_core.localnet import LocalNet
from zg_core.localnet.gateway.dialects import DIALECTS

PATIENT = Sending(timeout=PATIENCE, heal_after=0.05)
HASTY = Sending(timeout=0.5, heal_after=0.05)
LIMIT = og("4")
PLAN = AutoFunding(max_total=LIMIT, max_per_provider=LIMIT, target=og("7"), budget=Budget(per_run=LIMIT))
WHOLE = 10**18


class Victim:
    """A fresh wallet, whose broker asks the node that misbehaves."""

    def __init__(self, net: LocalNet) -> None:
        self.net, self.wallet, self.store = net, net.new_wallet(), Store("memory:")
        self.provider = net.providers[0].address

    def broker(self, sending: Sending = PATIENT) -> Broker:
        where = {"network": "local", "rpc_url": self.net.rpc_url, "environ": {}}
        return Broker(**where, private_key=self.wallet.private_key, store=self.store, sending=sending)

    def account(self) -> int:
        """What the sub-account holds, by an honest node."""
        with self.broker() as broker:
            return broker.account(self.provider).balance.units

    def paid(self) -> tuple[int, int]:
        """What the ledger holds in 0G, and how many transactions of the wallet are mined."""
        with self.broker() as broker:
            found = broker.ledger()
        return (0 if found is None else found.total.units // WHOLE), self.net.chain.nonce(self.wallet.address)


@pytest.fixture
def victim(net: LocalNet) -> Iterator[Victim]:
    net.clear_node_faults()
    yield Victim(net)
    net.clear_node_faults()


class TestRepeats:
    """A gateway hands what it got to several nodes, or twice to one, and shows the word of the last."""

    @pytest.mark.parametrize("dialect", [None, *DIALECTS])
    def test_a_deposit_is_made_once(self, net, victim, tally, dialect):
        net.node_fault("repeated")
        if dialect is not None:
            net.node_fault("reworded", dialect=dialect)
        with victim.broker() as broker:
            broker.deposit(og("5"))
        assert victim.paid() == (5, 1)
        tally("gateway that repeats a payment", tried=1, caught=1)

    @pytest.mark.parametrize(
        "words", ["nonce too low: next nonce 1, tx nonce 0", "txpool is full", "nobody knows this"]
    )
    def test_nor_does_a_user_who_tries_until_it_is_said_to_work(self, net, victim, tally, words):
        """Every answer is an error, and the transaction is hidden; he calls ten times."""
        net.node_fault("answered_with_error", times=None, words=words)
        net.node_fault("receipt_hidden", times=None)
        net.node_fault("transaction_hidden", times=None)
        net.node_fault("stuck", times=None, method="eth_getTransactionCount")
        for _ in range(10):
            with victim.broker(HASTY) as broker, pytest.raises(ChainError):
                broker.deposit(og("5"))
        net.clear_node_faults()
        assert victim.paid() == (5, 1)
        with victim.broker() as broker, pytest.raises(ChainError, match="same was asked for") as caught:
            broker.deposit(og("5"))
        assert caught.value.code == "transaction_mined"
        tally("node that denies what it took", tried=10, caught=10)

    def test_a_transfer_is_made_once(self, net, victim, tally):
        with victim.broker() as broker:
            broker.deposit(og("5"))
            net.node_fault("answered_with_error", words="nonce too low: next nonce 2, tx nonce 1")
            broker.transfer(victim.provider, og("2"))
        assert victim.account() == 2 * WHOLE
        tally("gateway that repeats a payment", tried=1, caught=1)

    def test_honest_users_pay_as_often_as_they_say(self, victim, tally):
        with victim.broker() as broker:
            for _ in range(3):
                broker.deposit(og("5"))
        assert victim.paid() == (15, 3)
        tally("payment through an honest node", honest=3, accepted=3)


LIES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "old balances": [],
    "reverted": [("receipt_reverted", {})],
    "txpool is full": [("answered_with_error", {"words": "txpool is full"})],
    "receipts hidden": [("receipt_hidden", {})],
    "nonces used": [("receipt_hidden", {}), ("transaction_hidden", {}), ("count_raised", {"by": 3})],
    "nothing happened": [("answer_lost", {}), ("receipt_hidden", {}), ("transaction_hidden", {})],
}


class TestAutoFunding:
    @pytest.fixture
    def funded(self, net: LocalNet, victim: Victim) -> Victim:
        """3 0G in a sub-account, and much more in the ledger."""
        net.open_account(victim.wallet, net.providers[0], 3 * WHOLE)
        with victim.broker() as broker:
            broker.deposit(og("60"))
        return victim

    @pytest.mark.parametrize("lie", LIES)
    def test_moves_no_more_than_its_limits_by_a_node_that_lies(self, net, funded, tally, lie):
        net.node_fault("stuck", times=None, method="eth_call")  # it shows old balances
        for name, options in LIES[lie]:
            net.node_fault(name, times=None, **options)
        with funded.broker(HASTY) as broker:
            funder = Funder(broker, PLAN, [funded.provider])
            for _ in range(6):
                funder.look()
        net.clear_node_faults()
        moved = funded.account() - 3 * WHOLE
        assert moved <= LIMIT.units
        assert moved <= sum(amount.units for amount in funder.spent.values()) <= LIMIT.units
        tally("node that lies to auto-funding", tried=1, caught=1)

    def test_moves_all_that_it_may_by_an_honest_one(self, funded, tally):
        with funded.broker() as broker:
            funder = Funder(broker, PLAN, [funded.provider])
            for _ in range(3):
                funder.look()
        assert funded.account() == 7 * WHOLE
        assert funder.spent == {funded.provider: LIMIT}
        tally("payment through an honest node", honest=1, accepted=1)


class TestGas:
    def test_what_a_node_has_us_send_to_fill_its_gaps_counts(self, net, victim, tally):
        """It counts transactions that there are not, and takes that back: each of them has to be made up for."""
        net.open_account(victim.wallet, net.providers[0], 3 * WHOLE)
        with victim.broker() as broker:
            broker.deposit(og("10"))
        nonce, block = net.chain.nonce(victim.wallet.address), net.chain.block_number
        net.node_fault("count_raised", times=2, by=4)
        with victim.broker() as broker:
            funder = Funder(broker, PLAN, [victim.provider])
            funder.look()
        assert net.chain.nonce(victim.wallet.address) == nonce + 5, "the attack"
        blocks = [
            net.chain.rpc("eth_getBlockByNumber", [hex(number), True])
            for number in range(block + 1, net.chain.block_number + 1)
        ]
        sent = [each for one in blocks for each in one["transactions"] if int(each["nonce"], 16) >= nonce]
        assert len(sent) == 5
        signed_for = sum(int(each["gas"], 16) * int(each["maxFeePerGas"], 16) for each in sent)
        assert funder.gas.units >= signed_for > 0
        assert victim.account() == 7 * WHOLE
        tally("node that names a price for gas", tried=4, caught=4)

    def test_is_not_paid_at_any_price(self, net, victim, tally):
        with victim.broker() as broker:
            broker.deposit(og("10"))
        before = net.chain.balance(victim.wallet.address)
        net.node_fault("price_raised", times=None, tip=17 * 10**14)
        with victim.broker() as broker:
            Funder(broker, PLAN, [victim.provider]).look()
            with pytest.raises(ChainError) as caught:
                broker.deposit(og("1"))
        assert caught.value.code == "gas_too_expensive"
        assert net.chain.balance(victim.wallet.address) == before
        tally("node that names a price for gas", tried=2, caught=2)

    def test_nor_at_one_named_in_a_refusal(self, net, victim, tally):
        words = "transaction gas price below minimum: gas tip cap 1, minimum needed 1700000000000000"
        net.node_fault("refused", times=5, words=words)
        with victim.broker(HASTY) as broker, pytest.raises(ChainError):
            broker.deposit(og("5"))
        assert victim.paid() == (0, 0)
        with victim.broker() as broker:
            assert broker.deposit(og("5"), again=True).fee < PATIENT.max_gas_cost
        tally("node that names a price for gas", tried=1, caught=1)

    def test_a_dear_day_within_the_cap_is_paid(self, net, victim, tally):
        net.node_fault("price_raised", times=None, tip=20 * 10**9)
        with victim.broker() as broker:
            fee = broker.deposit(og("10")).fee
        assert neuron(0) < fee <= PATIENT.max_gas_cost
        assert victim.paid() == (10, 1)
        tally("payment through an honest node", honest=1, accepted=1)
