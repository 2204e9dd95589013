"""Which provider a call goes to: what the user asks for, how candidates are ranked, and how the choice is explained.

Pure values: `zg_core.routing.failover` makes them of what a backend offers. Hard constraints come first, then a score;
what is not measured yet (or no longer) is tried before what is, so that it gets measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from zg_core.money import Amount
from zg_core.routing.health import Measured
from zg_core.shown.escaping import line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zg_core.backends.service import Service

__all__ = ["Candidate", "Explanation", "Standing", "failover", "ranked"]

_MILLION = 10**6
_Merit = tuple[float, int, bool, float, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """A service that meets all hard constraints, with what is known of it."""

    service: Service
    measured: Measured = field(default_factory=Measured)
    doubted: bool = False  # whoever watches it says that it is down
    price: float = field(init=False)
    """Units of an input and an output token, in the dearest tier; infinite where nothing but a list says it."""
    said: float = field(init=False)
    """The price that is said for short prompts, by the chain or by a list that nobody signs."""
    strength: int = field(init=False)
    """Of its kind."""
    key: str = field(init=False)
    """What decides between equals."""

    def __post_init__(self) -> None:
        """Work out once what calls compare again and again."""
        put, tariff, prices = object.__setattr__, self.service.tariff, dearest(self.service)
        put(self, "price", math.inf if prices is None else sum(prices))
        put(self, "said", math.inf if tariff is None else tariff.input_price + tariff.output_price)
        put(self, "strength", self.service.kind.strength)
        put(self, "key", self.service.provider.lower())

    def latency(self, *, stream: bool) -> float | None:
        """Seconds to the first byte of a stream or of a whole answer."""
        return self.measured.stream_latency if stream else self.measured.whole_latency


def ranked(standings: Iterable[Standing], sort: str | None, *, stream: bool = False) -> list[Standing]:
    """`standings`, the best first: by `sort`, then the stronger kind, the lower price, the address.

    Those that are known to fail come after all others. Without `sort`, nothing is measured: the kind comes first.
    """
    return _in_order([(_merit(one, sort, stream=stream), one) for one in standings], sort)


def failover(
    standings: Sequence[Standing], sort: str, *, stream: bool = False, pinned: str | None = None
) -> list[Standing]:
    """Those of `standings` that a call may go to, in order; `pinned` is the provider of its conversation.

    None is of a weaker kind than the first choice would be if all were well: a prompt must not come to a weaker kind
    because a stronger one has failed.
    """
    if not standings:
        return []
    weighed = [(_merit(one, sort, stream=stream), one) for one in standings]
    best = None if pinned is None else next((one for one in standings if one.service.provider == pinned), None)
    if best is None:
        _, best = min(weighed, key=itemgetter(0))
    order = _in_order([each for each in weighed if each[1].strength >= best.strength], sort)
    if best.service.provider == pinned and not (best.measured.shaky or best.doubted):
        order.sort(key=lambda one: one is not best)
    return order


def _in_order(weighed: list[tuple[_Merit, Standing]], sort: str | None) -> list[Standing]:
    def key(each: tuple[_Merit, Standing]) -> tuple[bool, _Merit]:
        merit, one = each
        return sort is not None and (one.doubted or one.measured.shaky), merit

    return [one for _, one in sorted(weighed, key=key)]


def _merit(one: Standing, sort: str | None, *, stream: bool) -> _Merit:
    score = 0.0
    if sort == "price":
        score = one.price
    elif sort == "latency":
        latency = one.latency(stream=stream)
        score = -1.0 if latency is None else latency
    elif sort == "throughput":
        throughput = one.measured.throughput
        score = -math.inf if throughput is None else -throughput
    tariff = one.service.tariff
    listed = tariff is None or tariff.listed
    return score, -one.strength, listed, one.price if sort is not None and not listed else one.said, one.key


def dearest(service: Service) -> tuple[int, int] | None:
    """The most that a token of a prompt and one of an answer cost, in units, in any tier (0g-direct §4.7).

    None where no more than a list says so, which nobody signs.
    """
    tariff = service.tariff
    return None if tariff is None or tariff.listed else (tariff.most(1, 0), tariff.most(0, 1))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One service of the model, and why it was or was not chosen.

    Attributes:
        service: The service.
        code: ``"chosen"``; ``"next"`` for those a call would fail over to; otherwise the machine-readable objection,
            such as ``"too_dear"``, ``"no_account"``, ``"weaker_kind"``, ``"cooling"``.
        reason: The same in words.
        rank: Place in the order of choice, 1 is the first; None if it is out.
        measured: What our calls have measured.
    """

    service: Service
    code: str
    reason: str
    rank: int | None = None
    measured: Measured = field(default_factory=Measured)

    @property
    def chosen(self) -> bool:
        """Whether the next call goes here."""
        return self.code == "chosen"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every service of a model, and why it was or was not chosen; ``str()`` is a table.

    Attributes:
        model: The model's name.
        by: What the order is by, in words.
        candidates: The best first, then those that are out.
    """

    model: str
    by: str
    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        """Where the next call goes; None if no service will do."""
        return next((candidate for candidate in self.candidates if candidate.chosen), None)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)

    def __str__(self) -> str:
        title = f"{len(self)} service{'' if len(self) == 1 else 's'} of {self.model!r}, by {self.by}"
        head = ("", "provider", "kind", "in / out (0G per million)", "first byte", "tokens/s", "failed", "why")
        rows = [head, *(tuple(map(line, _row(each))) for each in self.candidates)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        told = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join([title, *(each.rstrip() for each in told)])


def _row(candidate: Candidate) -> tuple[str, ...]:
    service, known = candidate.service, candidate.measured
    latency = known.whole_latency if known.stream_latency is None else known.stream_latency
    return (
        "-" if candidate.rank is None else str(candidate.rank),
        service.provider,
        str(service.kind),
        _prices(service),
        "?" if latency is None else f"{latency * 1000:.0f} ms",
        "?" if known.throughput is None else f"{known.throughput:.1f}",
        "?" if known.failures is None else f"{known.failures:.0%}",
        f"{candidate.code}: {candidate.reason}",
    )


def _prices(service: Service) -> str:
    tariff = service.tariff
    if tariff is None:
        return "?"
    said = f"{per_million(tariff.input_price)} / {per_million(tariff.output_price)}"
    return said if tariff.currency == "0G" else f"{said} {tariff.currency}"


def per_million(units: int) -> str:
    """A price per token, in the smallest unit of its currency, as one per million tokens in whole ones."""
    return str(Amount(units * _MILLION)).removesuffix(" 0G")
