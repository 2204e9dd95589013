"""The Router's lists, account and keys, and receipts beside its book."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.zg_core.backends.router.conftest import Make
from zg_core import AsyncRouterAccount, RouterAccount, VerificationWarning
from zg_core.backends.router.statements import Balance, Funds
from zg_core.errors import ConfigError, RequestError, SessionRejected
from zg_core.localnet import LocalNet
from zg_core.localnet.router.faults import RouterFault
from zg_core.money import Amount

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Say: hello"}]}


@pytest.fixture
def account(net: LocalNet) -> Iterator[RouterAccount]:
    with RouterAccount(management_key=net.router.management_key, base_url=net.router.base_url, environ={}) as made:
        yield made


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerificationWarning)
        yield


def test_what_there_is_needs_no_key(net: LocalNet) -> None:
    with RouterAccount(base_url=net.router.base_url, environ={}) as anybody:
        assert "local-chat-1" in {row["id"] for row in anybody.models()}
        (row,) = anybody.providers(model="local-chat-2")
        assert row["trust_mode"] == "verified"
        assert anybody.service_types()["chatbot"] == 4
        with pytest.raises(ConfigError) as caught:
            anybody.balance()
    assert (caught.value.code, "ZEROG_ROUTER_MANAGEMENT_KEY" in caught.value.hint) == ("no_credential", True)


def test_an_inference_key_may_not_see_the_account(net: LocalNet) -> None:
    with pytest.raises(ConfigError) as caught:
        RouterAccount(management_key=net.router.api_key, base_url=net.router.base_url, environ={})
    assert caught.value.code == "wrong_key"
    assert net.router.api_key not in str(caught.value)


def test_balance_and_funds_are_whole_amounts(account: RouterAccount, net: LocalNet) -> None:
    net.router.set_balance(5 * 10**18, credit=10**18, vault=4 * 10**18)
    balance, funds = account.balance(), account.funds()
    assert (balance.total, balance.credit) == (Amount("6"), Amount("1"))
    assert (funds.vault, funds.available) == (Amount("4"), Amount("8"))


def test_a_scope_that_is_missing_is_said(net: LocalNet) -> None:
    key = net.router.new_key(manages=True, scopes=("keys:read",))
    with RouterAccount(management_key=key, base_url=net.router.base_url, environ={}) as narrow:
        assert narrow.api_keys()
        with pytest.raises(SessionRejected) as caught:
            narrow.balance()
    assert caught.value.code == "insufficient_scope"


def test_usage_is_read_page_by_page(account: RouterAccount, make: Make, net: LocalNet) -> None:
    client = make()
    ids = [client.create(ASK).receipt.evidence.facts["trace"]["request_id"] for _ in range(3)]
    assert [entry.request_id for entry in account.usage(limit=3)] == ids[::-1]
    entry = account.usage(limit=1)[0]
    assert entry.cost.units == int(net.router.history[-1]["cost"]) > 0
    assert (entry.model, entry.trust_mode) == ("local-chat-1", "private")


def test_keys_are_made_and_ended(account: RouterAccount, make: Make) -> None:
    made = account.create_key("for a test", trust_mode="private")
    assert made.key is not None
    assert made.key.reveal() not in repr(made)
    assert make(api_key=made.key.reveal()).create(ASK).text
    assert "for a test" in {record.name for record in account.api_keys()}
    assert all(record.key is None for record in account.api_keys())
    account.revoke_key(made.key_id)
    with pytest.raises(SessionRejected) as caught:
        make(api_key=made.key.reveal()).create(ASK)
    assert caught.value.code == "api_key_revoked"
    with pytest.raises(ConfigError):
        account.create_key("x", unknown=1)


def test_what_a_key_may_do_is_changed_and_the_rest_stays(account: RouterAccount, make: Make, net: LocalNet) -> None:
    made = account.create_key("to change", credit_limit="2", trust_mode="private")
    assert made.key is not None
    changed = account.update_key(made.key_id, name="changed", allowed_models=["local-chat-2"])
    assert (changed.name, changed.trust_mode, changed.credit_limit) == ("changed", "private", "2")
    with pytest.raises(SessionRejected, match="does not allow this model"):
        make(api_key=made.key.reveal()).create(ASK)
    lifted = account.update_key(made.key_id, allowed_models=[], credit_limit=None, trust_mode="")
    assert (lifted.allowed_models, lifted.credit_limit, lifted.trust_mode, lifted.key) == ((), "", "", None)
    assert make(api_key=made.key.reveal()).create(ASK).text
    for wrong in ({}, {"key": "sk-" + "1" * 32}):
        with pytest.raises(ConfigError) as refused:
            account.update_key(made.key_id, **wrong)
        assert refused.value.code == "bad_setting"
    narrow = net.router.new_key(manages=True, scopes=("keys:read", "keys:create"))
    with (
        RouterAccount(management_key=narrow, base_url=net.router.base_url, environ={}) as other,
        pytest.raises(SessionRejected) as caught,
    ):
        other.update_key(made.key_id, name="mine")
    assert caught.value.code == "insufficient_scope"
    account.revoke_key(made.key_id)
    for key_id, code in ((made.key_id, "api_key_revoked"), ("nobody", "api_key_not_found")):
        with pytest.raises(RequestError) as gone:
            account.update_key(key_id, name="x")
        assert gone.value.code == code


@pytest.mark.parametrize("sealed", [False, True])
def test_receipts_agree_with_the_book(account: RouterAccount, make: Make, sealed: bool) -> None:
    client = make(sealed=sealed)
    receipts = [client.create(ASK).receipt for _ in range(2)]
    found = account.audit(receipts)
    assert [each.result for each in found] == ["agrees", "agrees"]
    assert (found.ok, found.findings, found.backend) == (True, (), "router")
    (row,) = found.providers
    assert (row.calls, row.settled, row.exact) == (2, row.exact, receipts[0].fee.amount + receipts[1].fee.amount)


def test_what_the_book_charged_for_no_receipt_is_told(account: RouterAccount, make: Make) -> None:
    kept, lost = make().create(ASK).receipt, make().create(ASK).receipt
    kept.started_at -= timedelta(seconds=2)  # the book knows whole seconds
    found = account.audit([kept])
    (note,) = found.findings
    assert (note.code, note.outside, found.ok) == ("charged_without_receipt", False, True)
    kept_and_lost = account.audit([kept, lost]).findings
    assert not kept_and_lost or kept_and_lost[0].message != note.message


def test_more_in_the_book_than_the_trace_said_is_outside(account: RouterAccount, make: Make) -> None:
    receipt = make().create(ASK).receipt
    receipt.fee = replace(receipt.fee, amount=Amount(receipt.fee.amount.units - 1, receipt.fee.amount.currency))
    found = account.audit([receipt])
    assert [(each.code, each.excess and each.excess.units) for each in found.findings] == [("settled_too_much", 1)]
    assert not found.ok


def test_a_trace_that_lied_differs_from_the_book(account: RouterAccount, make: Make, net: LocalNet) -> None:
    with net.router.fault(RouterFault.COST_WRONG, factor=1):
        honest = make().create(ASK).receipt
    with net.router.fault(RouterFault.OTHER_PROVIDER_NAMED):
        lied = make(verify="off").create(ASK).receipt
    results = [found.result for found in account.audit([honest, lied])]
    assert results == ["agrees", "differs"]


@pytest.mark.parametrize("said", [None, [], {}, {"total_balance": 1.5}, {"total_balance": "x"}])
def test_what_is_no_statement_is_an_error_and_not_nothing(said: Any) -> None:
    with pytest.raises(RequestError):
        Balance.parse(said)
    with pytest.raises(RequestError):
        Funds.parse(said)


async def test_the_same_with_an_event_loop(net: LocalNet) -> None:
    where = {"management_key": net.router.management_key, "base_url": net.router.base_url, "environ": {}}
    async with AsyncRouterAccount(**where) as account:
        assert (await account.balance()).total == Amount("10")
        assert await account.models()
        assert await account.api_keys()
