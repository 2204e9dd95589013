"""Whoever repeats a payment whose first end was a lie pays once: a node may say no, hide it, show it a moment later.

A gateway hands a transaction to one of its nodes and shows the word of another, which lags. Until that one has seen the
first, or for as long as the gateway likes, the first is nowhere. What is asked for again then has the nonce of the
first, so that at most one of both can ever be mined.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases.chain.field import Relay, RpcError, network_of
from tests.patience import PATIENCE
from zg_core import Broker, Sending, Store, ZeroGError, og
from zg_core.localnet import LocalNet

HASTY = Sending(timeout=0.5, heal_after=0.05)
PATIENT = Sending(timeout=PATIENCE, heal_after=0.05)
WHOLE = 10**18
FINAL = {
    "too poor": "insufficient funds for gas * price + value: balance 0, tx cost 5000000000000000000",
    "never": "exceeds block gas limit",
}
BY_HASH = ("eth_getTransactionByHash", "eth_getTransactionReceipt")


class TwoNodes:
    """A gateway over a node that takes what it is given, and one that has seen nothing of it; it shows which it likes.

    Args:
        net: Where both are.
        words: What the second says to a transaction that the first has.
        holds: The first keeps it, and has not handed it on: it is mined when it is let go.
    """

    def __init__(self, net: LocalNet, words: str, *, holds: bool = False) -> None:
        self.words, self.holds = words, holds
        self.lies, self.counts_truly, self.raised = True, False, 0
        self.held: list[Any] = []
        self._counts: dict[str, str] = {}
        self.relay = Relay(self._answer, net.rpc_url)

    def _answer(self, method: str, params: Any, relay: Relay) -> Any:
        if method == "eth_getTransactionCount" and self.lies:
            true = relay.up(method, params)
            if self.counts_truly:
                return hex(int(true, 16) + self.raised)
            return self._counts.setdefault(params[0], true)
        if method == "eth_sendRawTransaction" and self.lies:
            if self.holds:
                self.held.append(params)
            else:
                relay.up(method, params)
            raise RpcError(-32000, self.words)
        if method in BY_HASH and self.lies:
            return None
        return relay.up(method, params)

    def let_go(self) -> None:
        """What was kept reaches the others."""
        for params in self.held:
            try:
                self.relay.up("eth_sendRawTransaction", params)
            except RpcError:
                continue
        self.held.clear()


class Payer:
    """A fresh wallet and its store."""

    def __init__(self, net: LocalNet) -> None:
        self.net, self.wallet, self.store = net, net.new_wallet(), Store("memory:")

    def broker(self, relay: Relay | None, sending: Sending = PATIENT) -> Broker:
        network = network_of(self.net, None if relay is None else relay.url)
        return Broker(
            network=network, private_key=self.wallet.private_key, store=self.store, sending=sending, environ={}
        )

    def deposit(self, relay: Relay | None, sending: Sending = PATIENT) -> str:
        """Ask for 5 0G; how it ends."""
        with self.broker(relay, sending) as broker:
            try:
                broker.deposit(og("5"))
            except ZeroGError as error:
                return error.code
        return "done"

    def paid(self) -> int:
        """What the ledger holds in 0G, by an honest node."""
        with self.broker(None) as broker:
            found = broker.ledger()
        return 0 if found is None else found.total.units // WHOLE

    def age(self, hours: float) -> None:
        """So much time passes for the store."""
        with self.store.transaction() as work:
            work.run("UPDATE intentions SET asked = asked - :seconds", seconds=hours * 3600)


@pytest.fixture
def payer(net: LocalNet) -> Iterator[Payer]:
    made = Payer(net)
    yield made
    made.store.close()


@pytest.mark.parametrize("hours", [0, 2])
@pytest.mark.parametrize("words", FINAL)
def test_a_final_word_about_a_payment_that_was_made_costs_no_second_one(net, payer, tally, words, hours):
    nodes = TwoNodes(net, FINAL[words])
    first = payer.deposit(nodes.relay, HASTY)
    payer.age(hours)
    # It is hidden until the wallet has been told that nothing is known of it, and counted when the next nonce is taken.
    looked: list[str] = []
    true = nodes._answer

    def shown_in_between(method: str, params: Any, relay: Relay) -> Any:
        looked.append(method)
        nodes.counts_truly = "eth_estimateGas" in looked
        return true(method, params, relay)

    nodes.relay._hook = shown_in_between
    ends = [payer.deposit(nodes.relay, HASTY) for _ in range(3)]
    nodes.lies = False
    ends.append(payer.deposit(nodes.relay, HASTY))
    assert payer.paid() == 5, (first, ends)
    tally("refusal of a payment that was made", tried=5, caught=5)


@pytest.mark.parametrize("raised", [0, 1])
@pytest.mark.parametrize("words", ["request timed out", *FINAL.values()])
def test_what_a_node_keeps_for_hours_is_not_paid_beside_its_repetition(net, payer, tally, words, raised):
    nodes = TwoNodes(net, words, holds=True)
    first = payer.deposit(nodes.relay, HASTY)
    payer.age(2)
    nodes.holds, nodes.counts_truly, nodes.raised = False, True, raised  # counted, as if it waited there
    second = payer.deposit(nodes.relay, HASTY)
    nodes.lies = False
    third = payer.deposit(nodes.relay)
    nodes.let_go()
    assert payer.paid() == 5, (first, second, third)
    assert third in ("done", "transaction_mined")
    tally("payment that a node keeps for hours", tried=3, caught=3)


@pytest.mark.parametrize("hidden", [False, True], ids=["shown", "hidden"])
@pytest.mark.parametrize("hours", [0, 2])
def test_a_receipt_that_denies_what_was_done_costs_no_second_payment(net, payer, tally, hours, hidden):
    def deny(method: str, params: Any, relay: Relay) -> Any:
        said = relay.up(method, params)
        if method == "eth_getTransactionReceipt" and said:
            return {**said, "status": "0x0", "logs": []}
        return None if hidden and method == "eth_getTransactionByHash" else said

    relay = Relay(deny, net.rpc_url)
    ends = []
    for _ in range(3):
        ends.append(payer.deposit(relay, HASTY))
        payer.age(hours)
    assert payer.paid() == 5, ends
    assert ends == ["rpc_junk", "transaction_pending", "transaction_pending"]
    assert payer.deposit(Relay(lambda method, params, relay: relay.up(method, params), net.rpc_url)) in (
        "transaction_mined",
        "transaction_pending",
    )
    assert payer.paid() == 5
    tally("receipt that denies what was done", tried=4, caught=4)


def test_who_was_told_that_it_is_done_pays_again_when_he_asks_again(net, payer, tally):
    relay = Relay(lambda method, params, relay: relay.up(method, params), net.rpc_url)
    assert [payer.deposit(relay) for _ in range(3)] == ["done"] * 3
    assert payer.paid() == 15
    tally("payment through an honest node", honest=3, accepted=3)


@pytest.mark.parametrize("words", FINAL)
def test_an_honest_refusal_stands_in_nobodys_way(net, payer, tally, words):
    """Refused in these words and never taken: the same goes out once the reason is gone, others went out meanwhile."""
    refusals = [FINAL[words]] * 2

    def refuse(method: str, params: Any, relay: Relay) -> Any:
        if method == "eth_sendRawTransaction" and refusals:
            raise RpcError(-32000, refusals.pop())
        return relay.up(method, params)

    relay = Relay(refuse, net.rpc_url)
    assert payer.deposit(relay) != "done"
    assert payer.deposit(relay) != "done"
    with payer.broker(relay) as broker:
        broker.deposit(og("3"))
    assert payer.deposit(relay) == "done"
    assert payer.deposit(relay) == "done"
    assert payer.paid() == 13
    tally("payment through an honest node", honest=3, accepted=3)
