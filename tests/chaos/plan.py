"""What happens in a storm, drawn from a seed: which calls are made, how, where, and what goes wrong with each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from zg_core.localnet import Fault, ProviderSpec

CALLS = 1_000
PROVIDERS = 5
LAGGING = 4  # the provider that remembers accounts for two minutes, as the real ones do
SPECS = [
    ProviderSpec(model="chat-ml"),
    ProviderSpec(model="chat-tls", kind="TeeTLS", input_price=50_000_000_000, output_price=150_000_000_000),
    ProviderSpec(model="chat-separated", kind="TeeML-separated", input_price=80_000_000_000),
    ProviderSpec(model="chat-ml-2", input_price=70_000_000_000, output_price=280_000_000_000),
    ProviderSpec(model="chat-lagging", cache_divisor=None),
]
WAYS = ("create", "stream", "left", "agent")
_WEIGHTS = (35, 30, 4, 31)

# One call in so many meets one of these, beside the weather of its wave. The same fault comes with other options.
_ODDS = 3
_FAULTS: list[tuple[int, Fault, int | None, dict[str, Any]]] = [
    (22, Fault.CUT_BEFORE_FIRST_BYTE, 1, {}),
    (14, Fault.CUT_BEFORE_FIRST_BYTE, 1, {"billed": False}),
    (8, Fault.CUT_AFTER_FIRST_BYTE, 1, {}),
    (3, Fault.CUT_AFTER_FIRST_BYTE, 1, {"billed": False}),
    (5, Fault.TRUNCATED_STREAM, 1, {}),
    (5, Fault.HANG, 1, {}),
    (2, Fault.HANG, 1, {"billed": False}),
    (10, Fault.SLOW_DRIP, 1, {"size": 64, "delay": 0.002}),
    (8, Fault.RATE_LIMITED, 1, {}),
    (5, Fault.RATE_LIMITED, None, {}),
    (6, Fault.UNAVAILABLE, 1, {}),
    (3, Fault.UNAVAILABLE, None, {}),
    (6, Fault.REFUSED_AFTER_SERVICE, 1, {"status": 503}),
    (4, Fault.REFUSED_AFTER_SERVICE, 1, {"status": 429}),
    (4, Fault.REFUSED_AFTER_SERVICE, 1, {"status": 500}),
    (3, Fault.REFUSED_AFTER_SERVICE, 1, {"status": 520}),
    (3, Fault.REFUSED_AFTER_SERVICE, 1, {"status": 403}),
    (3, Fault.REFUSED_AFTER_SERVICE, None, {"status": 503}),
    (4, Fault.SESSION_REJECTED, 1, {}),
    (4, Fault.SIGNATURE_LATE, 1, {}),
    (3, Fault.CLOCK_AHEAD, 1, {"seconds": 600}),
    (2, Fault.CLOCK_AHEAD, None, {}),
]


@dataclass(frozen=True)
class Trouble:
    """A fault that waits for one call. `times` None: for all its attempts."""

    fault: Fault
    times: int | None
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        unbilled = "" if self.options.get("billed", True) else ", unbilled"
        status = f" ({self.options['status']})" if "status" in self.options else ""
        return f"{self.fault.value}{status}{'' if self.times else ' always'}{unbilled}"


@dataclass(frozen=True)
class Task:
    """One call, or one run of an agent: several calls.

    Attributes:
        number: Which of the storm.
        wave: In which wave it is made.
        way: Whole, as a stream, as a stream that the reader leaves, or by an agent with a tool.
        loop: On an event loop instead of in a thread.
        provider: Which provider.
        fresh: With a client of its own, which knows nothing of the chain yet.
        poor: Paid by a wallet that has hardly anything at this provider.
        trouble: What goes wrong with it.
    """

    number: int
    wave: int
    way: str
    loop: bool
    provider: int
    fresh: bool = False
    poor: bool = False
    trouble: Trouble | None = None

    @property
    def mark(self) -> str:
        """A word that is in this task's requests and in no other's; no digits, since the model calculates."""
        return "case-" + "".join(chr(ord("a") + int(digit)) for digit in f"{self.number:05d}") + "z"

    @property
    def question(self) -> str:
        """What is asked."""
        if self.way == "agent":
            return f"What is 6 times 7? Use the multiply tool. {self.mark}"
        return f"Repeat after me: the quick brown fox jumps over the lazy dog, {self.mark}"


WEATHER = (
    "calm",
    "a provider dies",
    "429 storm",
    "prices raised",
    "signer changed",
    "chain RPC down",
    "accounts lag",
    "clock skew",
    "all at once",
    "calm again",
)
KILLED, STORMY, PRICED, ROTATED, OUTAGE, LAG, SKEW, ALL = range(1, 9)


def draw(seed: int) -> list[list[Task]]:
    """The waves of a storm."""
    chance = random.Random(seed)
    weights, *_ = zip(*_FAULTS, strict=True)
    size = CALLS // len(WEATHER)
    waves = []
    for wave in range(len(WEATHER)):
        tasks = []
        for number in range(wave * size, (wave + 1) * size):
            trouble = None
            if chance.randrange(_ODDS) == 0:
                _, fault, times, options = chance.choices(_FAULTS, weights)[0]
                trouble = Trouble(fault, times, options)
            provider = chance.randrange(PROVIDERS)
            tasks.append(
                Task(
                    number,
                    wave,
                    chance.choices(WAYS, _WEIGHTS)[0],
                    chance.random() < 0.5,
                    provider,
                    fresh=wave in (OUTAGE, ALL) and chance.random() < 0.4,
                    poor=wave == LAG and provider == LAGGING,
                    trouble=trouble,
                )
            )
        waves.append(tasks)
    return waves
