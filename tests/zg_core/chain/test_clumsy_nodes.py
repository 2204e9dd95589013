"""One intention is one transaction, whatever an RPC endpoint answers, loses, repeats, hides or makes up on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core import Broker, ChainError, ConfigError, InsufficientFunds, Sending, Store, neuron, og
from zg_core.chain.nonces import Nonces
from zg_core.http.messages import Request, Response
from zg_core.http.transport import SyncTransport
from zg_core.localnet import LocalNet
from zg_core.localnet.gateway.dialects import DIALECTS

ROOT = Path(__file__).resolve().parents[3]
OTHER = "0x" + "12" * 20
RECEIPT = "eth_getTransactionReceipt"
PATIENT = Sending(timeout=PATIENCE, heal_after=0.1)
HASTY = Sending(timeout=0.3, heal_after=60)


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=0) as network:
        yield network


@pytest.fixture(autouse=True)
def _honest_again(net: LocalNet) -> Iterator[None]:
    yield
    net.clear_node_faults()


class User:
    """A wallet with a store of its own."""

    def __init__(self, net: LocalNet, store: Store) -> None:
        self.net, self.store, self.wallet = net, store, net.new_wallet()
        net.chain.mine(2)  # a lagging node knows the wallet

    def broker(self, sending: Sending = PATIENT, **more: Any) -> Broker:
        where = {"network": "local", "rpc_url": self.net.rpc_url, "ledger": self.net.ledger}
        where |= {"inference": self.net.inference, "private_key": self.wallet.private_key, "environ": {}}
        return Broker(**where, store=more.pop("store", self.store), sending=sending, **more)

    @property
    def ledger(self) -> int:
        """What the ledger holds, in 0G, as the chain itself says."""
        from zg_core.localnet.chain.abi import ledger
        from zg_core.localnet.chain.chain import Reverted

        contract = ledger()
        try:
            data = self.net.chain.call(to=self.net.ledger, data=contract.encode("getLedger", self.wallet.address))
        except Reverted:
            return 0
        return contract.decode("getLedger", data)["totalBalance"] // 10**18

    @property
    def sent(self) -> int:
        """How many transactions of the wallet are mined."""
        return self.net.chain.nonce(self.wallet.address)


@pytest.fixture
def user(net: LocalNet, tmp_path: Path) -> Iterator[User]:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    yield User(net, store)
    store.close()


WORDS = [
    "request timed out: Some(Elapsed(()))",
    "Internal error",
    "timed out waiting for tx to be included in a block",
    "nonce too low",
    "replacement transaction underpriced",
    "ReplacementNotAllowed",
    "transaction underpriced",
    "could not replace existing tx",
    "invalid nonce; got 0, expected 1: invalid sequence: invalid sequence",
    "txpool is full",
    "insufficient funds for gas * price + value",
    "exceeds block gas limit",
    "invalid sender",
    "the sequencer is tired today",
    "",
]


@pytest.mark.parametrize("words", WORDS)
def test_a_node_that_takes_it_and_says_anything_else_is_paid_once(net, user, words):
    net.node_fault("answered_with_error", words=words)
    with user.broker() as broker:
        result = broker.deposit(og("5"))
    assert (user.ledger, user.sent, result.nonce) == (5, 1, 0)


@pytest.mark.parametrize("dialect", [None, *DIALECTS])
def test_a_gateway_that_repeats_it_is_paid_once(net, user, dialect):
    net.node_fault("repeated")
    if dialect is not None:
        net.node_fault("reworded", dialect=dialect)
    with user.broker() as broker:
        broker.deposit(og("5"))
    assert (user.ledger, user.sent) == (5, 1)


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("answer_lost", {}),
        ("request_lost", {"times": 3}),
        ("dropped", {"times": 2}),
        ("delayed", {"requests": 40}),
        ("refused", {"words": "txpool is full", "times": 3}),
        ("refused", {"words": "nonce too high", "times": 3}),
        ("refused", {"words": "transaction underpriced", "times": 3}),
        ("rate_limited", {"times": 2, "method": "eth_sendRawTransaction"}),
        ("rate_limited", {"times": 2, "method": "eth_estimateGas", "form": "http"}),
        ("rate_limited", {"times": 3, "method": RECEIPT, "form": "object"}),
        ("junk", {"times": 2, "method": "eth_sendRawTransaction"}),
        ("cut", {"times": 3, "method": RECEIPT}),
        ("receipt_hidden", {"times": 6}),
        ("batch_refused", {"times": None, "most": 3, "form": "cut"}),
    ],
)
def test_what_is_lost_or_late_heals_and_is_paid_once(net, user, fault, options):
    net.node_fault(fault, **options)
    with user.broker() as broker:
        broker.deposit(og("5"))
    assert (user.ledger, user.sent) == (5, 1)


def test_a_lagging_node_leads_to_no_second_payment(net, user):
    net.node_fault("lagging", times=25, method="eth_getTransactionCount")
    net.node_fault("lagging", times=10, method=RECEIPT)
    with user.broker() as broker:
        for _ in range(3):
            broker.deposit(og("4"))
    assert (user.ledger, user.sent) == (12, 3)


class TestWhatStaysUnclear:
    @pytest.fixture
    def unclear(self, net: LocalNet, user: User) -> ChainError:
        """A deposit that is mined, of which the node shows nothing."""
        net.node_fault("receipt_hidden", times=None)
        net.node_fault("transaction_hidden", times=None)
        with user.broker(HASTY) as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert user.ledger == 5
        return caught.value

    def test_is_pending_with_its_hash_and_id(self, unclear: ChainError) -> None:
        assert (unclear.code, unclear.retryable) == ("transaction_pending", False)
        assert {"transaction", "replaced", "intention", "nonce"} <= set(unclear.details)
        assert unclear.details["transaction"] in str(unclear)
        assert "zerog pending" in unclear.hint

    def test_is_not_paid_again_while_nothing_is_seen(self, user: User, unclear: ChainError) -> None:
        for _ in range(2):
            with user.broker(HASTY) as broker, pytest.raises(ChainError) as caught:
                broker.deposit(og("5"))
            assert caught.value.code == "transaction_pending"
            assert caught.value.details["transaction"] == unclear.details["transaction"]
            assert "nothing was sent now" in str(caught.value)
        assert (user.ledger, user.sent) == (5, 1)

    def test_is_told_when_it_is_seen_and_not_paid_again(self, net: LocalNet, user: User, unclear: ChainError) -> None:
        net.clear_node_faults()
        for _ in range(3):  # a loop of retries does not get through
            with user.broker() as broker, pytest.raises(ChainError) as caught:
                broker.deposit(og("5"))
            assert (caught.value.code, caught.value.retryable) == ("transaction_mined", False)
            assert caught.value.details["transaction"] == unclear.details["transaction"]
        assert (user.ledger, user.sent) == (5, 1)

    def test_is_paid_again_by_who_says_so(self, net: LocalNet, user: User, unclear: ChainError) -> None:
        net.clear_node_faults()
        with user.broker() as broker:
            broker.deposit(og("5"), again=True)
            assert (user.ledger, user.sent) == (10, 2)
            broker.deposit(og("4"))  # another amount is another intention
        assert user.ledger == 14

    def test_is_listed_until_it_is_clear(self, net: LocalNet, user: User, unclear: ChainError) -> None:
        with user.broker() as broker:
            (shown,) = broker.pending()
            assert (shown.id, shown.state, shown.is_settled) == (unclear.details["intention"], "unclear", False)
            assert (shown.what, shown.value, shown.nonce) == ("depositFund", og("5"), 0)
            net.clear_node_faults()
            (shown,) = broker.pending()
            assert (shown.state, shown.is_settled) == ("mined", True)
            assert broker.pending() == []

    def test_is_waited_for(self, net: LocalNet, user: User, unclear: ChainError) -> None:
        net.clear_node_faults()
        with user.broker() as broker:
            result = broker.resume(unclear.details["intention"])
            assert (result.hash, result.nonce) == (unclear.details["transaction"], 0)
            assert broker.pending() == []
        assert (user.ledger, user.sent) == (5, 1)

    def test_a_node_that_cannot_be_asked_lets_nothing_be_paid_again(
        self, net: LocalNet, user: User, unclear: ChainError
    ) -> None:
        net.clear_node_faults()
        net.node_fault("cut", times=None, method=RECEIPT)
        with user.broker(HASTY) as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert caught.value.code == "rpc_unavailable"
        assert user.ledger == 5

    def test_another_store_knows_nothing_of_it(self, net: LocalNet, user: User, unclear: ChainError) -> None:
        """What the page on money says of ``memory:``: it is forgotten with the process."""
        net.clear_node_faults()
        with user.broker(store=Store("memory:")) as broker:
            broker.deposit(og("5"))
        assert user.ledger == 10


class TestWhatWasLost:
    @pytest.fixture
    def lost(self, net: LocalNet, user: User) -> ChainError:
        """A deposit that the node has forgotten."""
        net.node_fault("dropped")
        with user.broker(HASTY) as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert (user.ledger, user.sent, caught.value.code) == (0, 0, "transaction_pending")
        return caught.value

    def test_is_handed_over_again_and_paid_once(self, user: User, lost: ChainError) -> None:
        with user.broker() as broker:
            result = broker.resume(lost.details["intention"])
            assert result.hash == lost.details["transaction"], "the same bytes"
        assert (user.ledger, user.sent) == (5, 1)

    def test_and_sent_again_has_the_same_nonce(self, net: LocalNet, user: User, lost: ChainError) -> None:
        with user.broker() as broker:
            assert broker.deposit(og("5"), again=True).nonce == lost.details["nonce"] == 0
            (shown,) = broker.pending()
            assert shown.state == "dropped", "the other transaction is in a block"
        assert (user.ledger, user.sent) == (5, 1)

    def test_is_told_as_dropped_and_may_be_asked_for_again(self, net: LocalNet, user: User, lost: ChainError) -> None:
        net.chain.send(user.wallet.private_key, to=OTHER, value=1)
        with user.broker() as broker:
            with pytest.raises(ChainError) as caught:
                broker.resume(lost.details["intention"])
            assert caught.value.code == "nonce_taken"
            assert broker.deposit(og("5")).nonce == 1
        assert user.ledger == 5

    def test_its_nonce_is_not_left_unused(self, net: LocalNet, user: User, lost: ChainError) -> None:
        with user.broker() as broker:
            assert broker.deposit(og("4")).nonce == 0
        assert user.ledger == 4


@pytest.mark.parametrize("id_", ["", "no-such", "x' OR 1=1"])
def test_only_what_was_sent_is_resumed(user, id_):
    with user.broker() as broker, pytest.raises(ConfigError) as caught:
        broker.resume(id_)
    assert caught.value.code == "unknown_intention"


class TestRefusals:
    def test_a_known_one_of_what_was_not_taken_is_told_and_its_nonce_is_free(self, net: LocalNet, user: User) -> None:
        net.node_fault("refused", words="invalid sender: no such thing")
        with user.broker() as broker:
            with pytest.raises(ChainError) as caught:
                broker.deposit(og("5"))
            assert caught.value.code == "node_refused"
            assert caught.value.details["transaction"]
            assert broker.deposit(og("5")).nonce == 0
        assert (user.ledger, user.sent) == (5, 1)

    def test_too_little_money_is_told_as_that(self, net: LocalNet, user: User) -> None:
        net.node_fault("refused", words="Upfront cost exceeds account balance")
        with user.broker() as broker, pytest.raises(InsufficientFunds) as caught:
            broker.deposit(og("5"))
        assert caught.value.code == "wallet_too_small"

    def test_one_that_turns_out_to_be_mined_is_not_paid_again(self, net: LocalNet, user: User) -> None:
        """The node refuses in known words, and hands it on later all the same."""
        net.node_fault("answered_with_error", words="invalid sender")
        net.node_fault("lagging", times=None)
        with user.broker(HASTY) as broker:
            with pytest.raises(ChainError) as caught:
                broker.deposit(og("5"))
            assert caught.value.code == "node_refused"
            net.clear_node_faults()
            with pytest.raises(ChainError) as caught:
                broker.deposit(og("5"))
        assert caught.value.code == "transaction_mined"
        assert (user.ledger, user.sent) == (5, 1)

    def test_a_dearer_form_is_signed_for_the_same_nonce(self, net: LocalNet, user: User) -> None:
        said = "transaction gas price below minimum: gas tip cap 1000000000, minimum needed 7000000000"
        net.node_fault("refused", words=said)
        with user.broker() as broker:
            result = broker.deposit(og("5"))
        mined = net.chain.mined(bytes.fromhex(result.hash[2:]))
        assert mined is not None
        assert mined.tx.tx.max_priority_fee_per_gas >= 7 * 10**9
        assert (result.nonce, len(result.replaced), user.sent) == (0, 1, 1)

    def test_the_caps_hold_against_what_a_node_asks_for(self, net: LocalNet, user: User) -> None:
        said = "transaction gas price below minimum: gas tip cap 1, minimum needed 900000000000"
        net.node_fault("refused", words=said, times=None)
        with user.broker(HASTY) as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert caught.value.code == "transaction_pending"
        assert "minimum needed" in str(caught.value)
        forms = Nonces(user.store, net.chain_id, user.wallet.address).forms(0)
        assert forms
        assert all(form.fees.cap <= HASTY.max_fee_per_gas.units for form in forms)


class TestGas:
    def test_above_the_cap_nothing_is_signed(self, net: LocalNet, user: User) -> None:
        net.node_fault("price_raised", times=None)
        with user.broker() as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert (caught.value.code, caught.value.retryable) == ("gas_too_expensive", True)
        assert "transaction" not in caught.value.details
        assert Nonces(user.store, net.chain_id, user.wallet.address).forms(0) == ()
        assert net.chain.balance(user.wallet.address) == 1_000 * 10**18

    def test_below_it_the_price_of_the_node_is_paid(self, net: LocalNet, user: User) -> None:
        net.node_fault("price_raised", times=None, tip=20 * 10**9)
        with user.broker() as broker:
            result = broker.deposit(og("5"))
        assert result.fee.units == 1_000 * 10**18 - 5 * 10**18 - net.chain.balance(user.wallet.address)
        assert result.fee.units >= result.gas_used * 20 * 10**9

    def test_a_stuck_transaction_is_not_raised_above_it(self, net: LocalNet, user: User) -> None:
        tight = replace(PATIENT, timeout=1, stuck_after=0.05, max_fee_per_gas=neuron(35 * 10**8))
        net.chain.automine = False
        try:
            with user.broker(tight) as broker, pytest.raises(ChainError):
                broker.deposit(og("5"))
            (waiting,) = net.chain.waiting()
            assert waiting.tx.max_fee_per_gas <= 35 * 10**8
        finally:
            net.chain.automine = True
        assert user.ledger == 5


class TestTwoPrograms:
    def test_equal_transactions_are_unlike_each_other(self, net: LocalNet, user: User) -> None:
        hashes = set()
        for _ in range(6):
            net.node_fault("dropped")
            with user.broker(HASTY, store=Store("memory:")) as broker, pytest.raises(ChainError) as caught:
                broker.deposit(og("5"))
            assert caught.value.details["nonce"] == 0
            hashes.add(caught.value.details["transaction"])
        assert len(hashes) == 6

    def test_with_one_wallet_and_two_stores_each_pays_its_own(self, net: LocalNet, user: User) -> None:
        def deposits(_: int) -> list[str]:
            with user.broker(store=Store("memory:")) as broker:
                return [broker.deposit(og("3")).hash for _ in range(4)]

        with ThreadPoolExecutor(2) as pool:
            told = [tx_hash for each in pool.map(deposits, range(2)) for tx_hash in each]
        assert len(set(told)) == len(told) == 8
        assert (user.ledger, user.sent) == (24, 8)

    def test_one_that_comes_first_is_found_and_gone_round(self, net: LocalNet, user: User) -> None:
        def another_program() -> None:
            net.chain.send(user.wallet.private_key, to=OTHER, value=1)

        net.node_fault("refused", words="nonce too low: next nonce 1, tx nonce 0", then=another_program)
        with user.broker() as broker:
            result = broker.deposit(og("5"))
        assert (result.nonce, user.ledger, user.sent) == (1, 5, 2)

    def test_a_used_nonce_alone_proves_nothing(self, net: LocalNet, user: User) -> None:
        """The count is beyond ours, and no other transaction is there."""
        net.node_fault("dropped", then=lambda: net.node_fault("count_raised", times=None))
        with user.broker(replace(HASTY, heal_after=0.02)) as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert caught.value.code == "transaction_pending"
        nonces = Nonces(user.store, net.chain_id, user.wallet.address)
        assert [len(nonces.forms(nonce)) for nonce in (0, 1, 2, 3)].count(1) == 1, "one nonce, one form"


def test_a_transaction_that_a_node_still_has_keeps_its_nonce(net, user):
    """Nobody waits for it any more, and the node's counts do not show it."""
    net.chain.automine = False
    try:
        with user.broker(HASTY) as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert caught.value.details["nonce"] == 0
        net.node_fault("lagging", times=None, method="eth_getTransactionCount")
        with user.broker(HASTY) as broker, pytest.raises(ChainError) as caught:
            broker.deposit(og("4"))
        assert caught.value.details["nonce"] == 1
    finally:
        net.chain.automine = True
    assert (user.ledger, user.sent) == (9, 2)


