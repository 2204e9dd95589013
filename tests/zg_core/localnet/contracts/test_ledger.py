"""LedgerManager: deposits, transfers, withdrawing, deletion (0g-contracts C2, A3, A4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zg_core.localnet.chain.genesis import SERVICE_NAME

OG = 10**18
ZERO = "0x" + "00" * 20
ABSENT = "0x" + "ab" * 20
TOO_LONG = "x" * 4097

Scene = Callable[[Any], object]


def nothing(stage: Any) -> None:
    """No ledger."""


def with_ledger(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=5 * OG)


def with_account(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=5 * OG)
    stage.transfer(stage.ann, stage.pat, 2 * OG)


def with_50_providers(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=50 * OG)
    for number in range(50):
        stage.transfer(stage.ann, f"0x{0xA000 + number:040x}", OG)


def with_everything_in_accounts(stage: Any) -> None:
    stage.open_account(stage.ann, stage.pat, 3 * OG)


# Where several conditions are wrong at once, the error shows which is looked at first.
REFUSALS = [
    ("nothing sent, long text, ledger there", with_ledger, "addLedger", (TOO_LONG,), 0,
     ("MinimumDepositRequired", 0, 3 * OG)),
    ("one neuron short, long text, ledger there", with_ledger, "addLedger", (TOO_LONG,), 3 * OG - 1,
     ("MinimumDepositRequired", 3 * OG - 1, 3 * OG)),
    ("long text, ledger there", with_ledger, "addLedger", (TOO_LONG,), 3 * OG,
     ("AdditionalInfoTooLong", 4097, 4096)),
    ("ledger there", with_ledger, "addLedger", ("",), 3 * OG, ("LedgerExists", "ann")),
    ("nothing sent, no ledger", nothing, "depositFund", (), 0, ("ZeroAmountNotAllowed",)),
    ("nothing sent, ledger there", with_ledger, "depositFund", (), 0, ("ZeroAmountNotAllowed",)),
    ("one neuron short, no ledger", nothing, "depositFund", (), 3 * OG - 1,
     ("MinimumDepositRequired", 3 * OG - 1, 3 * OG)),
    ("for nobody, nothing sent", nothing, "depositFundFor", (ZERO,), 0, ("ZeroAddressNotAllowed",)),
    ("for nobody", nothing, "depositFundFor", (ZERO,), 3 * OG, ("ZeroAddressNotAllowed",)),
    ("nothing sent for another", nothing, "depositFundFor", (ABSENT,), 0, ("ZeroAmountNotAllowed",)),
    ("too little for another", with_ledger, "depositFundFor", (ABSENT,), OG,
     ("MinimumDepositRequired", OG, 3 * OG)),
    ("long text, no ledger", nothing, "updateAdditionalInfo", (TOO_LONG,), 0, ("AdditionalInfoTooLong", 4097, 4096)),
    ("text, no ledger", nothing, "updateAdditionalInfo", ("",), 0, ("LedgerNotExists", "ann")),
    ("no ledger, unknown service, too little", nothing, "transferFund", ("pat", "inference", 0), 0,
     ("LedgerNotExists", "ann")),
    ("type instead of full name", with_ledger, "transferFund", ("pat", "inference", 0), 0,
     ("ServiceNotFound", ZERO)),
    ("first transfer of nothing", with_ledger, "transferFund", ("pat", SERVICE_NAME, 0), 0,
     ("MinimumDepositRequired", 0, OG)),
    ("first transfer one neuron short", with_ledger, "transferFund", ("pat", SERVICE_NAME, OG - 1), 0,
     ("MinimumDepositRequired", OG - 1, OG)),
    ("first transfer above what is available", with_ledger, "transferFund", ("pat", SERVICE_NAME, 5 * OG + 1), 0,
     ("InsufficientAvailableBalance", 5 * OG, 5 * OG + 1)),
    ("further transfer above what is available", with_account, "transferFund", ("pat", SERVICE_NAME, 3 * OG + 1), 0,
     ("InsufficientAvailableBalance", 3 * OG, 3 * OG + 1)),
    ("transfer to oneself, too much", with_ledger, "transferFund", ("ann", SERVICE_NAME, 6 * OG), 0,
     ("InsufficientAvailableBalance", 5 * OG, 6 * OG)),
    ("transfer to oneself", with_ledger, "transferFund", ("ann", SERVICE_NAME, OG), 0, ("CallFailed",)),
    ("transfer to nobody", with_ledger, "transferFund", (ZERO, SERVICE_NAME, OG), 0, ("CallFailed",)),
    ("51st provider, too little", with_50_providers, "transferFund", (ABSENT, SERVICE_NAME, OG - 1), 0,
     ("MinimumDepositRequired", OG - 1, OG)),
    ("51st provider, nothing available", with_50_providers, "transferFund", (ABSENT, SERVICE_NAME, OG), 0,
     ("TooManyProvidersForService", 50, 50)),
    ("21 providers, unknown service, no ledger", nothing, "retrieveFund", ([ABSENT] * 21, "nope"), 0,
     ("TooManyProviders", 21, 20)),
    ("unknown service, no ledger", nothing, "retrieveFund", ([ABSENT] * 20, "nope"), 0, ("ServiceNotFound", ZERO)),
    ("retrieve without ledger", nothing, "retrieveFund", ([], SERVICE_NAME), 0, ("LedgerNotExists", "ann")),
    ("refund without ledger", nothing, "refund", (0,), 0, ("LedgerNotExists", "ann")),
    ("refund above what is available", with_account, "refund", (3 * OG + 1,), 0, ("InsufficientBalance", "ann")),
    ("refund that leaves one neuron", with_ledger, "refund", (5 * OG - 1,), 0, ("MinimumDepositRequired", 1, 3 * OG)),
    ("refund that leaves one neuron too little", with_ledger, "refund", (2 * OG + 1,), 0,
     ("MinimumDepositRequired", 3 * OG - 1, 3 * OG)),
    ("delete without ledger", nothing, "deleteLedger", (), 0, ("LedgerNotExists", "ann")),
    ("delete with coins available", with_ledger, "deleteLedger", (), 0, ("MustWithdrawAllFundsFirst", 5 * OG)),
    ("delete with coins in accounts", with_everything_in_accounts, "deleteLedger", (), 0,
     ("MustWithdrawAllFundsFirst", 3 * OG)),
    ("spend, not a service", with_ledger, "spendFund", (ABSENT, 1), 0, ("CallerNotRegisteredService", "ann")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scene", "function", "args", "value", "error"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refused(
    stage: Any, scene: Scene, function: str, args: tuple[Any, ...], value: int, error: tuple[Any, ...]
) -> None:
    def person(word: Any) -> Any:
        return getattr(stage, word).address if word in ("ann", "pat") else word

    scene(stage)
    answer = stage.refused(stage.ann, function, *map(person, args), value=value)
    assert answer == tuple(map(person, error))


# ---- deposits ----


def test_a_new_ledger_returns_what_was_sent_and_zero_and_is_silent(stage: Any) -> None:
    data = stage.ledger.encode("addLedger", "hello")
    stage.chain.set_balance(stage.ann.address, 10 * OG)
    returned = stage.as_contract(stage.ann.address, "addLedger", "hello", value=4 * OG)[1]
    assert stage.ledger.decode("addLedger", returned) == (4 * OG, 0)
    receipt = stage.chain.send(stage.ann.secret, to=stage.ledger.address, data=data, value=4 * OG)
    assert receipt.logs == ()
    assert stage.read("getLedger", stage.ann.address) == {
        "user": stage.ann.address,
        "availableBalance": 4 * OG,
        "totalBalance": 4 * OG,
        "additionalInfo": "hello",
    }
    assert stage.chain.balance(stage.ledger.address) == 4 * OG


def test_a_text_of_4096_bytes_is_accepted(stage: Any) -> None:
    stage.do(stage.ann, "addLedger", "x" * 4096, value=3 * OG)
    assert len(stage.read("getLedger", stage.ann.address)["additionalInfo"]) == 4096


def test_the_length_of_a_text_is_counted_in_bytes(stage: Any) -> None:
    answer = stage.refused(stage.ann, "addLedger", "é" * 2049, value=3 * OG)
    assert answer == ("AdditionalInfoTooLong", 4098, 4096)


def test_a_deposit_makes_a_ledger_without_text_and_then_takes_any_amount(stage: Any) -> None:
    assert stage.do(stage.ann, "depositFund", value=3 * OG) == []
    assert stage.read("getLedger", stage.ann.address)["additionalInfo"] == ""
    assert stage.do(stage.ann, "depositFund", value=1) == []
    assert stage.purse(stage.ann) == (3 * OG + 1, 3 * OG + 1)


def test_a_deposit_for_another_is_the_others(stage: Any) -> None:
    stage.do(stage.ann, "depositFundFor", stage.bob.address, value=3 * OG)
    stage.do(stage.ann, "depositFundFor", stage.bob.address, value=1)
    assert stage.purse(stage.bob) == (3 * OG + 1, 3 * OG + 1)
    assert stage.unreadable("getLedger", stage.ann.address) == ("LedgerNotExists", stage.ann.address)


def test_a_new_text_reaches_only_sub_accounts_made_later(stage: Any) -> None:
    stage.do(stage.ann, "addLedger", "old", value=5 * OG)
    stage.transfer(stage.ann, stage.pat, OG)
    events = stage.do(stage.ann, "updateAdditionalInfo", "new")
    assert events == [("LedgerInfoUpdated", {"user": stage.ann.address, "additionalInfo": "new"})]
    stage.transfer(stage.ann, stage.pat, OG)
    stage.transfer(stage.ann, stage.quinn, OG)
    assert stage.account(stage.ann, stage.pat)["additionalInfo"] == "old"
    assert stage.account(stage.ann, stage.quinn)["additionalInfo"] == "new"


# ---- transfers ----


def test_a_first_transfer_moves_coins_and_leaves_the_total(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=5 * OG)
    events = stage.transfer(stage.ann, stage.pat, 2 * OG)
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("BalanceUpdated", parties | {"amount": 2 * OG, "pendingRefund": 0})]
    assert stage.purse(stage.ann) == (3 * OG, 5 * OG)
    assert stage.chain.balance(stage.ledger.address) == 3 * OG
    assert stage.chain.balance(stage.inference.address) == 2 * OG
    assert stage.read("getLedgerProviders", stage.ann.address, SERVICE_NAME) == [stage.pat.address]


def test_a_further_transfer_has_no_minimum(stage: Any) -> None:
    with_account(stage)
    stage.transfer(stage.ann, stage.pat, 1)
    assert stage.account(stage.ann, stage.pat)["balance"] == 2 * OG + 1
    events = stage.transfer(stage.ann, stage.pat, 0)
    assert [name for name, _ in events] == ["BalanceUpdated"]


def test_a_transfer_takes_back_pending_refunds_before_it_moves_coins(stage: Any) -> None:
    with_account(stage)
    stage.retrieve(stage.ann, stage.pat)
    stage.transfer(stage.ann, stage.pat, OG)
    assert stage.purse(stage.ann) == (3 * OG, 5 * OG)
    stage.transfer(stage.ann, stage.pat, 3 * OG)
    assert stage.purse(stage.ann) == (OG, 5 * OG)
    account = stage.account(stage.ann, stage.pat)
    assert (account["balance"], account["pendingRefund"]) == (4 * OG, 0)


def test_a_transfer_needs_no_coins_when_refunds_cover_it(stage: Any) -> None:
    with_everything_in_accounts(stage)
    stage.retrieve(stage.ann, stage.pat)
    assert stage.purse(stage.ann) == (0, 3 * OG)
    stage.transfer(stage.ann, stage.pat, 3 * OG)
    assert stage.refused(stage.ann, "transferFund", stage.pat.address, SERVICE_NAME, 1) == (
        "InsufficientAvailableBalance",
        0,
        1,
    )


def test_the_provider_needs_no_service(stage: Any) -> None:
    stage.open_account(stage.ann, ABSENT, OG)
    assert stage.read("accountExists", stage.ann.address, ABSENT) is True


def test_the_50th_provider_is_accepted_and_known_ones_stay_usable(stage: Any) -> None:
    with_50_providers(stage)
    stage.do(stage.ann, "depositFund", value=OG)
    stage.transfer(stage.ann, f"0x{0xA000 + 49:040x}", OG)
    assert len(stage.read("getLedgerProviders", stage.ann.address, SERVICE_NAME)) == 50


def test_a_failed_transfer_changes_nothing(stage: Any) -> None:
    with_ledger(stage)
    stage.refused(stage.ann, "transferFund", stage.ann.address, SERVICE_NAME, OG)
    assert stage.purse(stage.ann) == (5 * OG, 5 * OG)
    assert stage.read("getLedgerProviders", stage.ann.address, SERVICE_NAME) == []


def test_a_service_with_another_ledger_is_a_failed_call(stage: Any) -> None:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy("InferenceServing").address)
    foreign = stage.deploy("BeaconProxy", beacon.address, b"", interface="InferenceServing")
    stage.do(stage.owner, "initialize", 86_400, ABSENT, stage.owner.address, to=foreign)
    stage.do(stage.owner, "registerService", "inference", "v9", foreign.address, "")
    with_ledger(stage)
    assert stage.refused(stage.ann, "transferFund", stage.pat.address, "inference-v9", OG) == ("CallFailed",)


# ---- retrieving ----


def test_an_empty_list_and_unknown_providers_are_legal(stage: Any) -> None:
    with_ledger(stage)
    assert stage.retrieve(stage.ann) == []
    assert stage.retrieve(stage.ann, ABSENT, stage.quinn) == []


def test_20_providers_are_legal(stage: Any) -> None:
    with_account(stage)
    events = stage.retrieve(stage.ann, *[ABSENT] * 19, stage.pat)
    assert [name for name, _ in events] == ["RefundRequested"]


def test_retrieving_asks_waits_and_then_takes(stage: Any) -> None:
    with_account(stage)
    events = stage.retrieve(stage.ann, stage.pat)
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("RefundRequested", parties | {"index": 0, "timestamp": stage.now})]
    stage.later(86_399)
    stage.retrieve(stage.ann, stage.pat)
    assert stage.purse(stage.ann) == (3 * OG, 5 * OG)
    stage.later(1)
    events = stage.retrieve(stage.ann, stage.pat)
    assert events == [("BalanceUpdated", parties | {"amount": 0, "pendingRefund": 0})]
    assert stage.purse(stage.ann) == (5 * OG, 5 * OG)
    assert stage.chain.balance(stage.ledger.address) == 5 * OG


def test_providers_are_handled_in_list_order_and_twice_if_named_twice(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=5 * OG)
    for provider in (stage.pat, stage.quinn):
        stage.transfer(stage.ann, provider, 2 * OG)
    events = stage.retrieve(stage.ann, stage.quinn, stage.pat, stage.quinn)
    order = [(name, arguments["provider"], arguments["index"]) for name, arguments in events]
    assert order == [
        ("RefundRequested", stage.quinn.address, 0),
        ("RefundRequested", stage.pat.address, 0),
        ("RefundRequested", stage.quinn.address, 0),
    ]
    stage.later(86_400)
    stage.retrieve(stage.ann, stage.pat, stage.quinn)
    assert stage.purse(stage.ann) == (5 * OG, 5 * OG)


def test_one_provider_with_too_many_refunds_blocks_the_list(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=200 * OG)
    stage.transfer(stage.ann, stage.quinn, 2 * OG)
    stage.transfer(stage.ann, stage.pat, 32 * OG)
    for amount in (16, 8, 4, 2):
        stage.retrieve(stage.ann, stage.pat)
        stage.transfer(stage.ann, stage.pat, amount * OG)
    stage.retrieve(stage.ann, stage.pat)
    stage.transfer(stage.ann, stage.pat, OG)
    answer = stage.refused(stage.ann, "retrieveFund", [stage.quinn.address, stage.pat.address], SERVICE_NAME)
    assert answer == ("TooManyRefunds", stage.ann.address, stage.pat.address)
    assert stage.account(stage.ann, stage.quinn)["pendingRefund"] == 0


# ---- withdrawing and deletion ----


def test_a_refund_sends_coins_and_leaves_the_minimum(stage: Any) -> None:
    with_ledger(stage)
    before = stage.chain.balance(stage.ann.address)
    receipt = stage.chain.send(stage.ann.secret, to=stage.ledger.address, data=stage.ledger.encode("refund", 2 * OG))
    gas = receipt.gas_used * receipt.effective_gas_price
    assert stage.chain.balance(stage.ann.address) == before + 2 * OG - gas
    assert receipt.logs == ()
    assert stage.purse(stage.ann) == (3 * OG, 3 * OG)


def test_a_refund_of_nothing_keeps_a_ledger_with_coins_in_accounts(stage: Any) -> None:
    with_everything_in_accounts(stage)
    assert stage.do(stage.ann, "refund", 0) == []
    assert stage.purse(stage.ann) == (0, 3 * OG)


def test_a_refund_to_zero_deletes_ledger_and_accounts(stage: Any) -> None:
    stage.do(stage.ann, "depositFund", value=5 * OG)
    for provider in (stage.pat, stage.quinn):
        stage.transfer(stage.ann, provider, 2 * OG)
    stage.retrieve(stage.ann, stage.pat, stage.quinn)
    stage.later(86_400)
    stage.retrieve(stage.ann, stage.pat, stage.quinn)
    events = stage.do(stage.ann, "refund", 5 * OG)
    assert events == [
        ("AccountDeleted", {"user": stage.ann.address, "provider": each.address, "refundedAmount": 0})
        for each in (stage.pat, stage.quinn)
    ]
    assert stage.unreadable("getLedger", stage.ann.address) == ("LedgerNotExists", stage.ann.address)
    assert stage.read("getLedgerProviders", stage.ann.address, SERVICE_NAME) == []
    assert stage.read("getAllLedgers", 0, 0) == ([], 0)
    assert stage.read("getAllAccounts", 0, 0) == ([], 0)
    assert stage.chain.balance(stage.ledger.address) == stage.chain.balance(stage.inference.address) == 0


def test_a_ledger_whose_coins_are_all_spent_goes_with_a_refund_of_nothing(stage: Any) -> None:
    stage.open_service(stage.pat)
    with_everything_in_accounts(stage)
    statuses, _ = stage.settle(stage.pat, stage.item(stage.ann, stage.pat, 3 * OG, 1))
    assert statuses == [0]
    assert stage.purse(stage.ann) == (0, 0)
    assert [name for name, _ in stage.do(stage.ann, "refund", 0)] == ["AccountDeleted"]


def test_a_spent_ledger_can_be_deleted(stage: Any) -> None:
    stage.open_service(stage.pat)
    with_everything_in_accounts(stage)
    stage.settle(stage.pat, stage.item(stage.ann, stage.pat, 3 * OG, 1))
    events = stage.do(stage.ann, "deleteLedger")
    parties = {"user": stage.ann.address, "provider": stage.pat.address}
    assert events == [("AccountDeleted", parties | {"refundedAmount": 0})]
    assert stage.refused(stage.ann, "deleteLedger") == ("LedgerNotExists", stage.ann.address)


def test_a_recreated_account_has_its_nonce_and_generation_again_and_nothing_else(stage: Any) -> None:
    stage.open_service(stage.pat)
    stage.do(stage.ann, "addLedger", "first life", value=3 * OG)
    stage.transfer(stage.ann, stage.pat, 3 * OG)
    stage.do(stage.ann, "revokeAllTokens", stage.pat.address)
    stage.do(stage.ann, "revokeToken", stage.pat.address, 7)
    stage.retrieve(stage.ann, stage.pat)
    stage.settle(stage.pat, stage.item(stage.ann, stage.pat, 3 * OG, 41))
    stage.do(stage.ann, "refund", 0)
    assert stage.unreadable("getAccount", stage.ann.address, stage.pat.address)[0] == "AccountNotExists"

    stage.open_account(stage.ann, stage.pat, OG)
    assert stage.account(stage.ann, stage.pat) == {
        "user": stage.ann.address,
        "provider": stage.pat.address,
        "nonce": 41,
        "balance": OG,
        "pendingRefund": 0,
        "refunds": [],
        "additionalInfo": "",
        "acknowledged": True,
        "validRefundsLength": 0,
        "generation": 1,
        "revokedBitmap": 0,
    }
    statuses, _ = stage.settle(
        stage.pat, stage.item(stage.ann, stage.pat, 1, 41), stage.item(stage.ann, stage.pat, 1, 42)
    )
    assert statuses == [4, 0]


def test_deleting_a_ledger_moves_the_last_one_into_its_place(stage: Any) -> None:
    for user in (stage.ann, stage.bob, stage.eve):
        stage.do(user, "depositFund", value=3 * OG)
    stage.do(stage.ann, "refund", 3 * OG)
    ledgers, total = stage.read("getAllLedgers", 0, 0)
    assert ([each["user"] for each in ledgers], total) == ([stage.eve.address, stage.bob.address], 2)
    stage.do(stage.ann, "depositFund", value=3 * OG)
    ledgers, _ = stage.read("getAllLedgers", 0, 0)
    assert [each["user"] for each in ledgers] == [stage.eve.address, stage.bob.address, stage.ann.address]
