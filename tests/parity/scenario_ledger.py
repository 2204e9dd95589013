"""Ledgers: deposits, texts, withdrawals, deletion (0g-contracts A2 to A4, A9, B7, B8, C2)."""

from __future__ import annotations

from zg_core.localnet.chain.genesis import SERVICE_NAME

from .stage import LEDGER, OG, SERVING, ZERO, Stage

LONG = "x" * 4097
MIN = 3 * OG


def adding_a_ledger(stage: Stage) -> None:
    """MinimumDepositRequired, AdditionalInfoTooLong, LedgerExists, in this order (A3)."""
    low, long = ("MinimumDepositRequired", MIN - 1, MIN), ("AdditionalInfoTooLong", 4097, 4096)
    stage.refused("too little and too long", low, stage.ann, "addLedger", LONG, value=MIN - 1)
    stage.refused("nothing", ("MinimumDepositRequired", 0, MIN), stage.ann, "addLedger", "")
    stage.refused("too long", long, stage.ann, "addLedger", LONG, value=MIN)
    done = stage.do("the least", stage.ann, "addLedger", "", value=MIN)
    assert (done.returned, done.events) == ((MIN, 0), [])
    stage.refused("again, too little", low, stage.ann, "addLedger", LONG, value=MIN - 1)
    stage.refused("again, too long", long, stage.ann, "addLedger", LONG, value=MIN)
    stage.refused("again", ("LedgerExists", stage.ann.address), stage.ann, "addLedger", "", value=MIN)
    stage.do("the longest text", stage.bob, "addLedger", "y" * 4096, value=7 * OG)
    stage.do("a text of one word", stage.eve, "addLedger", "z" * 32, value=MIN)
    stage.do("a text that is no ASCII", stage.cat, "addLedger", "größe ☃", value=MIN)


def depositing(stage: Stage) -> None:
    stage.refused("nothing, without a ledger", ("ZeroAmountNotAllowed",), stage.ann, "depositFund")
    low = ("MinimumDepositRequired", MIN - 1, MIN)
    stage.refused("too little for the first time", low, stage.ann, "depositFund", value=MIN - 1)
    stage.do("the least makes a ledger", stage.ann, "depositFund", value=MIN)
    assert stage.read("its text is empty", "getLedger", stage.ann.address)["additionalInfo"] == ""
    stage.refused("nothing, with a ledger", ("ZeroAmountNotAllowed",), stage.ann, "depositFund")
    stage.do("one neuron more", stage.ann, "depositFund", value=1)
    for value in (0, MIN):
        stage.refused(f"{value} for nobody", ("ZeroAddressNotAllowed",), stage.ann, "depositFundFor", ZERO, value=value)
    bob = stage.bob.address
    stage.refused("nothing for bob", ("ZeroAmountNotAllowed",), stage.ann, "depositFundFor", bob)
    stage.refused("too little for bob", low, stage.ann, "depositFundFor", bob, value=MIN - 1)
    stage.do("ann makes bob a ledger", stage.ann, "depositFundFor", bob, value=MIN)
    stage.do("ann adds one neuron", stage.ann, "depositFundFor", bob, value=1)
    stage.do("a contract gets a ledger", stage.ann, "depositFundFor", SERVING.address, value=MIN)
    assert stage.read("two neuron in all", "getLedger", bob)["totalBalance"] == MIN + 1


