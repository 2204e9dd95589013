"""What the two contracts say to each other: IServing and spendFund, called directly (0g-contracts A4, B4, B6, C3)."""

from __future__ import annotations

from zg_core.localnet.chain import abi

from .stage import LEDGER, OG, SERVING, ZERO, Stage, service_params

ACCEPT, REFUSE = 0, 1


def _serving(stage: Stage, ledger: str) -> abi.Contract:
    """A serving contract of its own, for a ledger that is somebody else."""
    made = stage.clone("create a proxy", stage.create("create an implementation", "InferenceServing"))
    stage.do("initialise it", stage.owner, "initialize", 3600, ledger, stage.owner.address, to=made)
    return made


def only_the_ledger(stage: Stage) -> None:
    """CallerNotLedger is the first check of all five (B6)."""
    expected = ("CallerNotLedger", stage.ann.address)
    for function, args in {
        "addAccount": (ZERO, ZERO, ""),
        "depositFund": (ZERO, ZERO, 0),
        "requestRefundAll": (ZERO, ZERO),
        "processRefund": (ZERO, ZERO),
        "deleteAccount": (ZERO, ZERO),
    }.items():
        stage.refused(function, expected, stage.ann, function, *args, to=SERVING)


def a_ledger_that_is_a_person(stage: Stage) -> None:
    """Every check of IServing and what it returns (A5, A10, C2.7, C3)."""
    cat, user, provider = stage.cat, stage.ann.address, stage.pat.address
    made = _serving(stage, cat.address)

    def refused(name: str, expected: tuple[object, ...], function: str, *args: object, value: int = 0) -> None:
        stage.refused(name, expected, cat, function, *args, value=value, to=made)

    nobody, same = ("InvalidAddress", ZERO), ("ProviderCannotBeUser",)
    missing = ("AccountNotExists", user, provider)
    for function, last in (("addAccount", ""), ("depositFund", 0)):
        refused(f"{function}: neither", nobody, function, ZERO, ZERO, last)
        refused(f"{function}: no user", nobody, function, ZERO, provider, last)
        refused(f"{function}: no provider", nobody, function, user, ZERO, last)
        refused(f"{function}: the same", same, function, user, user, last)
    refused("deposit without an account", missing, "depositFund", user, provider, 0, value=1)
    for function in ("requestRefundAll", "processRefund"):
        refused(f"{function} without an account", missing, function, user, provider)
        refused(f"{function} for nobody", ("AccountNotExists", ZERO, ZERO), function, ZERO, ZERO)
    done = stage.do("delete without an account", cat, "deleteAccount", user, provider, to=made)
    assert done.events == [("AccountDeleted", {"user": user, "provider": provider, "refundedAmount": 0})]
    stage.do("add with nothing and a text of 5000", cat, "addAccount", user, provider, "x" * 5000, to=made)
    refused("add again", ("AccountExists", user, provider), "addAccount", user, provider, "", value=1)
    assert stage.do("request nothing", cat, "requestRefundAll", user, provider, to=made).events == []
    stage.do("deposit", cat, "depositFund", user, provider, 0, value=6 * OG, to=made)
    stage.do("request six", cat, "requestRefundAll", user, provider, to=made)
    stage.do("cancel two and deposit one", cat, "depositFund", user, provider, 2 * OG, value=OG, to=made)
    assert stage.read("four are pending", "getPendingRefund", user, provider, to=made) == 4 * OG
    stage.do("cancel more than there is", cat, "depositFund", user, provider, 99 * OG, to=made)
    assert stage.read("none are pending", "getPendingRefund", user, provider, to=made) == 0
    stage.do("request seven", cat, "requestRefundAll", user, provider, to=made)
    done = stage.do("process too early", cat, "processRefund", user, provider, to=made)
    assert (done.returned, done.events) == ((0, 7 * OG, 7 * OG), [])
    stage.later(100)
    stage.do("deposit three", cat, "depositFund", user, provider, 0, value=3 * OG, to=made)
    stage.do("request three", cat, "requestRefundAll", user, provider, to=made)
    stage.later(3500)
    done = stage.do("process seven", cat, "processRefund", user, provider, to=made)
    assert done.returned == (7 * OG, 3 * OG, 3 * OG)
    stage.read("what is left", "getAccount", user, provider, to=made)
    stage.do("a token", stage.ann, "revokeToken", provider, 4, to=made)
    stage.do("a generation", stage.ann, "revokeAllTokens", provider, to=made)
    done = stage.do("delete with coins", cat, "deleteAccount", user, provider, to=made)
    assert done.events[0][1]["refundedAmount"] == 3 * OG
    stage.do("add anew", cat, "addAccount", user, provider, "again", value=1, to=made)
    again = stage.read("nonce and generation are back, no refunds", "getAccount", user, provider, to=made)
    assert (again["generation"], again["refunds"], again["acknowledged"]) == (1, [], True)
    stage.read("the list", "getAllAccounts", 0, 0, to=made)


