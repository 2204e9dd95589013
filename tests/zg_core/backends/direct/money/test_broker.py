"""`Broker` and `AsyncBroker` on a real EVM: what they read, what they send, and what they refuse beforehand."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.zg_core.conftest import CALM
from zg_core import (
    Amount,
    AsyncBroker,
    Broker,
    ChainError,
    ConfigError,
    InsufficientFunds,
    Progress,
    Store,
    TransactionReverted,
    Wallet,
    ZeroGError,
    neuron,
    og,
)
from zg_core.backends.direct.money.accounts import PROVIDERS_PER_BATCH
from zg_core.crypto import checksum_address
from zg_core.localnet import LocalNet, LocalWallet
from zg_core.localnet.chain.abi import inference

NOBODY = checksum_address("0x" + "9f" * 20)


class Twin:
    """Calls an `AsyncBroker` as if it were blocking, so that each case runs on both."""

    def __init__(self, broker: AsyncBroker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._broker, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            async def work() -> Any:
                try:
                    return await method(*arguments, **named)
                finally:
                    await self._broker.close()

            return asyncio.run(work())

        return call


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    """A network of its own: these tests move its clock by days, and sessions are signed with the real time."""
    with LocalNet(providers=5, settings=CALM) as network:
        yield network


@pytest.fixture(scope="module")
def wallet(net: LocalNet) -> LocalWallet:
    """A wallet with a funded sub-account at every provider of that network."""
    rich = net.new_wallet()
    for one in net.providers:
        net.open_account(rich, one, 20 * 10**18)
    return rich


@pytest.fixture
def where(net: LocalNet) -> dict[str, Any]:
    return {
        "network": "local",
        "rpc_url": net.rpc_url,
        "ledger": net.ledger,
        "inference": net.inference,
        "environ": {},
    }


@pytest.fixture
def steps() -> list[Progress]:
    return []


@pytest.fixture(params=["sync", "async"])
def broker(request: pytest.FixtureRequest, net: LocalNet, where: dict[str, Any], steps: list[Progress]) -> Any:
    """A broker of a fresh wallet that holds 1,000 0G."""
    key = net.new_wallet().private_key
    options = {**where, "private_key": key, "store": Store("memory:"), "on_progress": steps.append}
    return Broker(**options) if request.param == "sync" else Twin(AsyncBroker(**options))


@pytest.fixture
def funded(broker: Any) -> Any:
    broker.deposit(og("10"))
    return broker


@pytest.fixture
def target(net: LocalNet) -> str:
    return net.providers[0].address


def refused(code: str, call: Any, *arguments: Any, error: type[ZeroGError] = ConfigError) -> ZeroGError:
    with pytest.raises(error) as caught:
        call(*arguments)
    assert caught.value.code == code, f"{caught.value.code}: {caught.value}"
    assert caught.value.hint or code == "bad_amount", f"no hint: {caught.value}"
    return caught.value


class TestReads:
    def test_services_are_those_of_the_network(self, broker, net):
        services = broker.services()
        assert {s.provider for s in services} == {p.address for p in net.providers}
        one = net.providers[0]
        assert broker.service(one.address).model == one.model

    @pytest.mark.parametrize("form", [str.lower, lambda a: "0x" + a[2:].upper(), checksum_address])
    def test_a_providers_address_is_taken_in_any_case(self, broker, target, form):
        assert broker.service(form(target)).provider == target
        assert broker.account(form(target)) is None

    def test_the_name_of_the_service_comes_from_the_ledger_contract(self, broker):
        assert broker.service_name() == "inference-v1.0"

    def test_lock_time_is_a_day(self, broker):
        assert broker.lock_time() == 86_400

    def test_without_a_ledger_there_is_none(self, broker):
        assert broker.ledger() is None
        assert broker.accounts() == []

    def test_a_read_only_broker_needs_no_wallet(self, net, where, wallet, target):
        with Broker.read_only(**where, user=wallet.address.lower()) as reader:
            assert reader.address == wallet.address
            assert len(reader.accounts()) == len(net.providers)
            assert reader.account(target).acknowledged
            assert reader.ledger().locked > og("0")
            assert reader.settlements(NOBODY) == []
            assert reader.lock_time() == 86_400
            error = refused("read_only", reader.deposit, og("3"))
            assert "private_key" in error.hint

    def test_a_read_only_broker_without_user_can_be_told_one(self, where, wallet):
        with Broker.read_only(**where) as reader:
            refused("no_user", reader.ledger)
            assert reader.ledger(wallet.address).user == wallet.address

    def test_accounts_are_those_of_the_user_and_nobody_elses(self, funded, target, wallet):
        assert funded.accounts() == []
        funded.transfer(target, og("1.1"))
        (account,) = funded.accounts()
        assert (account.user, account.provider) == (funded.address, target)

    def test_settlements_of_our_calls_are_shown(self, net, where, options, target):
        from zg_core import ChatClient

        key = net.new_wallet()
        net.open_account(key, target)
        with ChatClient(**{**options, "private_key": key.private_key, "provider": target}) as client:
            fee = client.create({"messages": [{"role": "user", "content": "hi"}]}).receipt.fee.amount
        net.providers[0].settle()
        with Broker(**where, private_key=key.private_key, store=Store("memory:")) as broker:
            (item,) = broker.settlements()
        assert (item.paid, item.signer) == (fee, net.providers[0].tee_signer)


class TestMoney:
    def test_a_deposit_makes_the_ledger_and_tops_it_up(self, broker, steps):
        first = broker.deposit(og("3"))
        second = broker.deposit(neuron(1))
        ledger = broker.ledger()
        assert (ledger.available, ledger.locked, ledger.total) == (neuron(3 * 10**18 + 1), og("0"), ledger.available)
        assert (first.nonce, second.nonce) == (0, 1)
        assert second.block > first.block
        assert first.hash.startswith("0x")
        assert len(first.hash) == 66
        assert [step.name for step in steps] == ["sent", "mined"] * 2

    def test_add_ledger_makes_one_once(self, broker):
        assert broker.add_ledger(og("3"), "hello").gas_used > 100_000
        error = refused("ledger_exists", broker.add_ledger, og("3"))
        assert "deposit" in error.hint

    def test_a_deposit_for_somebody_else_is_theirs(self, broker, net):
        other = net.new_wallet()
        broker.deposit_for(other.address.lower(), og("4"))
        assert broker.ledger() is None
        assert broker.ledger(other.address).total == og("4")

    def test_a_transfer_opens_the_account_and_acknowledges_it(self, funded, target):
        result = funded.transfer(target.lower(), og("1.5"))
        account = funded.account(target)
        assert (account.balance, account.usable, account.acknowledged) == (og("1.5"), og("1.5"), True)
        assert funded.ledger().available == og("8.5")
        (event,) = result.events
        assert (event.name, event.arguments["amount"]) == ("BalanceUpdated", 15 * 10**17)
        assert funded.acknowledge(target) is None, "nothing to do"

    def test_a_transfer_to_an_open_account_has_no_minimum(self, funded, target):
        funded.transfer(target, og("1"))
        funded.transfer(target, neuron(1))
        funded.transfer(target, neuron(0))
        assert funded.account(target).balance == neuron(10**18 + 1)

    def test_money_comes_back_with_two_calls_the_lock_time_apart(self, funded, net, target):
        funded.transfer(target, og("2"))
        (first,) = funded.retrieve()
        assert [event.name for event in first.events] == ["RefundRequested"]
        account = funded.account(target)
        assert (account.usable, account.pending_refund) == (og("0"), og("2"))
        assert [refund.amount for refund in account.refunds] == [og("2")]
        assert account.refunds[0].requested_at.tzinfo is not None
        assert funded.retrieve() == (), "nothing is free yet"
        net.clock.advance(funded.lock_time() + 1)
        net.chain.mine()
        assert len(funded.retrieve([target])) == 1
        assert funded.ledger().available == og("10")
        assert funded.account(target).refunds == ()

    def test_a_transfer_takes_back_a_pending_refund_first(self, funded, target):
        funded.transfer(target, og("5"))
        funded.retrieve()
        funded.transfer(target, og("5"))  # the ledger keeps its 5
        assert funded.ledger().available == og("5")
        assert funded.account(target).usable == og("5")
        funded.retrieve()
        funded.transfer(target, og("10"))  # 5 of them lie there already
        assert funded.ledger().available == og("0")

    def test_all_can_be_refunded_and_the_ledger_is_gone(self, funded):
        funded.refund(og("7"))
        assert funded.ledger().available == og("3")
        funded.refund("all")
        assert funded.ledger() is None

    def test_an_empty_ledger_is_deleted(self, broker, net):
        # Only spending everything leaves an empty ledger; a refund to 0 deletes it by itself.
        broker.deposit(og("3"))
        error = refused("ledger_not_empty", broker.delete_ledger)
        assert "retrieve" in error.hint
        broker.refund("all")
        refused("no_ledger", broker.delete_ledger, error=InsufficientFunds)

    def test_acknowledging_is_sent_where_it_is_not_done(self, net, funded, target, where):
        # A deleted account that is opened by the contract again is acknowledged; only an own revocation undoes it,
        # and that needs an empty account.
        funded.transfer(target, og("1"))
        funded.retrieve()
        net.clock.advance(86_401)
        net.chain.mine()
        funded.retrieve()
        contract = inference()
        key = funded.core.sender.wallet._secret.reveal()
        net.chain.send("0x" + key, to=contract.address, data=contract.encode("acknowledgeTEESigner", target, False))
        assert not funded.account(target).acknowledged
        assert funded.acknowledge(target).hash
        assert funded.account(target).acknowledged


class TestRefusedBeforehand:
    @pytest.mark.parametrize("amount", [1.5, 3, "3", True, None])
    def test_an_amount_is_an_amount(self, broker, amount):
        for call in (broker.deposit, broker.add_ledger, broker.refund):
            refused("bad_amount", call, amount)
        refused("bad_amount", broker.transfer, NOBODY, amount)

    def test_an_amount_is_0g_and_more_than_nothing(self, broker, target):
        for amount in (Amount("3", "USD"), og("0"), neuron(-1)):
            refused("bad_amount", broker.deposit, amount)
        refused("bad_amount", broker.transfer, target, neuron(-1))

    def test_a_new_ledger_takes_3_0g(self, broker, net):
        for call in (broker.deposit, broker.add_ledger):
            assert "3 0G" in str(refused("below_minimum", call, og("2.999999999999999999")))
        refused("below_minimum", broker.deposit_for, NOBODY, og("1"))
        assert net.chain.pending_nonce(broker.address) == 0, "nothing was sent"

    def test_a_new_account_takes_1_0g(self, funded, target):
        error = refused("below_minimum", funded.transfer, target, og("0.5"))
        assert "1 0G" in str(error)
        assert "1.1" in error.hint

    def test_a_transfer_without_ledger_names_the_command(self, broker, target):
        assert "zerog deposit 3" in refused("no_ledger", broker.transfer, target, og("2"), error=InsufficientFunds).hint

    def test_a_transfer_of_more_than_there_is_says_how_much_is_missing(self, funded, target):
        error = refused("ledger_too_small", funded.transfer, target, og("12.5"), error=InsufficientFunds)
        assert "zerog deposit 2.5" in error.hint

    def test_the_wallet_itself_is_no_provider(self, funded):
        refused("self_as_provider", funded.transfer, funded.address.lower(), og("2"))

    @pytest.mark.parametrize("call", ["transfer", "service"])
    def test_an_address_without_service_is_told(self, funded, call):
        arguments = [og("2")] if call == "transfer" else []
        assert "zerog providers" in refused("unknown_provider", getattr(funded, call), NOBODY, *arguments).hint

    @pytest.mark.parametrize("text", ["", "0x12", "nobody", None, 5])
    def test_what_is_no_address_is_told(self, funded, text):
        refused("bad_address", funded.transfer, text, og("2"))
        refused("bad_address", funded.deposit_for, text if text is not None else "x", og("3"))

    def test_the_zero_address_gets_no_ledger(self, broker):
        refused("bad_address", broker.deposit_for, "0x" + "00" * 20, og("3"))

    def test_a_refund_may_not_leave_less_than_3_0g(self, funded):
        error = refused("below_minimum", funded.refund, og("8"))
        assert "10 0G" in error.hint
        assert "7 0G" in error.hint
        refused("ledger_too_small", funded.refund, og("11"), error=InsufficientFunds)

    def test_a_refund_without_ledger_is_told(self, broker):
        refused("no_ledger", broker.refund, og("1"), error=InsufficientFunds)
        refused("no_ledger", broker.retrieve, error=InsufficientFunds)

    def test_what_needs_an_account_says_so(self, funded, target):
        refused("no_account", funded.acknowledge, target, error=InsufficientFunds)
        refused("no_account", funded.retrieve, [target], error=InsufficientFunds)

    def test_a_service_contract_that_the_ledger_does_not_know_is_told(self, where, net):
        key = net.new_wallet().private_key
        wrong = {**where, "ledger": net.inference}
        with Broker(**wrong, private_key=key, store=Store("memory:")) as broker, pytest.raises(ChainError):
            broker.service_name()
        with Broker(**{**where, "inference": NOBODY}, private_key=key, store=Store("memory:")) as broker:
            refused("unknown_service", broker.service_name)

    def test_a_wallet_is_needed_to_spend(self, where):
        error = refused("no_wallet", lambda: Broker(**where))
        assert "read_only" in error.hint


class TestRefunds:
    def test_a_fifth_refund_that_blocks_the_account_is_told_or_left_out(self, net, where, target, steps):
        funded = Broker(
            **where, private_key=net.new_wallet().private_key, store=Store("memory:"), on_progress=steps.append
        )
        funded.deposit(og("10"))
        # 0g-contracts C3.8: halving the newest entry appends one with every retrieval.
        amounts = ["3.2", "1.6", "0.8", "0.4", "0.2"]
        funded.transfer(target, og(amounts[0]))
        funded.retrieve()
        for amount in amounts[1:]:
            funded.transfer(target, og(amount))
            funded.retrieve()
        assert len(funded.account(target).refunds) == 5
        funded.transfer(target, og("0.1"))
        assert "no more fit" in str(refused("too_many_refunds", funded.retrieve, [target]))
        steps.clear()
        assert funded.retrieve() == ()
        assert [step.name for step in steps] == ["left_out"]
        net.clock.advance(86_401)
        net.chain.mine()
        assert len(funded.retrieve()) == 1

    def test_many_accounts_are_retrieved_in_batches_and_a_failure_says_what_was_done(self, net, where):
        wallet = net.new_wallet()
        broker = Broker(**where, private_key=wallet.private_key, store=Store("memory:"))
        broker.deposit(og("60"))
        contract_ledger = net.ledger
        from zg_core.localnet.chain.abi import ledger

        many = [checksum_address(f"0x{0xBEEF00 + n:040x}") for n in range(PROVIDERS_PER_BATCH + 1)]
        for each in many:  # the contract does not ask whether there is a service
            data = ledger().encode("transferFund", each, "inference-v1.0", 10**18)
            net.chain.send(wallet.private_key, to=contract_ledger, data=data)
        results = broker.retrieve()
        assert [len(result.events) for result in results] == [20, 1]
        assert all(account.usable == og("0") for account in broker.accounts())
        for each in many:
            data = ledger().encode("transferFund", each, "inference-v1.0", 10**18)
            net.chain.send(wallet.private_key, to=contract_ledger, data=data)

        def break_off(step: Progress) -> None:
            if step.name == "mined":  # the wallet is emptied between the batches
                net.chain.set_balance(wallet.address, 0)

        failing = Broker(**where, private_key=wallet.private_key, store=Store("memory:"), on_progress=break_off)
        with pytest.raises(InsufficientFunds) as caught:
            failing.retrieve()
        assert "batch 2 of 2" in str(caught.value)
        (done,) = caught.value.details["done"]
        assert done.hash in str(caught.value)
        assert [len(batch) for batch in caught.value.details["left"]] == [1]

    def test_a_race_that_the_checks_cannot_see_is_decoded(self, funded, target, net):
        # The checks say yes, and another program empties the ledger before the preflight.
        core = funded.core
        send = core.sender.send

        async def late(*arguments: Any) -> Any:
            key = "0x" + core.sender.wallet._secret.reveal()
            from zg_core.localnet.chain.abi import ledger

            net.chain.send(key, to=net.ledger, data=ledger().encode("refund", 10 * 10**18))
            return await send(*arguments)

        core.sender.send = late
        with pytest.raises(TransactionReverted) as caught:
            funded.transfer(target, og("2"))
        assert caught.value.name == "LedgerNotExists"


class TestSharing:
    def test_threads_move_money_with_one_broker(self, net, where, target):
        with Broker(**where, private_key=net.new_wallet().private_key, store=Store("memory:")) as broker:
            broker.deposit(og("20"))
            broker.transfer(target, og("1"))
            with ThreadPoolExecutor(8) as pool:
                results = list(pool.map(lambda _: broker.transfer(target, og("0.5")), range(16)))
            assert sorted(result.nonce for result in results) == list(range(2, 18))
            assert broker.account(target).balance == og("9")

    def test_two_brokers_of_one_process_share_their_nonces_by_default(self, net, where, target):
        key = net.new_wallet().private_key
        brokers = [Broker(**where, private_key=key) for _ in range(2)]
        brokers[0].deposit(og("9"))
        started = threading.Barrier(2)

        def work(broker: Broker) -> list[int]:
            started.wait()
            return [broker.deposit(neuron(1)).nonce for _ in range(4)]

        with ThreadPoolExecutor(2) as pool:
            nonces = [nonce for part in pool.map(work, brokers) for nonce in part]
        assert sorted(nonces) == list(range(1, 9))

    def test_tasks_of_one_event_loop_do_not_hold_each_other_up(self, net, where, target):
        async def work() -> list[int]:
            async with AsyncBroker(**where, private_key=net.new_wallet().private_key) as broker:
                await broker.deposit(og("20"))
                results = await asyncio.gather(*[broker.deposit(neuron(1)) for _ in range(8)])
                return sorted(result.nonce for result in results)

        assert asyncio.run(work()) == list(range(1, 9))

    def test_a_broker_shows_no_key_and_is_not_pickled(self, broker, where, net):
        wallet = net.new_wallet()
        one = Broker(**where, wallet=Wallet.from_key(wallet.private_key))
        assert wallet.private_key[2:] not in repr(one) + repr(vars(one)) + repr(vars(one.core))
        with pytest.raises(TypeError, match="same store"):
            pickle.dumps(one)


def test_every_method_has_a_twin_that_takes_the_same():
    def methods(kind: type) -> dict[str, Any]:
        return {name: one for name, one in inspect.getmembers(kind, callable) if not name.startswith("_")}

    def shape(one: Any) -> list[tuple[Any, ...]]:
        return [(each.name, each.kind, each.default) for each in inspect.signature(one).parameters.values()]

    blocking, asynchronous = methods(Broker), methods(AsyncBroker)
    asked = "services service ledger account accounts add_ledger deposit deposit_for transfer acknowledge retrieve"
    assert {*asked.split(), "refund", "delete_ledger", "lock_time", "settlements", "read_only"} <= set(blocking)
    assert set(blocking) == set(asynchronous)
    for name, one in blocking.items():
        assert shape(one) == shape(asynchronous[name]), name
        assert asyncio.iscoroutinefunction(asynchronous[name]) or name == "read_only", name