def texts(stage: Stage) -> None:
    """AdditionalInfoTooLong, then LedgerNotExists (C2.2); a sub-account keeps the text it was made with."""
    long = ("AdditionalInfoTooLong", 4097, 4096)
    stage.refused("too long, without a ledger", long, stage.ann, "updateAdditionalInfo", LONG)
    missing = ("LedgerNotExists", stage.ann.address)
    stage.refused("without a ledger", missing, stage.ann, "updateAdditionalInfo", "")
    stage.do("ann opens a ledger", stage.ann, "addLedger", "first", value=10 * OG)
    stage.transfer("to pat", stage.ann, stage.pat, OG)
    done = stage.do("another text", stage.ann, "updateAdditionalInfo", "second " * 20)
    assert done.events == [("LedgerInfoUpdated", {"user": stage.ann.address, "additionalInfo": "second " * 20})]
    stage.transfer("to pat again", stage.ann, stage.pat, 1)
    stage.transfer("to quinn", stage.ann, stage.quinn, OG)
    assert stage.account(stage.ann, stage.pat)["additionalInfo"] == "first"
    assert stage.account(stage.ann, stage.quinn)["additionalInfo"] == "second " * 20
    stage.refused("too long", long, stage.ann, "updateAdditionalInfo", LONG)
    stage.do("the longest", stage.ann, "updateAdditionalInfo", "x" * 4096)
    stage.do("none", stage.ann, "updateAdditionalInfo", "")


def refunding(stage: Stage) -> None:
    """LedgerNotExists, InsufficientBalance, MinimumDepositRequired for the rest (C2.5)."""
    missing = ("LedgerNotExists", stage.ann.address)
    stage.refused("without a ledger", missing, stage.ann, "refund", 0)
    stage.fund(stage.ann, 10 * OG)
    for amount in (10 * OG + 1, 2**256 - 1):
        expected = ("InsufficientBalance", stage.ann.address)
        stage.refused(f"{amount} is too much", expected, stage.ann, "refund", amount)
    rest = ("MinimumDepositRequired", MIN - 1, MIN)
    stage.refused("leaving too little", rest, stage.ann, "refund", 7 * OG + 1)
    stage.refused("leaving one neuron", ("MinimumDepositRequired", 1, MIN), stage.ann, "refund", 10 * OG - 1)
    assert stage.do("nothing", stage.ann, "refund", 0).events == []
    stage.do("leaving the least", stage.ann, "refund", 7 * OG)
    stage.do("the rest, which deletes the ledger", stage.ann, "refund", MIN)
    stage.unreadable("it is gone", missing, "getLedger", stage.ann.address)
    stage.refused("nothing of what is gone", missing, stage.ann, "refund", 0)
    stage.fund(stage.bob, 5 * OG)
    stage.transfer("all to pat", stage.bob, stage.pat, 5 * OG)
    stage.do("nothing, while all is in a sub-account, keeps the ledger", stage.bob, "refund", 0)
    stage.refused("one neuron of nothing", ("InsufficientBalance", stage.bob.address), stage.bob, "refund", 1)


