"""Sub-accounts and their refund queue (0g-contracts C3, A5, A6)."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.localnet.chain.chain import Reverted
from zg_core.localnet.chain.genesis import SERVICE_NAME

OG = 10**18
ZERO = "0x" + "00" * 20
LOCK = 86_400


def live(account: dict[str, Any]) -> list[float]:
    """Amounts of the live refunds, in 0G."""
    return [refund["amount"] / OG for refund in account["refunds"][: account["validRefundsLength"]]]


# ---- only the ledger ----

CALLS = {
    "addAccount": ("info",),
    "depositFund": (0,),
    "requestRefundAll": (),
    "processRefund": (),
    "deleteAccount": (),
}


@pytest.mark.parametrize(("function", "rest"), CALLS.items(), ids=list(CALLS))
def test_only_the_ledger_may_call(stage: Any, function: str, rest: tuple[Any, ...]) -> None:
    answer = stage.refused(stage.ann, function, ZERO, ZERO, *rest, to=stage.inference)
    assert answer == ("CallerNotLedger", stage.ann.address)


@pytest.mark.parametrize("function", ["addAccount", "depositFund"])
@pytest.mark.parametrize(
    ("user", "provider", "error"),
    [
        (ZERO, ZERO, ("InvalidAddress", ZERO)),
        ("ann", ZERO, ("InvalidAddress", ZERO)),
        ("ann", "ann", ("ProviderCannotBeUser",)),
    ],
    ids=["no user and no provider", "no provider", "provider is the user"],
)
def test_parties_are_checked_in_order(
    stage: Any, function: str, user: str, provider: str, error: tuple[Any, ...]
) -> None:
    parties = [stage.ann.address if word == "ann" else word for word in (user, provider)]
    answer = stage.refused_as(stage.ledger.address, function, *parties, *CALLS[function], to=stage.inference)
    assert answer == error


def test_an_account_cannot_be_added_twice(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, OG)
    parties = (stage.ann.address, stage.pat.address)
    assert stage.refused_as(stage.ledger.address, "addAccount", *parties, "") == ("AccountExists", *parties)


@pytest.mark.parametrize("function", ["depositFund", "requestRefundAll", "processRefund"])
def test_a_missing_account_is_refused(stage: Any, function: str) -> None:
    parties = (stage.ann.address, stage.pat.address)
    answer = stage.refused_as(stage.ledger.address, function, *parties, *CALLS[function], to=stage.inference)
    assert answer == ("AccountNotExists", *parties)


def test_deleting_a_missing_account_reports_zero(stage: Any) -> None:
    events, _ = stage.as_contract(stage.ledger.address, "deleteAccount", stage.ann.address, stage.pat.address)
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("AccountDeleted", parties | {"refundedAmount": 0})]


def test_deleting_an_account_reports_its_balance_and_sends_nothing(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 2 * OG)
    events, _ = stage.as_contract(stage.ledger.address, "deleteAccount", stage.ann.address, stage.pat.address)
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("AccountDeleted", parties | {"refundedAmount": 2 * OG})]
    assert stage.chain.balance(stage.inference.address) == 2 * OG


def test_the_text_of_an_account_has_no_limit(stage: Any) -> None:
    stage.chain.set_balance(stage.ledger.address, OG)
    events, _ = stage.as_contract(
        stage.ledger.address, "addAccount", stage.ann.address, stage.pat.address, "x" * 5_000, value=OG
    )
    assert [name for name, _ in events] == ["BalanceUpdated"]


def test_cancelling_more_than_is_pending_cancels_all_and_ignores_the_rest(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 3 * OG)
    stage.retrieve(stage.ann, stage.pat)
    events, _ = stage.as_contract(
        stage.ledger.address, "depositFund", stage.ann.address, stage.pat.address, 99 * OG, to=stage.inference
    )
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("BalanceUpdated", parties | {"amount": 3 * OG, "pendingRefund": 0})]


# ---- a new account, acknowledgement ----


def test_a_new_account_is_acknowledged_and_has_the_ledgers_text(stage: Any) -> None:
    stage.do(stage.ann, "addLedger", "hello", value=3 * OG)
    stage.transfer(stage.ann, stage.pat, OG)
    assert stage.account(stage.ann, stage.pat) == {
        "user": stage.ann.address,
        "provider": stage.pat.address,
        "nonce": 0,
        "balance": OG,
        "pendingRefund": 0,
        "refunds": [],
        "additionalInfo": "hello",
        "acknowledged": True,
        "validRefundsLength": 0,
        "generation": 0,
        "revokedBitmap": 0,
    }


def test_acknowledgement_needs_the_account_but_no_service(stage: Any) -> None:
    parties = (stage.ann.address, stage.pat.address)
    answer = stage.refused(stage.ann, "acknowledgeTEESigner", stage.pat.address, True)
    assert answer == ("AccountNotExists", *parties)
    stage.open_account(stage.ann, stage.pat, OG)
    assert stage.do(stage.ann, "acknowledgeTEESigner", stage.pat.address, True) == []


def test_acknowledgement_cannot_be_withdrawn_from_an_account_with_coins(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, OG)
    answer = stage.refused(stage.ann, "acknowledgeTEESigner", stage.pat.address, False)
    assert answer == ("CannotRevokeWithNonZeroBalance", stage.ann.address, stage.pat.address, OG)


def test_acknowledgement_is_withdrawn_from_an_empty_account_and_a_transfer_renews_it(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, OG)
    stage.retrieve(stage.ann, stage.pat)
    stage.later(LOCK)
    stage.retrieve(stage.ann, stage.pat)
    assert stage.do(stage.ann, "acknowledgeTEESigner", stage.pat.address, False) == []
    assert stage.account(stage.ann, stage.pat)["acknowledged"] is False
    assert stage.do(stage.ann, "acknowledgeTEESigner", stage.pat.address, False) == []

    events = stage.transfer(stage.ann, stage.pat, 0)
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("BalanceUpdated", parties | {"amount": 0, "pendingRefund": 0})]
    assert stage.account(stage.ann, stage.pat)["acknowledged"] is True


# ---- the refund queue ----


def test_nothing_to_request_still_reports_the_newest_refund(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 3 * OG)
    stage.retrieve(stage.ann, stage.pat)
    before = stage.account(stage.ann, stage.pat)
    stage.later(100)
    events = stage.retrieve(stage.ann, stage.pat)
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("RefundRequested", parties | {"index": 0, "timestamp": stage.now})]
    assert stage.account(stage.ann, stage.pat) == before


def test_an_equal_amount_removes_the_entry_and_keeps_its_place_for_the_next(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 3 * OG)
    stage.retrieve(stage.ann, stage.pat)
    first = stage.now
    stage.transfer(stage.ann, stage.pat, 3 * OG)
    account = stage.account(stage.ann, stage.pat)
    assert account["refunds"] == [{"index": 0, "amount": 0, "createdAt": first, "processed": False}]
    assert (account["validRefundsLength"], account["pendingRefund"]) == (0, 0)
    stage.later(5)
    stage.retrieve(stage.ann, stage.pat)
    account = stage.account(stage.ann, stage.pat)
    assert account["refunds"] == [{"index": 0, "amount": 3 * OG, "createdAt": first + 5, "processed": False}]


def test_a_smaller_amount_shrinks_the_newest_entry_and_keeps_its_time(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 3 * OG)
    stage.retrieve(stage.ann, stage.pat)
    first = stage.now
    stage.later(5)
    stage.transfer(stage.ann, stage.pat, OG)
    account = stage.account(stage.ann, stage.pat)
    assert account["refunds"] == [{"index": 0, "amount": 2 * OG, "createdAt": first, "processed": False}]


def test_cancelling_runs_over_several_entries_newest_first(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 8 * OG)
    for amount in (4, 2):
        stage.retrieve(stage.ann, stage.pat)
        stage.transfer(stage.ann, stage.pat, amount * OG)
    stage.retrieve(stage.ann, stage.pat)
    assert live(stage.account(stage.ann, stage.pat)) == [4, 2, 2]
    stage.transfer(stage.ann, stage.pat, 5 * OG)
    account = stage.account(stage.ann, stage.pat)
    assert live(account) == [3]
    assert [refund["amount"] for refund in account["refunds"][1:]] == [0, 0], "cancelled entries hold nothing"


def test_a_shorter_lock_time_applies_to_refunds_that_are_pending(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 3 * OG)
    stage.retrieve(stage.ann, stage.pat)
    stage.later(3_600)
    stage.do(stage.owner, "updateLockTime", 3_600)
    stage.retrieve(stage.ann, stage.pat)
    assert stage.purse(stage.ann) == (3 * OG, 3 * OG)


def test_a_longer_lock_time_applies_to_refunds_that_are_pending(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 3 * OG)
    stage.retrieve(stage.ann, stage.pat)
    stage.do(stage.owner, "updateLockTime", 604_800)
    stage.later(LOCK)
    stage.retrieve(stage.ann, stage.pat)
    assert stage.purse(stage.ann) == (0, 3 * OG)


def test_processing_returns_what_matured_and_what_is_left(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 4 * OG)
    stage.retrieve(stage.ann, stage.pat)
    stage.later(LOCK - 1)
    stage.transfer(stage.ann, stage.pat, OG)
    stage.retrieve(stage.ann, stage.pat)
    stage.later(1)
    events, output = stage.as_contract(stage.ledger.address, "processRefund", stage.ann.address, stage.pat.address)
    assert stage.inference.decode("processRefund", output) == (3 * OG, OG, OG)
    assert [name for name, _ in events] == ["BalanceUpdated"]


def test_nothing_matured_is_silent(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 4 * OG)
    stage.retrieve(stage.ann, stage.pat)
    events, output = stage.as_contract(stage.ledger.address, "processRefund", stage.ann.address, stage.pat.address)
    assert (events, stage.inference.decode("processRefund", output)) == ([], (0, 4 * OG, 4 * OG))


def test_the_worked_example(stage: Any) -> None:
    """0g-contracts C3.8, with every number it names."""
    stage.open_service(stage.pat)
    stage.do(stage.ann, "depositFund", value=100 * OG)
    start = stage.now

    def at(seconds: int) -> None:
        stage.later(start + seconds - stage.now)

    def entries(account: dict[str, Any]) -> list[tuple[int, float, int]]:
        return [(each["index"], each["amount"] / OG, each["createdAt"] - start) for each in account["refunds"]]

    stage.transfer(stage.ann, stage.pat, 32 * OG)
    stage.retrieve(stage.ann, stage.pat)
    available, _ = stage.purse(stage.ann)
    for seconds, amount in ((200, 16), (400, 8), (600, 4), (800, 2)):
        at(seconds)
        stage.transfer(stage.ann, stage.pat, amount * OG)
        stage.retrieve(stage.ann, stage.pat)
    assert stage.purse(stage.ann)[0] == available, "cancelling moves no coins"
    account = stage.account(stage.ann, stage.pat)
    assert entries(account) == [(0, 16, 0), (1, 8, 200), (2, 4, 400), (3, 2, 600), (4, 2, 800)]

    stage.transfer(stage.ann, stage.pat, OG)
    account = stage.account(stage.ann, stage.pat)
    assert live(account) == [16, 8, 4, 2, 1]
    assert account["balance"] - account["pendingRefund"] == OG
    answer = stage.refused(stage.ann, "retrieveFund", [stage.pat.address], SERVICE_NAME)
    assert answer == ("TooManyRefunds", stage.ann.address, stage.pat.address)

    stage.transfer(stage.ann, stage.pat, OG // 2)
    account = stage.account(stage.ann, stage.pat)
    assert live(account) == [16, 8, 4, 2, 0.5]
    assert account["balance"] - account["pendingRefund"] == 3 * OG // 2

    at(86_450)
    events = stage.retrieve(stage.ann, stage.pat)
    assert [name for name, _ in events] == ["BalanceUpdated", "RefundRequested"]
    assert stage.purse(stage.ann)[0] == available + 16 * OG
    account = stage.account(stage.ann, stage.pat)
    assert entries(account) == [(0, 8, 200), (1, 4, 400), (2, 2, 600), (3, 0.5, 800), (4, 1.5, 86_450)]
    assert account["validRefundsLength"] == 5

    at(86_750)
    events = stage.retrieve(stage.ann, stage.pat)
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [
        ("BalanceUpdated", parties | {"amount": 8 * OG, "pendingRefund": 8 * OG}),
        ("RefundRequested", parties | {"index": 3, "timestamp": stage.now}),
    ]
    account = stage.account(stage.ann, stage.pat)
    assert live(account) == [4, 2, 0.5, 1.5]
    assert entries(account) == [
        (0, 4, 400), (1, 2, 600), (2, 0.5, 800), (3, 1.5, 86_450), (4, 1.5, 86_450)
    ]  # fmt: skip

    statuses, events = stage.settle(stage.pat, stage.item(stage.ann, stage.pat, OG // 2, 1))
    assert statuses == [0]
    assert events[1] == ("BalanceUpdated", parties | {"amount": 15 * OG // 2, "pendingRefund": 15 * OG // 2})
    assert live(stage.account(stage.ann, stage.pat)) == [4, 2, 0.5, 1.0]


def test_equal_small_steps_never_reach_five_entries(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=50 * OG)
    stage.transfer(stage.ann, stage.pat, 10 * OG)
    for _ in range(8):
        stage.retrieve(stage.ann, stage.pat)
        stage.transfer(stage.ann, stage.pat, OG)
        assert stage.account(stage.ann, stage.pat)["validRefundsLength"] <= 2
    stage.retrieve(stage.ann, stage.pat)
    assert live(stage.account(stage.ann, stage.pat)) == [9, 1]


def test_a_full_queue_with_nothing_to_request_is_no_error(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=50 * OG)
    stage.transfer(stage.ann, stage.pat, 32 * OG)
    for amount in (16, 8, 4, 2):
        stage.retrieve(stage.ann, stage.pat)
        stage.transfer(stage.ann, stage.pat, amount * OG)
    stage.retrieve(stage.ann, stage.pat)
    events = stage.retrieve(stage.ann, stage.pat)
    assert [arguments["index"] for _, arguments in events] == [4]


def test_coins_are_sent_to_the_ledger_only(stage: Any) -> None:
    for contract in (stage.inference, stage.ledger):
        with pytest.raises(Reverted) as caught:
            stage.chain.send(stage.ann.secret, to=contract.address, value=1)
        assert contract.decode_error(caught.value.data) == ("DirectDepositsDisabled", {})
