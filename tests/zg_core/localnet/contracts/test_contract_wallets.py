"""Users and providers that are contracts: re-entry, refused coins (0g-contracts A2, B5, C2.5, C6.5)."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.localnet.chain.genesis import SERVICE_NAME

OG = 10**18
ACCEPT, REFUSE, CALL, TRY = range(4)


class Wallet:
    """A contract wallet and what it does when coins arrive."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage
        self.contract = stage.deploy("test/ContractWallet")
        self.address = self.contract.address

    def on_receive(self, what: int, contract: Any = None, function: str = "", *args: Any) -> None:
        target = contract or self.stage.ledger
        data = target.encode(function, *args) if function else b""
        self.stage.do(self.stage.eve, "script", what, target.address, data, to=self.contract)

    def do(self, contract: Any, function: str, *args: Any, value: int = 0) -> list[Any]:
        data = contract.encode(function, *args)
        events: list[Any] = self.stage.do(
            self.stage.eve, "execute", contract.address, value, data, value=value, to=self.contract
        )
        return events

    def refused(self, contract: Any, function: str, *args: Any, value: int = 0) -> tuple[Any, ...]:
        data = contract.encode(function, *args)
        answer: tuple[Any, ...] = self.stage.refused(
            self.stage.eve, "execute", contract.address, value, data, value=value, to=self.contract
        )
        return answer

    def answer(self) -> tuple[Any, ...]:
        """How the call made with TRY was refused."""
        name, arguments = self.stage.ledger.decode_error(self.stage.read("answer", to=self.contract))
        return (name, *arguments.values())


@pytest.fixture
def wallet(stage: Any) -> Wallet:
    """A wallet with a ledger of 20 0G."""
    made = Wallet(stage)
    made.do(stage.ledger, "depositFund", value=20 * OG)
    return made


LOCKED = {
    "addLedger": ("",),
    "updateAdditionalInfo": ("x" * 5_000,),
    "depositFund": (),
    "refund": (1,),
    "transferFund": ("0x" + "ab" * 20, "nope", OG),
    "retrieveFund": ([], "nope"),
}


@pytest.mark.parametrize(("function", "args"), LOCKED.items(), ids=list(LOCKED))
def test_a_call_inside_a_refund_meets_the_lock_before_any_other_check(
    stage: Any, wallet: Wallet, function: str, args: tuple[Any, ...]
) -> None:
    wallet.on_receive(CALL, stage.ledger, function, *args)
    assert wallet.refused(stage.ledger, "refund", OG) == ("TransferFailed",)
    wallet.on_receive(TRY, stage.ledger, function, *args)
    wallet.do(stage.ledger, "refund", OG)
    assert wallet.answer() == ("LedgerLocked",)


def test_deleting_inside_a_refund_meets_the_lock(stage: Any, wallet: Wallet) -> None:
    wallet.on_receive(TRY, stage.ledger, "deleteLedger")
    wallet.do(stage.ledger, "refund", 20 * OG)
    assert wallet.answer() == ("LedgerLocked",)


def test_a_deposit_for_another_locks_the_other(stage: Any, wallet: Wallet) -> None:
    wallet.on_receive(TRY, stage.ledger, "depositFundFor", wallet.address)
    wallet.do(stage.ledger, "refund", OG)
    assert wallet.answer() == ("LedgerLocked",)
    wallet.on_receive(TRY, stage.ledger, "depositFundFor", stage.ann.address)
    wallet.do(stage.ledger, "refund", OG)
    assert wallet.answer() == ("ZeroAmountNotAllowed",), "ann is not locked"


def test_reading_inside_a_refund_takes_no_lock(stage: Any, wallet: Wallet) -> None:
    wallet.on_receive(CALL, stage.ledger, "getLedger", wallet.address)
    assert wallet.do(stage.ledger, "refund", OG) == []


def test_the_lock_ends_with_the_call(stage: Any, wallet: Wallet) -> None:
    wallet.do(stage.ledger, "refund", OG)
    wallet.do(stage.ledger, "refund", OG)
    assert stage.read("getLedger", wallet.address)["totalBalance"] == 18 * OG


def test_a_wallet_that_refuses_coins_cannot_refund_even_nothing(stage: Any, wallet: Wallet) -> None:
    wallet.on_receive(REFUSE)
    for amount in (0, OG):
        assert wallet.refused(stage.ledger, "refund", amount) == ("TransferFailed",)
    assert stage.read("getLedger", wallet.address)["availableBalance"] == 20 * OG


# ---- a provider that is a contract ----


