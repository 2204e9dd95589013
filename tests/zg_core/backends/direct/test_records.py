"""Young records: what an operator changes between two calls is seen by the second, both ways of calling."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.patience import PATIENCE, until
from tests.zg_core.conftest import CALM
from zg_core import AsyncChatClient, Budget, ChatClient, ConfigError, VerificationUnavailable, og
from zg_core.backends.direct import records
from zg_core.backends.direct.records import check_age
from zg_core.backends.direct.services import DirectRoute
from zg_core.calls.closing import RECORD_CHANGED
from zg_core.errors import BudgetExceeded, ChainError, ZeroGError
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.verify import Reason, Status

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 20}


@pytest.fixture
def given(
    net: LocalNet, options: dict[str, Any], provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    # Tests before these may have moved the clock of the network that all share, which only goes forward.
    monkeypatch.setattr(records, "_SLACK", records._SLACK + net.clock.offset)
    snapshot = net.snapshot()
    yield {**options, "provider": provider.address}
    net.revert(snapshot)


@pytest.fixture
def changing() -> Iterator[tuple[LocalNet, dict[str, Any], LocalProvider]]:
    """A network whose clock may be moved."""
    with LocalNet(providers=1, settings=CALM) as network:
        provider = network.providers[0]
        network.open_account(network.wallet, provider)
        where = {"network": "local", "rpc_url": network.rpc_url, "private_key": network.wallet.private_key}
        yield network, {**where, "provider": provider.address, "environ": {}, "verify": "off"}, provider


def reads(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that the node is asked from now on."""
    asked: list[str] = []
    answer = net.chain.rpc
    monkeypatch.setattr(net.chain, "rpc", lambda method, params: asked.append(method) or answer(method, params))
    return asked


class TestReads:
    def test_frequent_calls_read_nothing_and_rare_ones_once(self, net, given, monkeypatch):
        with ChatClient(**given, verify="require", record_age=60) as client:
            client.create(QUESTION)
            asked = reads(net, monkeypatch)
            for _ in range(3):
                client.create(QUESTION)
            assert asked == []
            client.backend._records.age = 0.0
            assert client.create(QUESTION).receipt.verdict.record_age == 0
            assert asked == ["eth_blockNumber", "eth_call"]

    def test_calls_that_wait_for_a_read_share_it(self, net, given, monkeypatch):
        with ChatClient(**given, verify="off", record_age=0) as client:
            client.token()
            asked = reads(net, monkeypatch)
            records, moment = client.backend._records, 0.0

            def young(_: int) -> Any:
                from zg_core.http.transport import run

                return run(records.young(given["provider"], moment))

            client.backend._chain.forget(given["provider"])
            with ThreadPoolExecutor(8) as pool:
                assert len(set(pool.map(young, range(8)))) == 1
        assert asked.count("eth_call") == 1

    @pytest.mark.parametrize("age", [-1, True, "10", float("nan"), float("inf"), 1e300])
    def test_an_age_that_is_none_is_refused(self, age):
        with pytest.raises(ConfigError) as caught:
            check_age(age)
        assert caught.value.code == "bad_record_age"


