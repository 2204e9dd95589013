"""Lists, pages and missing things (0g-contracts A9, B7, B8)."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.localnet.chain.chain import Reverted

OG = 10**18
ZERO = "0x" + "00" * 20
MOST = 2**256 - 1
PAGED = ("getAllServices", "getAllAccounts", "getAccountsByUser", "getAccountsByProvider")


def provider(number: int) -> str:
    return f"0x{0xB000 + number:040x}"


@pytest.fixture(scope="module")
def fifty_one(make_stage: Any) -> Any:
    """51 sub-accounts, 50 of ann and one of bob, on a chain that the tests of this file only read."""
    stage = make_stage()
    stage.do(stage.ann, "depositFund", value=50 * OG)
    for number in range(50):
        stage.transfer(stage.ann, provider(number), OG)
    stage.open_account(stage.bob, provider(0), OG)
    stage.do(stage.pat, "depositFund", value=3 * OG)
    return stage


def whose(stage: Any, function: str) -> tuple[str, ...]:
    return {"getAccountsByUser": (stage.ann.address,), "getAccountsByProvider": (provider(0),)}.get(function, ())


@pytest.mark.parametrize("function", PAGED)
@pytest.mark.parametrize("offset", [0, 1_000, MOST])
def test_the_limit_is_checked_first(fifty_one: Any, function: str, offset: int) -> None:
    for limit in (51, MOST):
        answer = fifty_one.unreadable(function, *whose(fifty_one, function), offset, limit)
        assert answer == ("LimitTooLarge", limit, 50)


@pytest.mark.parametrize(
    ("offset", "limit", "places"),
    [
        (0, 0, range(50)),
        (0, 50, range(50)),
        (0, 3, range(3)),
        (49, 50, [49, 50]),
        (50, 0, [50]),
        (50, 1, [50]),
        (51, 50, []),
        (MOST, 50, []),
    ],
)
def test_a_page_of_all_accounts(fifty_one: Any, offset: int, limit: int, places: Any) -> None:
    accounts, total = fifty_one.read("getAllAccounts", offset, limit)
    order = [(fifty_one.ann.address, provider(number)) for number in range(50)]
    order.append((fifty_one.bob.address, provider(0)))
    found = [(account["user"], account["provider"].lower()) for account in accounts]
    assert (found, total) == ([order[place] for place in places], 51)


def test_a_page_by_user_and_by_provider(fifty_one: Any) -> None:
    accounts, total = fifty_one.read("getAccountsByUser", fifty_one.ann.address, 48, 50)
    assert ([each["provider"].lower() for each in accounts], total) == ([provider(48), provider(49)], 50)
    accounts, total = fifty_one.read("getAccountsByProvider", provider(0), 0, 0)
    assert ([each["user"] for each in accounts], total) == ([fifty_one.ann.address, fifty_one.bob.address], 2)
    assert fifty_one.read("getAccountsByUser", fifty_one.eve.address, 0, 0) == ([], 0)


@pytest.mark.parametrize(
    ("offset", "limit", "places"),
    [(0, 0, [0, 1, 2]), (0, 51, [0, 1, 2]), (1, MOST - 1, [1, 2]), (2, 1, [2]), (3, 0, []), (MOST, MOST, [])],
)
def test_a_page_of_ledgers_has_no_largest_size(fifty_one: Any, offset: int, limit: int, places: list[int]) -> None:
    ledgers, total = fifty_one.read("getAllLedgers", offset, limit)
    order = [each.address for each in (fifty_one.ann, fifty_one.bob, fifty_one.pat)]
    assert ([each["user"] for each in ledgers], total) == ([order[place] for place in places], 3)


def test_a_page_of_ledgers_past_the_end_of_numbers_panics(fifty_one: Any) -> None:
    assert fifty_one.unreadable("getAllLedgers", 1, MOST) == ("Panic", 0x11)


def test_limit_zero_means_50_ledgers(stage: Any) -> None:
    for number in range(51):
        stage.do(stage.ann, "depositFundFor", f"0x{0xC000 + number:040x}", value=3 * OG)
    ledgers, total = stage.read("getAllLedgers", 0, 0)
    assert (len(ledgers), total) == (50, 51)
    assert len(stage.read("getAllLedgers", 0, 51)[0]) == 51


def test_a_batch_is_the_callers_own_accounts_with_zeros_in_the_gaps(fifty_one: Any) -> None:
    users = [fifty_one.bob.address, fifty_one.eve.address, fifty_one.ann.address, fifty_one.bob.address]
    accounts = fifty_one.read("getBatchAccountsByUsers", users, sender=provider(0))
    assert [each["user"] for each in accounts] == [users[0], ZERO, users[2], users[0]]
    assert accounts[1] == {
        "user": ZERO,
        "provider": ZERO,
        "nonce": 0,
        "balance": 0,
        "pendingRefund": 0,
        "refunds": [],
        "additionalInfo": "",
        "acknowledged": False,
        "validRefundsLength": 0,
        "generation": 0,
        "revokedBitmap": 0,
    }
    nobodys = fifty_one.read("getBatchAccountsByUsers", users[:1], sender=fifty_one.eve.address)
    assert [each["user"] for each in nobodys] == [ZERO]
    assert fifty_one.read("getBatchAccountsByUsers", []) == []


def test_a_batch_has_500_users_at_most(fifty_one: Any) -> None:
    users = [fifty_one.eve.address] * 501
    assert fifty_one.unreadable("getBatchAccountsByUsers", users) == ("BatchSizeTooLarge", 501, 500)
    assert len(fifty_one.read("getBatchAccountsByUsers", users[:500])) == 500


def test_missing_things(stage: Any) -> None:
    ann, pat = stage.ann.address, stage.pat.address
    assert stage.unreadable("getLedger", ann) == ("LedgerNotExists", ann)
    assert stage.unreadable("getAccount", ann, pat) == ("AccountNotExists", ann, pat)
    assert stage.unreadable("getPendingRefund", ann, pat) == ("AccountNotExists", ann, pat)
    assert stage.unreadable("getService", pat) == ("ServiceNotExist", pat)
    assert stage.unreadable("getLedgerProviders", ann, "inference") == ("ServiceNotFound", ZERO)
    assert stage.read("getLedgerProviders", ann, "inference-v1.0") == []
    assert stage.read("accountExists", ann, pat) is False
    assert stage.read("serviceExists", pat) is False
    assert stage.read("getAllServices", 0, 0) == ([], 0)


def test_deleting_accounts_moves_the_last_of_each_list_into_the_gap(stage: Any) -> None:
    """Three users with two providers each; the first user leaves."""
    users = (stage.ann, stage.bob, stage.eve)
    for user in users:
        stage.do(user, "depositFund", value=3 * OG)
        for number in range(2):
            stage.transfer(user, provider(number), OG)
    ann = stage.ann
    stage.retrieve(ann, provider(0), provider(1))
    stage.later(86_400)
    stage.retrieve(ann, provider(0), provider(1))
    stage.do(ann, "refund", 3 * OG)

    accounts, total = stage.read("getAllAccounts", 0, 0)
    found = [(each["user"], each["provider"].lower()) for each in accounts]
    bob, eve = stage.bob.address, stage.eve.address
    assert total == 4
    # removed were places 0 and 1 of [a0 a1 b0 b1 e0 e1]: e1 goes to 0, then e0 to 1
    assert found == [(eve, provider(1)), (eve, provider(0)), (bob, provider(0)), (bob, provider(1))]
    for number in range(2):
        accounts, _ = stage.read("getAccountsByProvider", provider(number), 0, 0)
        assert [each["user"] for each in accounts] == [eve, bob]
    assert stage.read("getAccountsByUser", ann.address, 0, 0) == ([], 0)


def test_every_view_refuses_malformed_calldata(stage: Any) -> None:
    for contract, function in ((stage.ledger, "getLedger"), (stage.inference, "getService")):
        for tail in (b"", b"\xff" * 32, b"\x00" * 31):
            with pytest.raises(Reverted) as caught:
                stage.chain.call(to=contract.address, data=contract.selector(function) + tail)
            assert caught.value.data == b""
