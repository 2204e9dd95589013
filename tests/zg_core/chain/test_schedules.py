"""Random schedules of repetition, loss, delay, rewording and `kill -9`: each payment is made once, or is pending.

`ZEROG_FUZZ_SEED=…` makes other schedules, `ZEROG_SCHEDULES=120` runs one, `ZEROG_SCHEDULES=120:` those from there on.
`make test` runs 50 and `make test-heavy` 1,000.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.effort import SEED, tries
from tests.zg_core.chain.payer import KILLED, Payers, Turn
from zg_core.localnet import LocalNet
from zg_core.localnet.gateway.dialects import DIALECTS

OTHER = "0x" + "12" * 20
COUNT, RECEIPT, SEND = "eth_getTransactionCount", "eth_getTransactionReceipt", "eth_sendRawTransaction"
ANY = [COUNT, RECEIPT, SEND, "eth_estimateGas", "eth_call", "eth_maxPriorityFeePerGas", "eth_getTransactionByHash"]
SAID = ["request timed out", "Internal error", "nonce too low", "replacement transaction underpriced", "already known"]
SAID += ["txpool is full", "the sequencer is tired today", "", "timed out waiting for tx to be included in a block"]
LAGS = [COUNT, RECEIPT]
FORMS = ["error", "object"]
WAIT = ["txpool is full", "nonce too high", "transaction underpriced", "the sequencer is tired today"]
REFUSAL = "invalid sender"  # in known words, of what it has taken
FAULTS: list[Callable[[random.Random], tuple[str, dict[str, Any]]]] = [
    lambda _: ("repeated", {}),
    lambda r: ("reworded", {"dialect": r.choice(sorted(DIALECTS)), "times": r.randint(1, 3)}),
    lambda r: ("answered_with_error", {"words": r.choice([*SAID, REFUSAL]), "times": r.randint(1, 3)}),
    lambda r: ("answer_lost", {"times": r.randint(1, 3)}),
    lambda r: ("request_lost", {"times": r.randint(1, 3)}),
    lambda r: ("dropped", {"times": r.randint(1, 3)}),
    lambda r: ("delayed", {"requests": r.randint(2, 40)}),
    lambda r: ("refused", {"words": r.choice(WAIT), "times": r.randint(1, 4)}),
    lambda r: (
        "lagging",
        {"blocks": r.randint(1, 2), "times": r.choice([3, 20]), "method": r.choice(LAGS)},
    ),
    lambda r: ("lagging", {"times": r.randint(1, 40)}),
    lambda r: ("stuck", {"times": 40}),
    lambda r: ("receipt_hidden", {"times": r.choice([2, 40])}),
    lambda r: ("transaction_hidden", {"times": r.choice([2, 40])}),
    lambda r: ("count_raised", {"times": r.randint(1, 3), "by": r.randint(1, 2)}),
    lambda r: (
        "rate_limited",
        {"times": r.randint(1, 3), "method": r.choice(ANY), "form": r.choice(FORMS)},
    ),
    lambda r: ("junk", {"times": r.randint(1, 3), "method": r.choice(ANY), "status": r.choice([200, 502])}),
    lambda r: ("cut", {"times": r.randint(1, 3), "method": r.choice(ANY)}),
    lambda r: ("batch_refused", {"times": r.randint(1, 9), "form": r.choice(["object", "list", "cut"])}),
]


@dataclass
class Round:
    """What is paid at the same time, in 0G, and what goes wrong.

    Attributes:
        amounts: Each is paid by a process of its own.
        faults: What the node does.
        events: For the faults with these numbers: ``kill``, ``other``.
        dies: At which transaction of the store the first process ends, and whether before it is committed.
        mining: Whether anything is mined.
        sending: Of the processes.
        stubborn: For how many attempts the node is like that.
        looks: Whether the user looks at what is pending before he tries again.
    """

    amounts: list[int]
    faults: list[tuple[str, dict[str, Any]]]
    events: dict[int, str]
    dies: tuple[int, bool] | None
    mining: bool
    sending: dict[str, float]
    stubborn: int
    looks: bool


def schedule(number: int) -> list[Round]:
    """The schedule of that number."""
    r = random.Random(f"{SEED} {number}")
    amounts = r.sample(range(3, 40), 6)
    rounds = []
    for _ in range(r.choice([1, 1, 2, 3])):
        faults = [r.choice(FAULTS)(r) for _ in range(r.choice([0, 1, 1, 2, 2, 3, 4]))]
        events = {i: r.choice(["kill", "kill", "other"]) for i in range(len(faults)) if r.random() < 0.3}
        dies = (r.randint(1, 16), r.random() < 0.5) if r.random() < 0.3 else None
        quick = {"timeout": r.choice([0.1, 0.3, 0.6]), "heal_after": r.choice([0.02, 0.1]), "stuck_after": 0.1}
        count, mining = r.choice([1, 1, 2]), r.random() > 0.1
        paid, amounts = amounts[:count], amounts[count:]
        rounds.append(Round(paid, faults, events, dies, mining, quick, r.choice([1, 1, 2, 3]), r.random() < 0.5))
    return rounds


@dataclass
class Play:
    """One schedule, carried out by a fresh wallet."""

    net: LocalNet
    store: str
    payers: Payers
    wallet: Any = None
    began: int = 0
    done: set[int] = field(default_factory=set)
    warned: set[int] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wallet = self.net.new_wallet()
        self.net.chain.mine(2)  # a node that lags knows the wallet
        self.began = self.net.chain.block_number

    def job(self, sending: dict[str, float], **more: Any) -> dict[str, Any]:
        net = self.net
        where = {"network": "local", "rpc_url": net.rpc_url, "ledger": net.ledger, "inference": net.inference}
        where |= {"private_key": self.wallet.private_key, "environ": {}, "store": self.store}
        return {"broker": where, "sending": sending, **more}

    def paid(self) -> Counter[int]:
        """How often each amount was paid, as the chain itself says."""
        found: Counter[int] = Counter()
        for number in range(self.began, self.net.chain.block_number + 1):
            block = self.net.chain.block(number)
            for mined in block.transactions if block else ():
                ours = "0x" + mined.tx.sender.hex() == self.wallet.address.lower()
                if ours and mined.receipt.status and mined.tx.tx.value >= 10**18:
                    found[mined.tx.tx.value // 10**18] += 1
        return found

    def carry_out(self, rounds: list[Round]) -> None:
        for each in rounds:
            self.run(each)
        asked = sorted(amount for each in rounds for amount in each.amounts)
        assert self.paid() == Counter(asked)
        assert self.look(HONEST) == ([], 0)

    def run(self, it: Round) -> None:
        self.log.append(str(it))
        lies = any(options.get("words") == REFUSAL for _, options in it.faults)
        running: list[Turn] = []
        self.net.chain.automine = it.mining
        for i, (name, options) in enumerate(it.faults):
            self.net.node_fault(name, **options, then=self.event(it.events.get(i), running))
        for attempt in range(it.stubborn):
            if attempt and it.looks:
                self.look(it.sending)
            dies = it.dies if attempt == 0 else None
            self.pay(it.amounts, it.sending, dies, running, lies=lies)
        self.net.chain.automine = True
        self.net.clear_node_faults()
        for _ in range(2):
            self.look(HONEST, settles=True)
            self.pay(it.amounts, HONEST, None, [], lies=lies)
        assert self.done >= set(it.amounts), f"not paid through an honest node: {set(it.amounts) - self.done}"

    def pay(self, amounts: list[int], sending: dict[str, float], dies: Any, running: list[Turn], *, lies: bool) -> None:
        """Pay what is not known to be paid, each amount by a process of its own."""
        due = [amount for amount in amounts if amount not in self.done]
        jobs = [self.job(sending, pay=due[i], dies=None if i else dies) for i in range(len(due))]
        running[:] = [self.payers.run(job) for job in jobs]
        for amount, one in zip(due, list(running), strict=True):
            said = one.result()
            self.log.append(f"  pay {amount}: {said}")
            if said in ("paid", "transaction_mined"):
                self.done.add(amount)
            if said in ("transaction_pending", KILLED):
                self.warned.add(amount)
        running.clear()
        paid = self.paid()
        assert all(times == 1 for times in paid.values()), f"paid twice: {paid}"
        assert self.done <= set(paid), f"said to be paid: {self.done - set(paid)}"
        assert lies or set(paid) <= self.done | self.warned, f"nobody was told: {set(paid) - self.done - self.warned}"

    def look(self, sending: dict[str, float], *, settles: bool = False) -> Any:
        """Look at what is pending, and wait for it."""
        seen = self.payers.run(self.job(sending)).result()
        self.log.append(f"  look: {seen}")
        if not isinstance(seen, str):
            self.done |= {amount for amount, became in seen[0] if became == "mined"}
        assert not settles or seen[1] == 0, f"not settled: {seen}"
        return seen

    def event(self, name: str | None, running: list[Turn]) -> Callable[[], None] | None:
        def kill() -> None:
            self.log.append("  killed")
            for one in running[:1]:
                one.kill()

        def other() -> None:
            if self.net.chain.automine:
                self.log.append("  another program pays")
                self.net.chain.send(self.wallet.private_key, to=OTHER, value=1)

        return {"kill": kill, "other": other, None: None}[name]


HONEST = {"timeout": 1000, "heal_after": 0.05}


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=0) as network:
        yield network


@pytest.fixture(scope="module")
def payers() -> Iterator[Payers]:
    made = Payers()
    yield made
    made.close()


def wanted() -> list[tuple[int, ...]]:
    """The numbers of the schedules, ten by ten."""
    first, colon, last = os.environ.get("ZEROG_SCHEDULES", ":").partition(":")
    begin = int(first or 0)
    end = int(last or max(tries(1_000, 50), begin + 1)) if colon else begin + 1
    return [tuple(range(i, min(i + 10, end))) for i in range(begin, end, 10)]


@pytest.mark.fuzz
@pytest.mark.parametrize("numbers", wanted(), ids=lambda numbers: f"{numbers[0]}-{numbers[-1]}")
def test_each_payment_is_made_once_or_is_pending(
    net: LocalNet, payers: Payers, tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    failed = []
    for number in numbers:
        play = Play(net, f"sqlite:///{tmp_path}/{number}.db", payers)
        try:
            play.carry_out(schedule(number))
        except AssertionError as error:
            log = "\n".join(play.log)
            failed.append(f"ZEROG_FUZZ_SEED={SEED} ZEROG_SCHEDULES={number}: {error}\n{log}")
        finally:
            net.chain.automine = True
            net.clear_node_faults()
    assert not failed, "\n\n".join(failed)