class TestPrice:
    @pytest.mark.parametrize("verify", ["off", "background", "warn", "require"])
    def test_a_new_price_is_what_the_next_call_costs(self, caller, given, provider, verify):
        caller.call({**given, "verify": verify}, QUESTION)
        provider.set_price(provider.prices[0] * 3, provider.prices[1] * 3)
        receipt = caller.call({**given, "verify": verify}, QUESTION).receipt
        receipt.resolve(PATIENCE)
        entry = next(one for one in provider.log if one.chat_id == receipt.chat_id)
        assert (receipt.fee.amount.units, receipt.fee.exact) == (entry.fee, True)

    def test_one_that_came_between_two_reads_corrects_the_receipt_and_says_so(self, given, provider):
        corrected: dict[str, threading.Event] = defaultdict(threading.Event)

        with ChatClient(**given, record_age=60, on_verdict=lambda receipt: corrected[receipt.id].set()) as client:
            client.create(QUESTION)
            provider.set_price(provider.prices[0] * 3, provider.prices[1] * 3)
            doubtful = client.create(QUESTION).receipt
            billed = next(one.fee for one in provider.log if one.chat_id == doubtful.chat_id)
            assert (doubtful.fee.exact, RECORD_CHANGED in doubtful.flags) == (True, False)
            client.backend._records.age = 0.0
            client.create(QUESTION)
            assert corrected[doubtful.id].wait(PATIENCE)  # by the read beside that call
            assert RECORD_CHANGED in doubtful.flags
            assert (doubtful.fee.exact, doubtful.fee.reason) == (False, "price_changed")
            assert doubtful.fee.lower <= billed <= (doubtful.fee.upper or 0)

    def test_one_that_another_call_has_read_meanwhile_corrects_at_once(self, given, provider, monkeypatch):
        with ChatClient(**given, record_age=60) as client:
            client.create(QUESTION)
            settled = DirectRoute.settled

            async def overtaken(self: DirectRoute, *, patient: bool) -> DirectRoute:
                found = await settled(self, patient=patient)
                await client.backend._chain.service(given["provider"], fresh=True)
                return found

            monkeypatch.setattr(DirectRoute, "settled", overtaken)
            provider.set_price(provider.prices[0] * 3, provider.prices[1] * 3)
            receipt = client.create(QUESTION).receipt
            billed = next(one.fee for one in provider.log if one.chat_id == receipt.chat_id)
            assert (receipt.fee.exact, receipt.fee.reason, receipt.flags) == (False, "price_changed", (RECORD_CHANGED,))
            assert receipt.fee.lower <= billed <= (receipt.fee.upper or 0)

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_one_that_was_taken_back_before_the_next_read_corrects_it_too(self, changing, loop):
        """Both reads show the same price: what was in force in between stands in the chain's events."""
        net, settings, provider = changing
        honest = provider.prices
        corrected: dict[str, threading.Event] = defaultdict(threading.Event)
        settings |= {"record_age": 60, "on_verdict": lambda told: corrected[told.id].set()}

        def raised() -> None:
            assert len(provider.log) == 1, "the first is billed"
            provider.set_price(honest[0] * 3, honest[1] * 3)

        def back() -> None:
            assert len(provider.log) == 2, "both are billed"
            net.clock.advance(60)  # long after the call, and that is all that the record shows
            provider.set_price(*honest)

        async def twice() -> Any:
            async with AsyncChatClient(**settings) as client:
                await client.create(QUESTION)
                raised()
                receipt = (await client.create(QUESTION)).receipt
                back()
                client.backend._chain.forget(settings["provider"])
                await client.service()
                assert await asyncio.to_thread(corrected[receipt.id].wait, PATIENCE)
                return receipt

        if loop:
            receipt = asyncio.run(twice())
        else:
            with ChatClient(**settings) as client:
                client.create(QUESTION)
                raised()
                receipt = client.create(QUESTION).receipt
                back()
                client.backend._chain.forget(settings["provider"])
                client.service()
                assert corrected[receipt.id].wait(PATIENCE)
        billed = next(one.fee for one in provider.log if one.chat_id == receipt.chat_id)
        assert (receipt.fee.exact, receipt.fee.reason, receipt.flags) == (False, "price_changed", (RECORD_CHANGED,))
        assert receipt.fee.lower <= billed == receipt.fee.upper

    @pytest.mark.parametrize("form", ["junk", "empty"])
    def test_where_the_events_are_not_shown_nobody_can_tell_what_was_in_force(self, changing, monkeypatch, form):
        net, settings, provider = changing
        honest = provider.prices
        corrected: dict[str, threading.Event] = defaultdict(threading.Event)
        settings |= {"record_age": 60, "on_verdict": lambda told: corrected[told.id].set()}
        with ChatClient(**settings) as client:
            receipt = client.create(QUESTION).receipt
            assert receipt.fee.exact
            cost = receipt.fee.amount.units
            net.clock.advance(60)
            provider.set_price(*honest)
            if form == "junk":
                net.node_fault("junk", method="eth_getLogs", times=None)
            else:
                true = net.chain.rpc
                hide = {"eth_getLogs": list}
                monkeypatch.setattr(net.chain, "rpc", lambda m, p=(): hide[m]() if m in hide else true(m, p))
            client.backend._chain.forget(settings["provider"])
            client.service()
            assert corrected[receipt.id].wait(PATIENCE)
            net.clear_node_faults()
        assert (receipt.fee.exact, receipt.fee.reason, receipt.fee.lower) == (False, "price_changed", 0)
        assert receipt.fee.upper > cost  # at the prices that are known; what is settled beyond, the audit finds
        assert receipt.flags == (RECORD_CHANGED,)

    def test_a_record_that_is_written_again_as_it_was_corrects_nothing(self, given, provider):
        with ChatClient(**given, record_age=60) as client:
            receipt = client.create(QUESTION).receipt
            looked: list[Any] = []
            between = client.backend._records._between

            async def watched(*asked: Any) -> None:
                await between(*asked)
                looked.append(asked)

            client.backend._records._between = watched
            provider.set_price(*provider.prices)
            client.backend._chain.forget(given["provider"])
            client.service()
            until(lambda: looked)
            assert (receipt.fee.exact, receipt.flags) == (True, ())

    @pytest.mark.parametrize(
        ("fault", "status", "outcome"),
        [("cut_before_first_byte", None, "unknown"), ("refused_after_service", 503, "refused")],
    )
    def test_what_was_not_answered_is_bounded_by_the_new_one(self, given, provider, fault, status, outcome):
        options = {} if status is None else {"status": status}
        budget = Budget(per_run=og("1"))
        with ChatClient(**given, record_age=60, max_retries=0, budget=budget) as client:
            assert client.spending is not None
            client.create(QUESTION)
            client.backend._records.age = 0.0
            client.service()  # nothing rests on an earlier one
            client.backend._records.age = 60.0
            assert provider.log, "what was asked is billed"
            provider.set_price(provider.prices[0] * 30, provider.prices[1] * 30)
            with provider.fault(fault, **options), pytest.raises(ZeroGError) as caught:
                client.create(QUESTION)
            receipt, billed = caught.value.receipt, provider.log[-1].fee
            assert (receipt.outcome, receipt.fee.upper < billed) == (outcome, True), "the old price bounds nothing"
            before = client.spending.left(receipt.payer, receipt.provider)["per_run"]
            old = receipt.fee.upper
            client.backend._records.age = 0.0
            client.service()
            assert RECORD_CHANGED in receipt.flags
            assert billed <= receipt.fee.upper
            counted = before.units - client.spending.left(receipt.payer, receipt.provider)["per_run"].units
            assert counted == (receipt.fee.upper - old if outcome == "unknown" else 0)
            held = [each.upper.units for each in client.spending.held() if each.receipt == receipt.id]
            assert held == ([receipt.fee.upper] if outcome == "unknown" else [])

    def test_a_budget_waits_for_the_new_one(self, caller, given, provider):
        budget = Budget(per_run=og("0.01"), per_call=og("0.001"))
        served = len(provider.log)
        with ChatClient(**given, budget=budget) as client:
            client.create(QUESTION)
            provider.set_price(provider.prices[0] * 10_000, provider.prices[1] * 10_000)
            with pytest.raises(BudgetExceeded):
                client.create(QUESTION)
        assert len(provider.log) == served + 1


