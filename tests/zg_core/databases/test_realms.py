"""Budgets and paces by realm: what an older store has counted still counts, and ids of any network have room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from zg_core import Amount, Budget, BudgetExceeded, ConfigError, Store, neuron
from zg_core import store as module
from zg_core.backends.service import LONGEST_ID, Service
from zg_core.budget import Spending
from zg_core.calls.limits import Limits
from zg_core.calls.pace import StoredPace
from zg_core.money import Fee
from zg_core.pricing import Tariff
from zg_core.receipts.model import Receipt
from zg_core.types import Kind

PAYER, PROVIDER = "0x" + "cd" * 20, "0x" + "ab" * 20
LONG = "0x" + "7e" * ((LONGEST_ID - 2) // 2)
BEFORE = 9
"""Migrations of the schema that counted by the number of a chain."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.requires("postgres"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for a store with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = Store(request.getfixturevalue("postgres"))
    with server.transaction() as work:
        work.run("DROP SCHEMA IF EXISTS realms CASCADE")
        work.run("CREATE SCHEMA realms")
    yield f"{server.url}?options=-csearch_path%3Drealms"
    server.close()


def older(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill a store of the schema before: 60 neuron spent of a wallet, 25 of them held, and a pace that is used up."""
    with monkeypatch.context() as patched:
        patched.setattr(module, "MIGRATIONS", module.MIGRATIONS[:BEFORE])
        store = Store(url)
        wallet = f"wallet:31337:{PAYER.lower()}"
        with store.transaction() as work:
            work.run("INSERT INTO budget_totals VALUES (:scope, '60')", scope=wallet)
            work.run(
                "INSERT INTO budget_holds VALUES ('held', 31337, :payer, :provider, 'unknown', '25', :scopes, 'x', 1)",
                payer=PAYER,
                provider=PROVIDER,
                scopes=json.dumps([wallet]),
            )
            work.run(
                "INSERT INTO paces VALUES (31337, :payer, :provider, 1, 99, 0, 6, 0, 0)",
                payer=PAYER.lower(),
                provider=PROVIDER.lower(),
            )
        store.close()


def test_what_was_counted_by_chain_still_counts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    older(url, monkeypatch)
    store = Store(url)
    spending = Spending(Budget(per_wallet=neuron(100)), store, "eip155:31337")
    assert spending.left(PAYER, PROVIDER)["per_wallet"] == neuron(40)
    (held,) = spending.held()
    assert (held.receipt, held.payer, held.provider, held.upper) == ("held", PAYER, PROVIDER, neuron(25))
    spending._settle("held", 0, known=True)
    assert spending.left(PAYER, PROVIDER)["per_wallet"] == neuron(65)
    assert Spending(Budget(per_wallet=neuron(100)), store, "eip155:1").left(PAYER, PROVIDER)["per_wallet"].units == 100
    pace = StoredPace(store, "eip155:31337", PAYER, PROVIDER, clock=lambda: 99.0)
    assert pace.take(Limits(per_minute=6, burst=1)).wait > 1
    assert StoredPace(store, "eip155:1", PAYER, PROVIDER, clock=lambda: 99.0).take(Limits(6, 1)).wait == 0
    store.close()


def receipt(currency: str, payer: str = LONG) -> Receipt:
    fee = Fee(Amount(0, currency), exact=False, reason="outcome_unknown")
    return Receipt("other", "net", 0, LONG, "m", Kind.TEE_ML, "", 0, 0, fee, payer=payer, realm="other:net")


def service(currency: str) -> Service:
    tariff = Tariff(0, 1, currency=currency)
    return Service(LONG, "m", "chat", "https://p", Kind.TEE_ML, tariff, currency=currency)


REQUEST = b'{"max_tokens": 60}'


@pytest.mark.parametrize("currency", ["OPG", "USD", "0G"])
def test_a_realm_that_is_no_chain_and_ids_of_any_network_are_counted_in_their_currency(url: str, currency: str) -> None:
    store = Store(url)
    budget = Budget(per_wallet=Amount(100, currency), per_provider=Amount(100, currency), per_day=Amount(100, currency))
    spending = Spending(budget, store, "other:net")
    first = receipt(currency)
    assert spending.reserve(first, service(currency), REQUEST) == 60
    assert [each.upper for each in spending.held()] == [Amount(60, currency)]
    with pytest.raises(BudgetExceeded) as caught:
        spending.reserve(receipt(currency), service(currency), REQUEST)
    assert (caught.value.details["asked"], caught.value.details["left"]) == (Amount(60, currency), Amount(40, currency))
    first.fee = Fee(Amount(10, currency), exact=True)
    spending.settle(first)
    assert spending.left(LONG, LONG)["per_wallet"] == Amount(90, currency)
    assert spending.spent(LONG, LONG).amounts["per_provider"] == Amount(10, currency)
    assert StoredPace(store, "other:net", LONG, LONG).take(Limits()).wait == 0
    store.close()


def test_currencies_of_one_wallet_are_never_added_up(url: str) -> None:
    store = Store(url)
    for currency in ("OPG", "USD"):
        spending = Spending(Budget(per_wallet=Amount(100, currency)), store, "other:net")
        assert spending.reserve(receipt(currency), service(currency), REQUEST) == 60
    store.close()


def test_what_is_billed_in_another_currency_is_refused_with_the_budget_to_give(url: str) -> None:
    store = Store(url)
    spending = Spending(Budget(per_wallet=neuron(100)), store, "other:net")
    with pytest.raises(ConfigError) as caught:
        spending.reserve(receipt("OPG"), service("OPG"), REQUEST)
    assert caught.value.code == "budget_unpriced"
    assert 'usd=Amount("20", "OPG")' in caught.value.hint
    store.close()


def test_what_it_is_paid_with_bounds_a_call(url: str) -> None:
    store = Store(url)
    spending = Spending(Budget(per_wallet=Amount(100, "OPG")), store, "other:net")
    assert spending.reserve(receipt("OPG"), service("USD"), REQUEST, Amount(70, "OPG")) == 70
    store.close()