def a_ledger_that_refuses_coins(stage: Stage) -> None:
    wallet = stage.create("create a wallet", "test/ContractWallet")
    made = _serving(stage, wallet.address)

    def through(function: str, *args: object) -> tuple[str, int, bytes]:
        return made.address, 0, made.encode(function, *args)

    pair = (stage.ann.address, stage.pat.address)
    stage.do("coins", stage.eve, "execute", made.address, OG, made.encode("addAccount", *pair, ""), value=OG, to=wallet)
    stage.do("request", stage.eve, "execute", *through("requestRefundAll", *pair), to=wallet)
    stage.later(3600)
    stage.do("refuse coins from now on", stage.eve, "script", REFUSE, ZERO, b"", to=wallet)
    process = through("processRefund", *pair)
    stage.refused("process", ("TransferFailed",), stage.eve, "execute", *process, to=wallet)
    stage.do("accept them again", stage.eve, "script", ACCEPT, ZERO, b"", to=wallet)
    stage.do("process again", stage.eve, "execute", *process, to=wallet)


def settling_with_a_strange_ledger(stage: Stage) -> None:
    """One that has no code, or not this function: no fee can be booked, and there is no reason to pass on."""
    wallet = stage.create("create a wallet", "test/ContractWallet")
    for name, ledger in {"a person": stage.cat.address, "a wallet": wallet.address}.items():
        made = stage.clone(f"{name}: create a proxy", stage.create(f"{name}: an implementation", "InferenceServing"))
        stage.do(f"{name}: initialise", stage.owner, "initialize", 3600, ledger, stage.owner.address, to=made)
        params = service_params(stage.tee.address)
        stage.do(f"{name}: pat serves", stage.pat, "addOrUpdateService", params, value=100 * OG, to=made)
        stage.do(f"{name}: acknowledged", stage.owner, "acknowledgeTEESignerByOwner", stage.pat.address, to=made)
        pair, coins = (stage.ann.address, stage.pat.address), 5 * OG
        if ledger == wallet.address:
            data = made.encode("addAccount", *pair, "")
            stage.do(f"{name}: an account", stage.eve, "execute", made.address, coins, data, value=coins, to=wallet)
        else:
            stage.do(f"{name}: an account", stage.cat, "addAccount", *pair, "", value=coins, to=made)
        item = stage.item(stage.ann, stage.pat, OG, 1, contract=made.address)
        stage.refused(f"{name}: a fee", ("",), stage.pat, "settleFeesWithTEE", [item], to=made)
        free = stage.item(stage.ann, stage.pat, 0, 1, contract=made.address)
        stage.do(f"{name}: no fee", stage.pat, "settleFeesWithTEE", [free], to=made)


def spending(stage: Stage) -> None:
    """CallerNotRegisteredService, LedgerNotExists, InsufficientAvailableBalance by what is locked (A4)."""
    stranger = ("CallerNotRegisteredService", stage.ann.address)
    stage.refused("by a person, of nobody", stranger, stage.ann, "spendFund", ZERO, 1)
    wallet = stage.create("create a wallet", "test/ContractWallet")
    unwanted = ("DirectDepositsDisabled",)
    stage.refused("coins from it", unwanted, stage.ann, "execute", LEDGER.address, 1, b"", value=1, to=wallet)
    service = _scripted(stage)
    user = stage.ann.address

    def spend(amount: int) -> tuple[str, int, bytes]:
        return LEDGER.address, 0, LEDGER.encode("spendFund", user, amount)

    execute = "execute"
    stage.refused("no ledger", ("LedgerNotExists", user), stage.eve, execute, *spend(0), to=service)
    stage.fund(stage.ann, 10 * OG)
    stage.do("nothing", stage.eve, execute, *spend(0), to=service)
    few = ("InsufficientAvailableBalance", 0, 1)
    stage.refused("more than is locked", few, stage.eve, execute, *spend(1), to=service)
    stage.transfer("four to pat", stage.ann, stage.pat, 4 * OG)
    few = ("InsufficientAvailableBalance", 4 * OG, 4 * OG + 1)
    stage.refused("more than the four", few, stage.eve, execute, *spend(4 * OG + 1), to=service)
    done = stage.do("one of the four", stage.eve, execute, *spend(OG), to=service)
    assert done.events == [("FundSpent", {"user": user, "service": service.address, "amount": OG})]
    assert stage.read("only the total falls", "getLedger", user)["totalBalance"] == 9 * OG
    stage.do("coins from a service", stage.eve, execute, LEDGER.address, 5, b"", value=5, to=service)


