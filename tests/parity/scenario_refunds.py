"""Retrieving: pending refunds, their cancelling and maturing (0g-contracts A11, A12, C2.4, C3)."""

from __future__ import annotations

from zg_core.localnet.chain.genesis import SERVICE_NAME

from .stage import OG, ZERO, Stage

LOCK = 86_400


def the_worked_example(stage: Stage) -> None:
    """C3.8, amount by amount, with a settlement into the pending refunds at its end."""
    stage.serve(stage.pat)
    stage.fund(stage.ann, 70 * OG)
    stage.transfer("first transfer 32", stage.ann, stage.pat, 32 * OG)
    begin = stage.time
    stage.retrieve("retrieve at 0", stage.ann, stage.pat)
    assert stage.live(stage.ann, stage.pat) == [32 * OG]
    for amount, second in ((16, 200), (8, 400), (4, 600), (2, 800)):
        stage.time = begin + second
        stage.transfer(f"transfer {amount} at {second}", stage.ann, stage.pat, amount * OG)
        stage.retrieve(f"retrieve at {second}", stage.ann, stage.pat)
    assert stage.live(stage.ann, stage.pat) == [each * OG for each in (16, 8, 4, 2, 2)]
    stage.transfer("transfer 1", stage.ann, stage.pat, OG)
    assert stage.live(stage.ann, stage.pat)[-1] == OG
    many = ("TooManyRefunds", stage.ann.address, stage.pat.address)
    stage.refused("retrieve: too many", many, stage.ann, "retrieveFund", [stage.pat.address], SERVICE_NAME)
    stage.transfer("transfer 0.5", stage.ann, stage.pat, OG // 2)
    stage.time = begin + 86_450
    stage.retrieve("retrieve at 86450", stage.ann, stage.pat)
    assert stage.live(stage.ann, stage.pat) == [8 * OG, 4 * OG, 2 * OG, OG // 2, OG * 3 // 2]
    stage.time = begin + 86_750
    done = stage.retrieve("retrieve at 86750", stage.ann, stage.pat)
    assert done.events[-1] == (
        "RefundRequested",
        {"user": stage.ann.address, "provider": stage.pat.address, "index": 3, "timestamp": stage.time},
    )
    record = stage.account(stage.ann, stage.pat)
    assert stage.live(stage.ann, stage.pat) == [4 * OG, 2 * OG, OG // 2, OG * 3 // 2]
    assert (len(record["refunds"]), record["refunds"][4]["index"], record["refunds"][4]["amount"]) == (
        5,
        4,
        OG * 3 // 2,
    )
    stage.settle("settle 0.5", stage.pat, stage.item(stage.ann, stage.pat, OG // 2, 1))
    assert stage.live(stage.ann, stage.pat) == [4 * OG, 2 * OG, OG // 2, OG]
    stage.settle("settle 3, over several entries", stage.pat, stage.item(stage.ann, stage.pat, 3 * OG, 2))
    stage.settle("settle more than there is", stage.pat, stage.item(stage.ann, stage.pat, 50 * OG, 3))
    assert stage.live(stage.ann, stage.pat) == []


def small_steps_never_reach_five(stage: Stage) -> None:
    stage.fund(stage.ann, 20 * OG)
    stage.transfer("ten", stage.ann, stage.pat, 10 * OG)
    for number in range(8):
        stage.later(10)
        stage.retrieve(f"retrieve {number}", stage.ann, stage.pat)
        stage.transfer(f"one back {number}", stage.ann, stage.pat, OG)
    assert len(stage.live(stage.ann, stage.pat)) < 5


def checks_of_retrieving(stage: Stage) -> None:
    """TooManyProviders, ServiceNotFound, LedgerNotExists (C2.4)."""
    many = [f"0x{number:040x}" for number in range(1, 22)]
    stage.refused("21 of no service", ("TooManyProviders", 21, 20), stage.ann, "retrieveFund", many, "nope")
    stage.refused("20 of no service", ("ServiceNotFound", ZERO), stage.ann, "retrieveFund", many[:20], "nope")
    no_ledger = ("LedgerNotExists", stage.ann.address)
    stage.refused("without a ledger", no_ledger, stage.ann, "retrieveFund", [], SERVICE_NAME)
    stage.fund(stage.ann, 9 * OG)
    assert stage.retrieve("from nobody", stage.ann).events == []
    assert stage.retrieve("from strangers", stage.ann, *many[:20]).events == []
    stage.transfer("to pat", stage.ann, stage.pat, 2 * OG)
    stage.transfer("to quinn", stage.ann, stage.quinn, OG)
    done = stage.retrieve(
        "from one stranger, pat twice and quinn", stage.ann, many[0], stage.pat, stage.pat, stage.quinn
    )
    assert done.names == ["RefundRequested"] * 3
    done = stage.retrieve("nothing new to request", stage.ann, stage.pat)
    assert done.names == ["RefundRequested"], "it says so although nothing is new (C3.7)"


def maturing(stage: Stage) -> None:
    """At the second it is due, by the lock time that holds then (C1.3, C3.5)."""
    stage.fund(stage.ann, 30 * OG)
    stage.transfer("ten to pat", stage.ann, stage.pat, 10 * OG)
    stage.retrieve("ask for ten", stage.ann, stage.pat)
    stage.later(LOCK - 1)
    stage.retrieve("a second too early", stage.ann, stage.pat)
    stage.later(1)
    done = stage.retrieve("in time", stage.ann, stage.pat)
    assert done.names == ["BalanceUpdated"], "nothing is left to ask for"
    stage.retrieve("from an empty account", stage.ann, stage.pat)
    stage.transfer("four to pat", stage.ann, stage.pat, 4 * OG)
    stage.retrieve("ask for four", stage.ann, stage.pat)
    stage.later(3600)
    stage.retrieve("an hour is too early", stage.ann, stage.pat)
    stage.do("the lock time becomes an hour", stage.owner, "updateLockTime", 3600)
    stage.retrieve("an hour is enough", stage.ann, stage.pat)
    stage.transfer("five to pat", stage.ann, stage.pat, 5 * OG)
    stage.retrieve("ask for five", stage.ann, stage.pat)
    stage.do("the lock time becomes a week", stage.owner, "updateLockTime", 604_800)
    stage.later(LOCK)
    stage.retrieve("a day is too early", stage.ann, stage.pat)
    stage.transfer("two more", stage.ann, stage.quinn, 2 * OG)
    stage.later(604_800)
    stage.retrieve("pat and quinn after a week", stage.ann, stage.pat, stage.quinn)
    stage.later(604_800)
    stage.retrieve("the other way round, pat twice", stage.ann, stage.quinn, stage.pat, stage.pat)


def cancelling(stage: Stage) -> None:
    """Newest first; an equal amount removes the entry; the array keeps its tail (C3.3, C3.6)."""
    stage.fund(stage.ann, 60 * OG)
    stage.transfer("to pat", stage.ann, stage.pat, 8 * OG)
    stage.retrieve("ask", stage.ann, stage.pat)
    for number in range(3):
        stage.later(100)
        stage.transfer(f"more {number}", stage.ann, stage.pat, 9 * OG)
        stage.retrieve(f"ask {number}", stage.ann, stage.pat)
    stage.transfer("nothing cancels nothing", stage.ann, stage.pat, 0)
    newest = stage.live(stage.ann, stage.pat)[-1]
    stage.transfer("one neuron of the newest", stage.ann, stage.pat, 1)
    stage.transfer("the rest of the newest", stage.ann, stage.pat, newest - 1)
    stage.later(100)
    stage.retrieve("ask again, in the same place", stage.ann, stage.pat)
    pending = stage.account(stage.ann, stage.pat)["pendingRefund"]
    stage.transfer("all that is pending", stage.ann, stage.pat, pending)
    assert stage.live(stage.ann, stage.pat) == []
    stage.retrieve("ask for all", stage.ann, stage.pat)
    pending = stage.account(stage.ann, stage.pat)["pendingRefund"]
    stage.transfer("all that is pending and one neuron", stage.ann, stage.pat, pending + 1)
    few = ("InsufficientAvailableBalance", 60 * OG - pending - 1, 2**256 - 1)
    stage.refused("too much", few, stage.ann, "transferFund", stage.pat.address, SERVICE_NAME, 2**256 - 1)


def one_full_account_blocks_the_list(stage: Stage) -> None:
    stage.serve(stage.pat)
    stage.fund(stage.ann, 70 * OG)
    stage.transfer("to quinn", stage.ann, stage.quinn, 2 * OG)
    stage.transfer("to pat", stage.ann, stage.pat, 32 * OG)
    for number, amount in enumerate((16, 8, 4, 2)):
        stage.retrieve(f"ask {number}", stage.ann, stage.pat)
        stage.transfer(f"half back {number}", stage.ann, stage.pat, amount * OG)
    stage.retrieve("five entries", stage.ann, stage.pat)
    stage.retrieve("nothing new is legal with five", stage.ann, stage.pat)
    stage.transfer("a half", stage.ann, stage.pat, OG // 2)
    both = [stage.quinn.address, stage.pat.address]
    many = ("TooManyRefunds", stage.ann.address, stage.pat.address)
    stage.refused("quinn, then pat", many, stage.ann, "retrieveFund", both, SERVICE_NAME)
    stage.refused("pat, then quinn", many, stage.ann, "retrieveFund", both[::-1], SERVICE_NAME)
    stage.retrieve("quinn alone", stage.ann, stage.quinn)
    assert stage.read("pending", "getPendingRefund", *[each.address for each in (stage.ann, stage.pat)]) > 0
    stage.settle("a fee makes place", stage.pat, stage.item(stage.ann, stage.pat, 3 * OG, 1))
    stage.later(LOCK)
    stage.retrieve("all matured", stage.ann, stage.pat, stage.quinn)


SCENARIOS = (
    the_worked_example,
    small_steps_never_reach_five,
    checks_of_retrieving,
    maturing,
    cancelling,
    one_full_account_blocks_the_list,
)
