"""Budgets: refused before anything is sent, never exceeded by many at once, and what is lost is never free."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import PATIENCE
from tests.processes import together
from zg_core import Budget, BudgetExceeded, ChatClient, ConfigError, OutcomeUnknown, RateLimited, Store, neuron, og
from zg_core.backends.base import Service
from zg_core.backends.direct.audit.noted import Noted
from zg_core.backends.direct.services import DirectRoute
from zg_core.budget import Spending
from zg_core.config import NETWORKS
from zg_core.localnet import Fault
from zg_core.money import Amount, Fee
from zg_core.pricing import Tariff, estimate
from zg_core.receipts.model import Receipt
from zg_core.types import Kind
from zg_core.types import ServiceRecord as Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PROVIDER, PAYER = "0x" + "ab" * 20, "0x" + "cd" * 20
RECORD = Record(PROVIDER, "chatbot", "https://p", 0, 1, 0, "m", "TeeML", "{}", PROVIDER, True)


def service_of(info: str = "{}", tariff: Tariff | None = None) -> Service:
    service = DirectRoute.to(replace(RECORD, additional_info=info), "m", NETWORKS["local"]).service
    return service if tariff is None else replace(service, tariff=tariff)


SERVICE = service_of()
REQUEST = b'{"max_tokens": 100}'  # costs at most 100 neuron
QUESTION = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 50}


def receipt(fee: Fee | None = None, provider: str = PROVIDER) -> Receipt:
    unknown = Fee(Amount(0), exact=False, reason="outcome_unknown")
    return Receipt("direct", "local", 31337, provider, "m", Kind.TEE_ML, "11" * 32, 0, 1, fee or unknown, payer=PAYER)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.requires("postgres"))])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    urls = {"memory": lambda: "memory:", "sqlite": lambda: f"sqlite:///{tmp_path}/store.db"}
    opened = Store(urls.get(request.param, lambda: request.getfixturevalue("postgres"))())
    with opened.transaction() as work:
        work.run("DELETE FROM budget_totals")
        work.run("DELETE FROM budget_holds")
    yield opened
    opened.close()


class TestBudget:
    @pytest.mark.parametrize(
        "limits",
        [
            {},
            {"unpriced": og("1")},
            {"per_call": og("0")},
            {"per_day": Amount("1", "USD"), "per_run": og("1")},
            {"per_run": 1},
            {"per_run": og("1"), "completion_tokens": 0},
            {"per_run": og("1"), "run": ""},
        ],
    )
    def test_what_limits_nothing_is_refused(self, limits: dict[str, Any]) -> None:
        with pytest.raises(ConfigError) as caught:
            Budget(**limits)
        assert caught.value.code == "bad_budget"

    def test_a_day_needs_a_store_that_lasts(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Spending(Budget(per_day=og("1")), Store("memory:"), 1)
        assert caught.value.code == "budget_needs_store"


class TestSpending:
    @pytest.mark.parametrize("limit", ["per_call", "per_run", "per_provider", "per_wallet"])
    def test_more_than_is_left_is_refused_and_holds_nothing(self, store: Store, limit: str) -> None:
        spending = Spending(Budget(**{limit: neuron(99)}), store, 1)
        with pytest.raises(BudgetExceeded) as caught:
            spending.reserve(receipt(), SERVICE, REQUEST)
        details = caught.value.details
        assert (details["limit"], details["asked"], details["left"]) == (limit, neuron(100), neuron(99))
        assert details["until"] is None
        assert spending.held() == []

    def test_a_day_ends_at_midnight(self, tmp_path: Path) -> None:
        store = Store(f"sqlite:///{tmp_path}/store.db")
        spending = Spending(Budget(per_day=neuron(150)), store, 1)
        spending.reserve(receipt(), SERVICE, REQUEST)
        with pytest.raises(BudgetExceeded) as caught:
            spending.reserve(receipt(), SERVICE, REQUEST)
        until = caught.value.details["until"]
        assert until > datetime.now(UTC)
        assert (until.hour, until.minute, until.second) == (0, 0, 0)
        store.close()

    def test_what_a_call_did_not_cost_is_given_back(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(150)), store, 1)
        call = receipt()
        spending.reserve(call, SERVICE, REQUEST)
        assert [(h.receipt, h.state, h.upper) for h in spending.held()] == [(call.id, "open", neuron(100))]
        call.fee = Fee(Amount(30), exact=True)
        spending.settle(call)
        spending.settle(call)
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(120)}
        assert spending.held() == []

    def test_what_is_not_known_stays_held(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(150)), store, 1)
        call = receipt()
        spending.reserve(call, SERVICE, REQUEST)
        spending.settle(call)
        assert [(h.state, h.upper) for h in spending.held()] == [("unknown", neuron(100))]
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(50)}

    def test_what_was_refused_is_free(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(100)), store, 1)
        for _ in range(3):
            call = receipt()
            spending.reserve(call, SERVICE, REQUEST)
            spending.release(call)
            spending.release(call)
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(100)}

    def test_each_provider_has_its_own_share(self, store: Store) -> None:
        spending = Spending(Budget(per_provider=neuron(100), per_wallet=neuron(150)), store, 1)
        spending.reserve(receipt(), SERVICE, REQUEST)
        with pytest.raises(BudgetExceeded, match="per_wallet"):
            spending.reserve(receipt(provider="0x" + "11" * 20), SERVICE, REQUEST)
        with pytest.raises(BudgetExceeded, match="per_provider"):
            spending.reserve(receipt(), SERVICE, REQUEST)

    @pytest.mark.parametrize("info", ['{"priceDenomination":"USD"}', '{"MultiModel":true}'])
    def test_a_price_that_is_not_known_needs_a_word(self, store: Store, info: str) -> None:
        service = service_of(info)
        with pytest.raises(ConfigError) as caught:
            Spending(Budget(per_run=og("1")), store, 1).reserve(receipt(), service, REQUEST)
        assert caught.value.code == "budget_unpriced"
        spending = Spending(Budget(per_run=og("1"), unpriced=og("0.6")), store, 1)
        spending.reserve(receipt(), service, REQUEST)
        with pytest.raises(BudgetExceeded):
            spending.reserve(receipt(), service, REQUEST)

    def test_a_list_that_says_nothing_costs_what_the_user_says(self, store: Store) -> None:
        free, dear = Tariff(0, 0, listed=True), Tariff(0, 10, listed=True)
        spending = Spending(Budget(per_run=og("1"), unpriced=neuron(500)), store, 1)
        assert spending.reserve(receipt(), service_of(tariff=free), REQUEST) == 500
        assert spending.reserve(receipt(), service_of(tariff=dear), REQUEST) == 1000

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n", "best_of"])
    @pytest.mark.parametrize(
        "value", [20.0, "20", -1, True, [20], {"a": 1}, 10**30, 10**4200, 1e30], ids=lambda value: str(value)[:12]
    )
    def test_a_bound_that_is_no_count_is_refused(self, store: Store, name: str, value: object) -> None:
        spending = Spending(Budget(per_run=og("1"), unpriced=og("0.1")), store, 1)
        request = json.dumps({"max_tokens": 10, name: value}).encode()
        with pytest.raises(ConfigError) as caught:
            spending.reserve(receipt(), SERVICE, request)
        assert caught.value.code == "budget_unbounded"
        assert name in caught.value.hint
        assert spending.held() == []

    def test_answers_that_are_made_and_not_given_count(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(400)), store, 1)
        assert spending.reserve(receipt(), SERVICE, b'{"max_tokens":100,"n":1,"best_of":4}') == 400

    def test_a_fee_beyond_all_money_fits_into_the_store(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(150)), store, 1)
        call = receipt()
        spending.reserve(call, SERVICE, REQUEST)
        call.fee = Fee(Amount(10**200), exact=True)
        spending.settle(call)
        with pytest.raises(BudgetExceeded) as caught:
            spending.reserve(receipt(), SERVICE, REQUEST)
        assert caught.value.details["left"] == neuron(0)

    def test_a_fee_that_is_corrected_counts_by_the_difference(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(150), per_wallet=neuron(200)), store, 1)
        call = receipt()
        spending.reserve(call, SERVICE, REQUEST)
        call.fee = before = Fee(Amount(30), exact=True)
        spending.settle(call)
        call.fee = Fee(Amount(90), exact=False, reason="price_changed", lower=30, upper=90)
        spending.recount(call, before)
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(60), "per_wallet": neuron(110)}
        assert [(each.state, each.upper) for each in spending.held()] == [("unknown", neuron(90))]
        spending.release_held(call.id, neuron(30))
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(120), "per_wallet": neuron(170)}

    def test_a_bound_that_is_corrected_is_held_as_corrected(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(150)), store, 1)
        call = receipt()
        spending.reserve(call, SERVICE, REQUEST)
        before = Fee(Amount(0), exact=False, reason="outcome_unknown", upper=50)
        spending.settle(call, before)
        spending.recount(call, before, replace(before, upper=90))
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(60)}
        assert [each.upper for each in spending.held()] == [neuron(90)]
        spending.release_held(call.id, neuron(10))
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(140)}

    def test_200_at_once_never_exceed(self, store: Store) -> None:
        spending = Spending(Budget(per_run=neuron(2050)), store, 1)

        def call(_: int) -> bool:
            try:
                spending.reserve(receipt(), SERVICE, REQUEST)
            except BudgetExceeded:
                return False
            return True

        with ThreadPoolExecutor(32) as pool:
            assert sum(pool.map(call, range(200))) == 20
        assert spending.left(PAYER, PROVIDER) == {"per_run": neuron(50)}


WORKER = """
import sys
from tests.zg_core.test_budget import PAYER, PROVIDER, REQUEST, SERVICE, receipt
from zg_core import Budget, BudgetExceeded, Store, neuron
from zg_core.backends.base import Service
from zg_core.backends.direct.services import DirectRoute
from zg_core.budget import Spending
from zg_core.config import NETWORKS