def a_service_that_does_not_delete(stage: Stage) -> None:
    """Its refusal is swallowed and the list emptied; later it is not listed again (C2.7)."""
    service = _scripted(stage)
    user, pat = stage.ann.address, stage.pat.address
    no, yes = (0).to_bytes(32, "big"), (1).to_bytes(32, "big")

    def answer(name: str, function: str, reverts: bool, data: bytes) -> None:
        stage.do(name, stage.eve, "answer", SERVING.selector(function), reverts, data, to=service)

    answer("no account yet", "accountExists", False, no)
    answer("accounts can be added", "addAccount", False, b"")
    stage.fund(stage.ann, 5 * OG)
    stage.do("one account", stage.ann, "transferFund", pat, "text-v1", 2 * OG)
    stage.do("another", stage.ann, "transferFund", stage.quinn.address, "text-v1", 3 * OG)
    assert len(stage.read("both are listed", "getLedgerProviders", user, "text-v1")) == 2
    answer("accounts cannot be deleted", "deleteAccount", True, b"why")
    spend = LEDGER.encode("spendFund", user, 5 * OG)
    stage.do("all is spent", stage.eve, "execute", LEDGER.address, 0, spend, to=service)
    stage.do("the ledger is deleted all the same", stage.ann, "deleteLedger")
    assert stage.read("nothing is listed", "getLedgerProviders", user, "text-v1") == []
    answer("the account is still there", "accountExists", False, yes)
    answer("nothing is pending", "getPendingRefund", False, no)
    stage.fund(stage.ann, 5 * OG, "ann comes back")
    stage.refused("a deposit that is refused", ("CallFailed",), stage.ann, "transferFund", pat, "text-v1", 1)
    answer("deposits are taken", "depositFund", False, b"")
    stage.do("one neuron counts as for an old account", stage.ann, "transferFund", pat, "text-v1", 1)
    assert stage.read("it is not listed again", "getLedgerProviders", user, "text-v1") == []
    answer("more is pending than sent", "getPendingRefund", False, (3 * OG).to_bytes(32, "big"))
    stage.do("cancelled, no coins", stage.ann, "transferFund", pat, "text-v1", 2 * OG)
    stage.do("cancelled, one coin", stage.ann, "transferFund", pat, "text-v1", 4 * OG)
    stage.refused("a refund that reverts", ("",), stage.ann, "retrieveFund", [pat], "text-v1")
    answer("a refund that is too large", "processRefund", False, (2**255).to_bytes(32, "big") + no * 2)
    answer("requests are taken", "requestRefundAll", False, b"")
    stage.refused("twice the half of all", ("Panic", 0x11), stage.ann, "retrieveFund", [pat, pat], "text-v1")
    answer("a refund that says why not", "processRefund", True, LEDGER.encode("refund", 1))
    error = ("unknown", LEDGER.encode("refund", 1))
    stage.refused("passed on as it is", error, stage.ann, "retrieveFund", [pat], "text-v1")
    answer("an answer that is too short", "accountExists", False, yes[:31])
    stage.refused("too short", ("",), stage.ann, "transferFund", pat, "text-v1", OG)
    answer("an answer that is no truth", "accountExists", False, (2).to_bytes(32, "big"))
    stage.refused("no truth", ("",), stage.ann, "transferFund", pat, "text-v1", OG)


def _scripted(stage: Stage) -> abi.Contract:
    """A service that answers as told, registered as text-v1."""
    made = stage.create("create a scripted service", "test/ScriptedService")
    for interface, truth in (("01ffc9a7", 1), ("ffffffff", 0), ("160841b1", 1)):
        word = truth.to_bytes(32, "big")
        stage.do(f"interface {interface}", stage.eve, "answerInterface", bytes.fromhex(interface), False, word, to=made)
    stage.do("register it", stage.owner, "registerService", "text", "v1", made.address, "")
    return made


SCENARIOS = (
    only_the_ledger,
    a_ledger_that_is_a_person,
    a_ledger_that_refuses_coins,
    settling_with_a_strange_ledger,
    spending,
    a_service_that_does_not_delete,
)