@pytest.fixture
def serving(stage: Any, helpers: Any) -> Wallet:
    """A wallet that serves; ann has 5 0G with it."""
    made = Wallet(stage)
    made.do(stage.inference, "addOrUpdateService", helpers.service_params(stage.tee.address), value=100 * OG)
    stage.do(stage.owner, "acknowledgeTEESignerByOwner", made.address)
    stage.open_account(stage.ann, made.address, 5 * OG)
    return made


def test_a_provider_that_refuses_coins_undoes_its_settlement(stage: Any, serving: Wallet) -> None:
    item = stage.item(stage.ann, serving, OG, 1)
    serving.on_receive(REFUSE)
    assert serving.refused(stage.inference, "settleFeesWithTEE", [item]) == ("TransferFailed",)
    account = stage.account(stage.ann, serving.address)
    assert (account["nonce"], account["balance"]) == (0, 5 * OG)


def test_nothing_to_pay_sends_nothing(stage: Any, serving: Wallet) -> None:
    serving.on_receive(REFUSE)
    serving.do(stage.inference, "settleFeesWithTEE", [stage.item(stage.ann, serving, 0, 1)])
    assert stage.account(stage.ann, serving.address)["nonce"] == 1


def test_a_settlement_pays_once_after_its_last_item(stage: Any, serving: Wallet) -> None:
    serving.on_receive(TRY, stage.inference, "getAccount", stage.ann.address, serving.address)
    items = [stage.item(stage.ann, serving, OG, nonce) for nonce in (1, 2, 3)]
    before = stage.chain.balance(serving.address)
    serving.do(stage.inference, "settleFeesWithTEE", items)
    assert stage.chain.balance(serving.address) == before + 3 * OG
    assert stage.read("received", to=serving.contract) == 1
    seen = stage.inference.decode("getAccount", stage.read("answer", to=serving.contract))
    assert (seen["balance"], seen["nonce"]) == (2 * OG, 3), "all items are booked when the coins arrive"


@pytest.mark.parametrize(("function", "args"), [("settleFeesWithTEE", ([],)), ("removeService", ())])
@pytest.mark.parametrize("outer", ["settleFeesWithTEE", "removeService"])
def test_settling_and_removing_cannot_be_reentered(
    stage: Any, serving: Wallet, outer: str, function: str, args: tuple[Any, ...]
) -> None:
    serving.on_receive(TRY, stage.inference, function, *args)
    outer_args = ([stage.item(stage.ann, serving, OG, 1)],) if outer == "settleFeesWithTEE" else ()
    serving.do(stage.inference, outer, *outer_args)
    assert serving.answer() == ("Error", "ReentrancyGuard: reentrant call")


def test_a_provider_that_refuses_coins_cannot_take_its_stake(stage: Any, serving: Wallet) -> None:
    serving.on_receive(REFUSE)
    assert serving.refused(stage.inference, "removeService") == ("TransferFailed",)
    assert stage.read("serviceExists", serving.address) is True


def test_a_service_is_gone_when_its_stake_arrives(stage: Any, serving: Wallet) -> None:
    serving.on_receive(TRY, stage.inference, "serviceExists", serving.address)
    serving.do(stage.inference, "removeService")
    seen = stage.inference.decode("serviceExists", stage.read("answer", to=serving.contract))
    assert seen is False


def test_a_user_cannot_be_charged_while_a_refund_is_under_way(stage: Any, serving: Wallet) -> None:
    """spendFund takes the user's lock; the settlement passes its refusal on (0g-contracts A2)."""
    user = Wallet(stage)
    user.do(stage.ledger, "depositFund", value=20 * OG)
    user.do(stage.ledger, "transferFund", serving.address, SERVICE_NAME, 5 * OG)
    item = stage.item(user, serving, OG, 1)
    call = stage.inference.encode("settleFeesWithTEE", [item])
    user.on_receive(TRY, serving.contract, "execute", stage.inference.address, 0, call)
    user.do(stage.ledger, "refund", OG)
    assert user.answer() == ("LedgerLocked",)
    assert stage.read("getAccount", user.address, serving.address)["nonce"] == 0
    user.on_receive(ACCEPT)
    serving.do(stage.inference, "settleFeesWithTEE", [item])
    assert stage.read("getAccount", user.address, serving.address)["nonce"] == 1


def test_deleting_can_be_tried_again(stage: Any, wallet: Wallet) -> None:
    """Its guard is free after a success and after a refusal."""
    assert wallet.refused(stage.ledger, "deleteLedger") == ("MustWithdrawAllFundsFirst", 20 * OG)
    stage.open_service(stage.pat)
    for user in (stage.ann, stage.bob):
        stage.open_account(user, stage.pat, 3 * OG)
        stage.settle(stage.pat, stage.item(user, stage.pat, 3 * OG, 1))
        assert [name for name, _ in stage.do(user, "deleteLedger")] == ["AccountDeleted"]