class TestKey:
    def test_one_that_is_taken_back_within_the_age_is_taken_back_in_the_receipt(self, given, provider):
        with ChatClient(**given, verify="require", record_age=60) as client:
            receipt = client.create(QUESTION).receipt
            assert receipt.verdict.status is Status.VERIFIED
            provider.revoke_acknowledgement()
            client.backend._chain.forget(given["provider"])
            client.service()
            assert (receipt.verdict.status, receipt.verdict.reason) == (Status.UNAVAILABLE, Reason.RECORD_CHANGED)
            assert RECORD_CHANGED in receipt.flags


class TestChainDown:
    def down(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        async def batch(*_: Any) -> Any:
            raise ChainError("down", code="rpc_unavailable", retryable=True)

        monkeypatch.setattr(client.backend._chain.rpc, "batch", batch)

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_nothing_is_proven_and_the_answer_is_not_lost(self, given, monkeypatch, loop):
        settings = {**given, "verify": "require", "max_retries": 1}
        with pytest.raises(VerificationUnavailable) as caught:
            if loop:

                async def once() -> None:
                    async with AsyncChatClient(**settings) as client:
                        await client.create(QUESTION)
                        self.down(client, monkeypatch)
                        await client.create(QUESTION)

                asyncio.run(once())
            else:
                with ChatClient(**settings) as client:
                    client.create(QUESTION)
                    self.down(client, monkeypatch)
                    client.create(QUESTION)
        assert caught.value.receipt.verdict.reason is Reason.RECORD_UNREADABLE
        assert "Paris" in caught.value.text

    def test_a_fee_is_not_exact(self, given, monkeypatch):
        with ChatClient(**given, verify="off") as client:
            client.create(QUESTION)
            self.down(client, monkeypatch)
            fee = client.create(QUESTION).receipt.fee
        assert (fee.exact, fee.reason) == (False, "old_record")
        assert fee.upper is not None
        assert fee.upper >= fee.amount.units