def test_confirmations_are_waited_for(net, user):
    with user.broker(replace(PATIENT, confirmations=3)) as broker, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(broker.deposit, og("5"))
        while user.ledger != 5:
            assert not waiting.done()
        head = net.chain.block_number
        net.chain.mine()
        assert not waiting.done()
        net.chain.mine()
        assert waiting.result(PATIENCE).block == head


class Unreachable(SyncTransport):
    """Reads well, and cannot connect to send a transaction."""

    async def send(self, request: Request) -> Response:
        if request.body is not None and b"eth_sendRawTransaction" in request.body:
            request = replace(request, url="http://127.0.0.1:9")
        return await super().send(request)


def test_what_never_left_this_machine_was_not_sent(user):
    with user.broker(replace(HASTY, heal_after=0.02)) as broker:
        broker.core.sender._rpc._transport = Unreachable()
        with pytest.raises(ChainError, match="nothing was sent") as caught:
            broker.deposit(og("5"))
    assert (caught.value.code, caught.value.retryable) == ("rpc_unavailable", True)
    assert "transaction" not in caught.value.details
    with user.broker() as broker:
        assert broker.pending() == []
        assert broker.deposit(og("5")).nonce == 0


CHILD = """
import sys
from zg_core import Broker, Sending, og
url, ledger, inference, store = sys.argv[1:]
with Broker(network="local", rpc_url=url, ledger=ledger, inference=inference, store=store) as broker:
    broker.deposit(og("5"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
@pytest.mark.parametrize(("fault", "mined"), [("request_lost", False), ("answer_lost", True)])
def test_a_process_that_is_killed_while_it_sends_blocks_nobody_and_its_deposit_is_known(net, user, fault, mined):
    environ = {**os.environ, "ZEROG_PRIVATE_KEY": user.wallet.private_key}
    arguments = [net.rpc_url, net.ledger, net.inference, user.store.url]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], cwd=ROOT, env=environ)
    net.node_fault(fault, then=child.kill)
    assert child.wait(PATIENCE) == -9
    assert user.ledger == (5 if mined else 0)
    with user.broker() as broker:
        with pytest.raises(ChainError) as caught:
            broker.deposit(og("5"))
        assert caught.value.code == ("transaction_mined" if mined else "transaction_pending")
        if not mined:
            broker.resume(caught.value.details["intention"])
        assert (user.ledger, user.sent) == (5, 1)
        assert broker.deposit(og("4")).nonce == 1