def deleting(stage: Stage) -> None:
    """What is spent to zero can be deleted: by refund(0) or by deleteLedger; nonce and generation come back (A5)."""
    missing = ("LedgerNotExists", stage.ann.address)
    stage.refused("without a ledger", missing, stage.ann, "deleteLedger")
    stage.serve(stage.pat)
    stage.serve(stage.quinn)
    for user in (stage.bob, stage.ann, stage.eve):
        stage.fund(user, 4 * OG)
    stage.refused("with coins", ("MustWithdrawAllFundsFirst", 4 * OG), stage.ann, "deleteLedger")
    stage.transfer("three to quinn", stage.ann, stage.quinn, 3 * OG)
    stage.transfer("one to pat", stage.ann, stage.pat, OG)
    stage.transfer("bob to pat", stage.bob, stage.pat, 2 * OG)
    stage.refused("with all in sub-accounts", ("MustWithdrawAllFundsFirst", 4 * OG), stage.ann, "deleteLedger")
    stage.do("a generation", stage.ann, "revokeAllTokens", stage.pat.address)
    stage.do("a token", stage.ann, "revokeToken", stage.pat.address, 7)
    stage.settle("pat takes all", stage.pat, stage.item(stage.ann, stage.pat, OG, 41))
    stage.refused("with some spent", ("MustWithdrawAllFundsFirst", 3 * OG), stage.ann, "deleteLedger")
    stage.settle("quinn takes all", stage.quinn, stage.item(stage.ann, stage.quinn, 3 * OG, 1))
    done = stage.do("with all spent", stage.ann, "deleteLedger")
    assert [(name, each["provider"]) for name, each in done.events] == [
        ("AccountDeleted", stage.quinn.address),
        ("AccountDeleted", stage.pat.address),
    ]
    gone = ("AccountNotExists", stage.ann.address, stage.pat.address)
    stage.unreadable("the sub-account is gone", gone, "getAccount", stage.ann.address, stage.pat.address)
    assert stage.read("no providers", "getLedgerProviders", stage.ann.address, SERVICE_NAME) == []
    stage.refused("twice", missing, stage.ann, "deleteLedger")
    stage.fund(stage.ann, 4 * OG, "ann comes back")
    stage.transfer("the sub-account again", stage.ann, stage.pat, OG)
    again = stage.account(stage.ann, stage.pat)
    assert (again["nonce"], again["generation"], again["revokedBitmap"]) == (41, 1, 0)
    stage.settle("the old nonce is used up", stage.pat, stage.item(stage.ann, stage.pat, OG, 41))
    stage.settle("the next is not", stage.pat, stage.item(stage.ann, stage.pat, OG, 42))
    stage.do("available coins back", stage.ann, "refund", 3 * OG)
    stage.unreadable("which deleted the ledger", missing, "getLedger", stage.ann.address)
    stage.settle("bob is spent", stage.pat, stage.item(stage.bob, stage.pat, 2 * OG, 1))
    stage.do("bob takes the rest", stage.bob, "refund", 2 * OG)
    ledgers, total = stage.read("one ledger is left", "getAllLedgers", 0, 0)
    assert ([each["user"] for each in ledgers], total) == ([stage.eve.address], 1)


def deleting_by_a_refund_of_nothing(stage: Stage) -> None:
    stage.serve(stage.pat)
    stage.fund(stage.ann, 3 * OG)
    stage.transfer("all to pat", stage.ann, stage.pat, 3 * OG)
    stage.settle("pat takes all", stage.pat, stage.item(stage.ann, stage.pat, 3 * OG, 1))
    assert stage.do("a refund of nothing", stage.ann, "refund", 0).names == ["AccountDeleted"]
    stage.unreadable("the ledger is gone", ("LedgerNotExists", stage.ann.address), "getLedger", stage.ann.address)


def order_of_ledgers(stage: Stage) -> None:
    """Insertion order; the last takes the place of a removed one (B8). Paging (A9)."""
    people = [stage.ann, stage.bob, stage.eve, stage.pat, stage.quinn]
    for user in people:
        stage.fund(user, 4 * OG)
    stage.do("bob leaves", stage.bob, "refund", 4 * OG)
    wanted = [each.address for each in (stage.ann, stage.quinn, stage.eve, stage.pat)]
    found, total = stage.read("all", "getAllLedgers", 0, 0)
    assert ([each["user"] for each in found], total) == (wanted, 4)
    stage.do("the last leaves", stage.pat, "refund", 4 * OG)
    stage.do("bob comes back", stage.bob, "depositFund", value=4 * OG)
    for offset, limit in [(0, 1), (1, 2), (3, 50), (2, 1000), (4, 1), (5, 0), (0, 2**256 - 1), (2**256 - 1, 2)]:
        stage.read(f"page from {offset} of {limit}", "getAllLedgers", offset, limit)
    stage.unreadable("a page past 2^256", ("Panic", 0x11), "getAllLedgers", 1, 2**256 - 1)


