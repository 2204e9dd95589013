"""How many calls a second any number of workers makes on one database: what docs/fleet.md says can be redone on paper.

A worker thinks (the model answers, and everything else that no other worker waits for), then wants the budget's row.
That is a closed queue with one station, for which mean value analysis is exact where the row is held for times of any
one exponential length, and pessimistic where it is always held equally long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a number of workers comes to.

    Args:
        workers: How many.
        rate: Calls a second of all.
        wait: Seconds that a call waits for the budget's row.
    """

    workers: int
    rate: float
    wait: float


def fleet(lock: float, thought: float, counts: tuple[int, ...], shards: int = 1) -> Iterator[Load]:
    """The load for each of `counts`.

    Args:
        lock: Seconds for which a call holds the budget's row.
        thought: Seconds of a call beside that.
        counts: Numbers of workers, rising.
        shards: Rows among which the budget is divided; a call takes one of them.

    Example:
        >>> [round(load.rate) for load in fleet(0.01, 0.99, (1, 1000))]
        [1, 100]
    """
    queue = 0.0  # at each row, as an arriving call finds it
    for count in range(1, max(counts) + 1):
        at_row = lock * (1 + queue)
        rate = count / (thought + at_row)
        queue = rate / shards * at_row
        if count in counts:
            yield Load(count, rate, at_row - lock)


def knee(lock: float, thought: float, shards: int = 1) -> float:
    """Workers from which on more of them wait rather than work: where the two bounds meet.

    Example:
        >>> round(knee(0.01, 0.99))
        100
    """
    return shards * (lock + thought) / lock