spending = Spending(Budget(per_wallet=neuron(2050)), Store(sys.argv[1]), 1)
served = 0
for _ in range(25):
    try:
        spending.reserve(receipt(), SERVICE, REQUEST)
        served += 1
    except BudgetExceeded:
        pass
print(served, flush=True)
"""
KILLED = (
    WORKER.partition("served")[0]
    + "spending.reserve(receipt(), SERVICE, REQUEST)\nimport os\nos.kill(os.getpid(), 9)\n"
)


class TestProcesses:
    def test_8_processes_never_exceed(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/store.db"
        served = list(map(int, together(8, WORKER, url, preload=("sqlalchemy.dialects.sqlite",))))
        assert sum(served) == 20, served
        store = Store(url)
        assert Spending(Budget(per_wallet=neuron(2050)), store, 1).left(PAYER, PROVIDER) == {"per_wallet": neuron(50)}
        store.close()

    @pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
    def test_a_process_killed_in_mid_call_leaves_an_unknown(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/store.db"
        assert subprocess.run([sys.executable, "-c", KILLED, url], cwd=ROOT, check=False).returncode == -9
        store = Store(url)
        spending = Spending(Budget(per_wallet=neuron(2050)), store, 1)
        assert [(h.state, h.upper) for h in spending.held()] == [("unknown", neuron(100))]
        assert spending.left(PAYER, PROVIDER) == {"per_wallet": neuron(1950)}
        store.close()


class TestCalls:
    """With a provider that bills."""

    @pytest.fixture
    def mine(self, options, provider, tmp_path) -> dict[str, Any]:
        store = f"sqlite:///{tmp_path}/store.db"
        return {**options, "provider": provider.address, "max_retries": 0, "store": store}

    def test_nothing_is_sent_beyond_it(self, caller, mine, provider) -> None:
        before = len(provider.log)
        with pytest.raises(BudgetExceeded):
            caller.call({**mine, "budget": Budget(per_call=neuron(1))}, QUESTION)
        assert len(provider.log) == before

    def test_what_is_counted_is_what_the_provider_bills(self, caller, mine, provider) -> None:
        budget = Budget(per_day=og("1"))
        answered = caller.call({**mine, "budget": budget}, QUESTION)
        with ChatClient(**mine, budget=budget) as client:
            left = client.spending.left(answered.receipt.payer, provider.address)
            assert left == {"per_day": neuron(10**18 - provider.log[-1].fee)}
            assert client.spending.held() == []

    @pytest.mark.parametrize(
        ("fault", "error", "states"),
        [(Fault.RATE_LIMITED, RateLimited, []), (Fault.CUT_BEFORE_FIRST_BYTE, OutcomeUnknown, ["unknown"])],
    )
    def test_a_refusal_is_free_and_a_lost_answer_is_not(self, caller, mine, provider, fault, error, states) -> None:
        budget = Budget(per_run=og("1"))
        provider.fault(fault, times=None)
        with pytest.raises(error):
            caller.call({**mine, "budget": budget}, QUESTION)
        with ChatClient(**mine, budget=budget) as client:
            assert [h.state for h in client.spending.held()] == states

    def test_the_estimate_bounds_the_bill(self, caller, mine, provider) -> None:
        answered = caller.call(mine, QUESTION)
        service = answered.receipt.service
        assert estimate(service, QUESTION) >= answered.receipt.fee.amount


class TestLocks:
    """Whoever counts takes what others count, too, in one order: none waits for another that waits for it."""

    def many(self, works: list[Callable[[], None]], times: int) -> None:
        start = threading.Barrier(len(works))

        def run(work: Callable[[], None]) -> None:
            start.wait(PATIENCE)
            for _ in range(times):
                work()

        with ThreadPoolExecutor(len(works)) as threads:
            for each in [threads.submit(run, work) for work in works]:
                each.result(PATIENCE)

    def test_budgets_that_share_some_counters_never_wait_for_each_other(self, store: Store) -> None:
        wallet, provider, times = og("1"), og("0.5"), 15
        budgets = [
            Budget(per_run=og("1"), per_wallet=wallet, run="z"),
            Budget(per_run=og("1"), per_wallet=wallet, run="a"),
            Budget(per_provider=provider, per_wallet=wallet),
            Budget(per_run=og("1"), per_provider=provider, run="m"),
        ]

        def work(budget: Budget) -> Callable[[], None]:
            counting = Spending(budget, store, 31337)  # each as in a process of its own

            def one() -> None:
                call = receipt(Fee(Amount(7), exact=True))
                counting.reserve(call, SERVICE, REQUEST)
                counting.settle(call)

            return one

        self.many([work(budget) for budget in budgets], times)
        left = [Spending(budget, store, 31337).left(PAYER, PROVIDER) for budget in budgets]
        assert left[2]["per_wallet"] == Amount(wallet.units - 3 * 7 * times)
        assert left[3]["per_provider"] == Amount(provider.units - 2 * 7 * times)
        assert [left[place]["per_run"] for place in (0, 1, 3)] == [Amount(og("1").units - 7 * times)] * 3
        assert Spending(budgets[0], store, 31337).held() == []

    def test_who_holds_and_who_compares_never_wait_for_each_other(self, store: Store) -> None:
        budget, times = Budget(per_run=og("1"), per_wallet=og("1"), run="r"), 40
        with store.transaction() as work:
            work.run("DELETE FROM referee")
        one, other = Spending(budget, store, 31337), Spending(budget, store, 31337)
        noted, block = Noted(other), iter(range(1, 1000))
        noted.see(PAYER, PROVIDER, 0.0, 0, 0)

        def hold() -> None:
            call = receipt()
            one.reserve(call, SERVICE, REQUEST)
            one.release(call)

        def compare() -> None:
            before = noted.seen(PAYER, PROVIDER)
            assert before is not None
            noted.compared(
                PAYER, PROVIDER, before=before, block=next(block), settled=1, charged=1, unsettled=1, covered=0,
                rolled=0.0, rolled_cover=0,
            )  # fmt: skip

        self.many([hold, compare], times)
        assert one.left(PAYER, PROVIDER)["per_wallet"] == Amount(og("1").units - times)
