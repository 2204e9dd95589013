"""What holds whatever users and providers do (0g-contracts C2.8)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.effort import tries
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.chain import Reverted
from zg_core.localnet.chain.genesis import SERVICE_NAME

OG = 10**18
TENTHS = OG // 10
LOCK = 86_400

users = st.sampled_from(["ann", "bob"])
providers = st.sampled_from(["pat", "quinn", "eve"])
amounts = st.one_of(st.integers(0, 80).map(lambda tenths: tenths * TENTHS), st.integers(0, 8 * OG))

steps = st.one_of(
    st.tuples(st.just("deposit"), users, amounts),
    st.tuples(st.just("transfer"), users, providers, amounts),
    st.tuples(st.just("transfer"), users, providers, amounts),
    st.tuples(st.just("retrieve"), users, st.lists(providers, max_size=3)),
    st.tuples(st.just("retrieve"), users, st.lists(providers, min_size=1, max_size=1)),
    st.tuples(st.just("refund"), users, amounts),
    st.tuples(st.just("withdraw"), users),
    st.tuples(st.just("settle"), providers, st.lists(st.tuples(users, amounts), min_size=1, max_size=3)),
    st.tuples(st.just("serve"), providers),
    st.tuples(st.just("leave"), providers),
    st.tuples(st.just("wait"), st.sampled_from([1, LOCK // 2, LOCK])),
)


class Town:
    """Two users and three providers, the third of whom is not known as one at first."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage
        self.nonce = 0
        for provider in (stage.pat, stage.quinn):
            stage.open_service(provider)
        for user in (stage.ann, stage.bob):
            stage.open_account(user, stage.pat, 8 * OG, deposit=40 * OG)

    def person(self, name: str) -> Any:
        return getattr(self.stage, name)

    def step(self, kind: str, *args: Any) -> None:
        """Take one step; refusals are part of life."""
        try:
            getattr(self, kind)(*args)
        except Reverted as error:
            name, _ = abi.inference().decode_error(error.data)
            if name in {"", "unknown", "Panic"}:
                pytest.fail(f"{kind}{args} was not refused but broke: {error}")

    def deposit(self, user: str, amount: int) -> None:
        self.stage.do_raw(self.person(user), "depositFund", value=amount)

    def transfer(self, user: str, provider: str, amount: int) -> None:
        self.stage.do_raw(self.person(user), "transferFund", self.person(provider).address, SERVICE_NAME, amount)

    def retrieve(self, user: str, names: list[str]) -> None:
        addresses = [self.person(name).address for name in names]
        self.stage.do_raw(self.person(user), "retrieveFund", addresses, SERVICE_NAME)

    def refund(self, user: str, amount: int) -> None:
        self.stage.do_raw(self.person(user), "refund", amount)

    def withdraw(self, user: str) -> None:
        available, _ = self.stage.purse(self.person(user))
        self.refund(user, available)

    def settle(self, provider: str, fees: list[tuple[str, int]]) -> None:
        items = []
        for user, fee in fees:
            self.nonce += 1
            items.append(self.stage.item(self.person(user), self.person(provider), fee, self.nonce))
        self.stage.do_raw(self.person(provider), "settleFeesWithTEE", items)

    def serve(self, provider: str) -> None:
        self.stage.open_service_raw(self.person(provider))

    def leave(self, provider: str) -> None:
        self.stage.do_raw(self.person(provider), "removeService")

    def wait(self, seconds: int) -> None:
        self.stage.later(seconds)

    def check(self) -> None:
        stage = self.stage
        ledgers, _ = stage.read("getAllLedgers", 0, 0)
        accounts, _ = stage.read("getAllAccounts", 0, 0)
        _, services = stage.read("getAllServices", 0, 1)
        balances = sum(account["balance"] for account in accounts)
        assert stage.chain.balance(stage.ledger.address) == sum(each["availableBalance"] for each in ledgers)
        assert stage.chain.balance(stage.inference.address) == balances + services * 100 * OG
        for ledger in ledgers:
            own = sum(account["balance"] for account in accounts if account["user"] == ledger["user"])
            assert ledger["totalBalance"] - ledger["availableBalance"] == own
        assert {account["user"] for account in accounts} <= {each["user"] for each in ledgers}
        for account in accounts:
            live = account["refunds"][: account["validRefundsLength"]]
            assert account["pendingRefund"] == sum(refund["amount"] for refund in live) <= account["balance"]
            assert [refund["index"] for refund in live] == list(range(len(live)))
            assert all(refund["amount"] > 0 and not refund["processed"] for refund in live)
            times = [refund["createdAt"] for refund in live]
            assert times == sorted(times), "oldest first"
            assert account["validRefundsLength"] <= 5


@pytest.fixture(scope="module")
def town(make_stage: Any) -> Town:
    return Town(make_stage())


@settings(
    max_examples=tries(20, 5),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(life=st.lists(steps, min_size=5, max_size=25))
def test_coins_are_where_the_books_say(town: Town, life: list[tuple[Any, ...]]) -> None:
    stage = town.stage
    snapshot, time = stage.chain.snapshot(), stage.clock.time
    try:
        for kind, *args in life:
            town.step(kind, *args)
            town.check()
    finally:
        stage.chain.revert(snapshot)
        stage.clock.time = time
