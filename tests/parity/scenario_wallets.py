"""Users and providers that are contracts: locks, re-entry, refused coins (0g-contracts A2, B5, C2.5, C6.5)."""

from __future__ import annotations

from typing import Any

from zg_core.localnet.chain import abi
from zg_core.localnet.chain.genesis import SERVICE_NAME

from .stage import LEDGER, OG, SERVING, ZERO, Done, Stage, refusal, service_params

ACCEPT, REFUSE, CALL, TRY = range(4)


class Wallet:
    """A contract wallet; what it does when coins arrive can be scripted."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name
        self.contract = stage.create(f"create {name}", "test/ContractWallet")
        self.address = self.contract.address

    def on_receive(self, name: str, what: int, to: abi.Contract = LEDGER, function: str = "", *args: Any) -> None:
        data = to.encode(function, *args) if function else b""
        self.stage.do(name, self.stage.eve, "script", what, to.address, data, to=self.contract)

    def do(self, name: str, to: abi.Contract, function: str, *args: Any, value: int = 0) -> Done:
        data = to.encode(function, *args)
        return self.stage.do(name, self.stage.eve, "execute", to.address, value, data, value=value, to=self.contract)

    def refused(self, name: str, expected: tuple[Any, ...], to: abi.Contract, function: str, *args: Any) -> None:
        data = to.encode(function, *args)
        self.stage.refused(name, expected, self.stage.eve, "execute", to.address, 0, data, to=self.contract)

    def answer(self, name: str) -> tuple[Any, ...]:
        """How the call that was tried ended."""
        found = refusal(LEDGER, self.stage.read(name, "answer", to=self.contract))
        self.stage.records.refusals.add(found[0])
        return found


def the_lock(stage: Stage) -> None:
    """It is tested before every other check (A2)."""
    wallet = Wallet(stage, "a wallet")
    wallet.do("it gets a ledger", LEDGER, "depositFund", value=20 * OG)
    calls: dict[str, tuple[Any, ...]] = {
        "addLedger": ("",),
        "updateAdditionalInfo": ("x" * 5000,),
        "depositFund": (),
        "refund": (0,),
        "transferFund": (stage.pat.address, "nope", 0),
        "retrieveFund": ([ZERO] * 21, "nope"),
        "deleteLedger": (),
        "depositFundFor": (wallet.address,),
    }
    for function, args in calls.items():
        wallet.on_receive(f"{function} when coins arrive", CALL, LEDGER, function, *args)
        wallet.refused(f"refund with {function} inside", ("TransferFailed",), LEDGER, "refund", OG)
        wallet.on_receive(f"{function} is tried", TRY, LEDGER, function, *args)
        wallet.do(f"refund with {function} tried inside", LEDGER, "refund", OG)
        assert wallet.answer(f"what {function} said") == ("LedgerLocked",)
    wallet.on_receive("a deposit for another is tried", TRY, LEDGER, "depositFundFor", stage.ann.address)
    wallet.do("refund with a deposit for another inside", LEDGER, "refund", OG)
    assert wallet.answer("the other is not locked") == ("ZeroAmountNotAllowed",)
    wallet.on_receive("a read is tried", CALL, LEDGER, "getLedger", wallet.address)
    wallet.do("refund with a read inside", LEDGER, "refund", OG)
    wallet.on_receive("coins are refused", REFUSE)
    for amount in (0, OG):
        wallet.refused(f"refund of {amount} to one who refuses", ("TransferFailed",), LEDGER, "refund", amount)
    wallet.on_receive("coins are accepted", ACCEPT)
    left = stage.read("what is left", "getLedger", wallet.address)["availableBalance"]
    wallet.do("all of it", LEDGER, "refund", left)


def a_provider_that_is_a_contract(stage: Stage) -> None:
    """One payment a call; refused coins undo it; two functions and deleteLedger cannot be re-entered (B5, C6.5)."""
    serving = Wallet(stage, "a provider")
    params = service_params(stage.tee.address)
    serving.do("it serves", SERVING, "addOrUpdateService", params, value=100 * OG)
    stage.do("it is acknowledged", stage.owner, "acknowledgeTEESignerByOwner", serving.address)
    stage.fund(stage.ann, 20 * OG)
    stage.transfer("ann to it", stage.ann, serving.address, 10 * OG)
    serving.on_receive("coins are refused", REFUSE)
    item = stage.item(stage.ann, serving.address, OG, 1)
    serving.refused("settle", ("TransferFailed",), SERVING, "settleFeesWithTEE", [item])
    serving.refused("remove", ("TransferFailed",), SERVING, "removeService")
    free = stage.item(stage.ann, serving.address, 0, 1)
    serving.do("settle nothing", SERVING, "settleFeesWithTEE", [free])
    for number, (outer, inner) in enumerate(
        [
            ("settleFeesWithTEE", "settleFeesWithTEE"),
            ("settleFeesWithTEE", "removeService"),
            ("settleFeesWithTEE", "getAccount"),
            ("removeService", "settleFeesWithTEE"),
            ("removeService", "removeService"),
        ]
    ):
        name = f"{number}: {inner} inside {outer}"
        args: tuple[Any, ...] = {
            "settleFeesWithTEE": ([],),
            "removeService": (),
            "getAccount": (stage.ann.address, serving.address),
        }[inner]
        serving.on_receive(f"{name}, prepared", TRY, SERVING, inner, *args)
        items = [stage.item(stage.ann, serving.address, OG // 10, 2 + 3 * number + each) for each in range(3)]
        serving.do(name, SERVING, outer, *([items] if outer == "settleFeesWithTEE" else []))
        answer = stage.read(f"{name}, the answer", "answer", to=serving.contract)
        if inner != "getAccount":
            assert refusal(SERVING, answer) == ("Error", "ReentrancyGuard: reentrant call")
        if outer == "removeService":
            stage.read(f"{name}, payments", "received", to=serving.contract)
            serving.do(f"{name}, served again", SERVING, "addOrUpdateService", params, value=100 * OG)


def charging_during_a_refund(stage: Stage) -> None:
    """spendFund takes the user's lock, and the settlement passes its refusal on (A2)."""
    serving, user = Wallet(stage, "a provider"), Wallet(stage, "a user")
    serving.do("it serves", SERVING, "addOrUpdateService", service_params(stage.tee.address), value=100 * OG)
    stage.do("it is acknowledged", stage.owner, "acknowledgeTEESignerByOwner", serving.address)
    user.do("the user deposits", LEDGER, "depositFund", value=20 * OG)
    user.do("the user transfers", LEDGER, "transferFund", serving.address, SERVICE_NAME, 5 * OG)
    item = stage.item(user.address, serving.address, OG, 1)
    settle = SERVING.encode("settleFeesWithTEE", [item])
    user.on_receive("the provider settles", TRY, serving.contract, "execute", SERVING.address, 0, settle)
    user.do("a refund", LEDGER, "refund", OG)
    assert user.answer("the settlement") == ("LedgerLocked",)
    user.on_receive("nothing happens", ACCEPT)
    serving.do("the provider settles later", SERVING, "settleFeesWithTEE", [item])


def a_service_that_reenters_while_deleting(stage: Stage) -> None:
    """deleteLedger of one user cannot be entered from that of another (B5)."""
    wallet = Wallet(stage, "a user")
    wallet.do("it deposits", LEDGER, "depositFund", value=3 * OG)
    wallet.on_receive("it deletes when coins arrive", TRY, LEDGER, "deleteLedger")
    wallet.do("all back", LEDGER, "refund", 3 * OG)
    assert wallet.answer("the lock is met, not the guard") == ("LedgerLocked",)


SCENARIOS = (the_lock, a_provider_that_is_a_contract, charging_during_a_refund, a_service_that_reenters_while_deleting)
