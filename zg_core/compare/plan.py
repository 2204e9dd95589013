"""What a comparison will do, what that can cost at most, and how far a budget gets: known before anything is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from zg_core.compare.cache import key_of
from zg_core.compare.rows import Job, Row
from zg_core.jsontext import encode_body
from zg_core.money import Amount
from zg_core.receipts.bounds import upper_bound
from zg_core.shown.escaping import line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.compare.cache import Cache
    from zg_core.compare.inputs import Choice, Prompt
    from zg_core.config import Network

__all__ = ["Plan", "make_plan"]

# What the client adds to a payload to stream it; it counts as prompt in the upper bound.
_STREAMING = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True)
class Plan:
    """All calls of a comparison, in the order they are made: every target once, then every target again.

    Attributes:
        jobs: The calls.
        budget: What they may cost together; None: any amount.
        network: Where.
    """

    jobs: tuple[Job, ...]
    budget: Amount | None
    network: Network = field(repr=False)

    @property
    def calls(self) -> int:
        """How many calls there are, those included that are known already."""
        return len(self.jobs)

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return list(dict.fromkeys(job.choice.name for job in self.jobs))

    @property
    def new(self) -> tuple[Job, ...]:
        """The calls that have to be made, and paid."""
        return tuple(job for job in self.jobs if job.known is None)

    @property
    def most(self) -> Amount:
        """The most that the new calls can cost, those without a known price left out."""
        return Amount(sum(job.most or 0 for job in self.new), "0G" if self.budget is None else self.budget.currency)

    @property
    def unpriced(self) -> list[str]:
        """Targets whose price is not on chain.

        Under a budget they are not asked, unless it is their backend that bounds each call (Router, OpenGradient).
        """
        return list(dict.fromkeys(job.choice.name for job in self.new if job.most is None))

    @property
    def covered(self) -> int:
        """How many of the new calls the budget pays for in any case, each at its upper bound."""
        if self.budget is None:
            return len(self.new)
        sums = accumulate(job.most for job in self.new if job.most is not None)  # the others are never sent
        return sum(1 for units in sums if units <= self.budget.units)

    @property
    def enough(self) -> bool:
        """Whether the budget is enough for everything that has a price."""
        return self.budget is None or self.most <= self.budget

    def __str__(self) -> str:
        new = self.new
        text = f"{self.calls} calls to {len(self.targets)} targets"
        if len(new) < self.calls:
            text += f", {self.calls - len(new)} of them known already"
        text += f"; the new ones cost at most {self.most}" if new else "; nothing has to be paid"
        if self.unpriced:
            text += f" and what {', '.join(self.unpriced)} ask for, whose price is not on chain"
        return line(text)

    def shortfall(self) -> str:
        """How far a budget gets that is too small, in words."""
        return (
            f"the budget of {self.budget} is too small for {len(self.new)} calls, which cost at most {self.most}: "
            f"it pays for {self.covered} in any case, and for more as far as they cost less"
        )


def make_plan(
    choices: Sequence[Choice],
    prompts: Sequence[Prompt],
    *,
    network: Network,
    repeats: int,
    parameters: Mapping[str, Any],
    budget: Amount | None,
    cache: Cache | None,
    again: bool,
    way: str = "",
) -> Plan:
    """The calls, and what is known of them; `again` makes those anew that ended in an error.

    `way` is how they go, where it is not the plain one: a call through another backend, or sealed, is another call.
    """
    jobs, seen = [], Counter[str]()
    for repeat in range(1, repeats + 1):
        for prompt in prompts:
            for choice in choices:
                payload = {"model": choice.model, "messages": list(prompt.messages), **parameters}
                asked = {
                    "chain": network.chain_id,
                    "inference": network.inference.lower(),
                    "provider": choice.service.provider.lower(),
                    "payload": payload,
                    **({"way": way} if way else {}),
                }
                body = encode_body({**payload, **_STREAMING})
                same = key_of(asked)
                seen[same] += 1
                job = Job(
                    choice,
                    prompt,
                    repeat,
                    payload,
                    key_of({**asked, "time": seen[same]}),
                    None if choice.by_name else upper_bound(choice.service, body),
                )
                jobs.append(_looked_up(job, cache, again=again))
    return Plan(tuple(jobs), budget, network)


def _looked_up(job: Job, cache: Cache | None, *, again: bool) -> Job:
    value = None if cache is None else cache.get(job.key)
    row = None if value is None else Row.from_kept(job, value)
    if row is None or (again and row.error):
        return job
    return replace(job, known=row)