def transferring(stage: Stage) -> None:
    """The order of C2.3, and what comes back from inside as CallFailed."""
    pat = stage.pat.address
    no_ledger, no_service = ("LedgerNotExists", stage.ann.address), ("ServiceNotFound", ZERO)
    stage.refused("no ledger, no service", no_ledger, stage.ann, "transferFund", pat, "inference", 0)
    stage.refused("no ledger", no_ledger, stage.ann, "transferFund", pat, SERVICE_NAME, OG)
    stage.fund(stage.ann, 5 * OG)
    for name in ("inference", "", "inference-v1.0 ", "Inference-v1.0"):
        stage.refused(f"no service {name!r}", no_service, stage.ann, "transferFund", pat, name, 0)
    for amount in (0, OG - 1):
        expected = ("MinimumDepositRequired", amount, OG)
        stage.refused(f"{amount} is too little", expected, stage.ann, "transferFund", pat, SERVICE_NAME, amount)
    for amount in (5 * OG + 1, 2**256 - 1):
        expected = ("InsufficientAvailableBalance", 5 * OG, amount)
        stage.refused(f"{amount} is too much", expected, stage.ann, "transferFund", pat, SERVICE_NAME, amount)
    for name, provider in (("herself", stage.ann.address), ("nobody", ZERO)):
        stage.refused(f"to {name}", ("CallFailed",), stage.ann, "transferFund", provider, SERVICE_NAME, OG)
        low = ("MinimumDepositRequired", 1, OG)
        stage.refused(f"too little to {name}", low, stage.ann, "transferFund", provider, SERVICE_NAME, 1)
    done = stage.transfer("the least to a provider without a service", stage.ann, pat, OG)
    assert done.names == ["BalanceUpdated"]
    stage.transfer("nothing more", stage.ann, pat, 0)
    stage.transfer("one neuron more", stage.ann, pat, 1)
    stage.transfer("the rest", stage.ann, pat, 4 * OG - 1)
    few = ("InsufficientAvailableBalance", 0, 1)
    stage.refused("one more than there is", few, stage.ann, "transferFund", pat, SERVICE_NAME, 1)
    low = ("MinimumDepositRequired", OG - 1, OG)
    quinn = stage.quinn.address
    stage.refused("too little of nothing", low, stage.ann, "transferFund", quinn, SERVICE_NAME, OG - 1)
    few = ("InsufficientAvailableBalance", 0, OG)
    stage.refused("enough of nothing", few, stage.ann, "transferFund", quinn, SERVICE_NAME, OG)
    stage.transfer("to a contract", stage.ann, pat, 0)
    stage.fund(stage.bob, 5 * OG)
    stage.transfer("to the ledger as provider", stage.bob, LEDGER.address, OG)
    stage.transfer("to the serving contract as provider", stage.bob, SERVING.address, OG)
    stage.transfer("to ann, who is a user too", stage.bob, stage.ann, OG)


def fifty_providers(stage: Stage) -> None:
    """The 51st is refused after the minimum and before the balance (C2.3)."""
    stage.fund(stage.ann, 50 * OG)
    providers = [f"0x{number:040x}" for number in range(0x1000, 0x1033)]
    for number, provider in enumerate(providers[:50], 1):
        stage.transfer(f"provider {number}", stage.ann, provider, OG, look=number % 25 == 0)
    low, many = ("MinimumDepositRequired", 1, OG), ("TooManyProvidersForService", 50, 50)
    stage.refused("the 51st, too little", low, stage.ann, "transferFund", providers[50], SERVICE_NAME, 1)
    stage.refused("the 51st", many, stage.ann, "transferFund", providers[50], SERVICE_NAME, OG)
    stage.transfer("one of the 50", stage.ann, providers[49], 0)
    too_many = ("TooManyProviders", 21, 20)
    stage.refused("retrieve from 21", too_many, stage.ann, "retrieveFund", providers[:21], SERVICE_NAME)
    stage.retrieve("retrieve from 20", stage.ann, *providers[:20])
    for offset, limit in [(0, 50), (49, 50), (50, 0)]:
        stage.read(f"accounts from {offset} of {limit}", "getAllAccounts", offset, limit)
        stage.read(f"ann's accounts from {offset} of {limit}", "getAccountsByUser", stage.ann.address, offset, limit)
    assert len(stage.read("ann's providers", "getLedgerProviders", stage.ann.address, SERVICE_NAME)) == 50


SCENARIOS = (
    adding_a_ledger,
    depositing,
    texts,
    refunding,
    deleting,
    deleting_by_a_refund_of_nothing,
    order_of_ledgers,
    transferring,
    fifty_providers,
)
