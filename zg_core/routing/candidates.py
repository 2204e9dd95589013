"""Which provider a call goes to: what the user asks for, how candidates are ranked, and how the choice is explained.

Pure values: `zg_core.routing.failover` reads the chain and makes them. Hard constraints come first, then a score; what
is not measured yet (or no longer) is tried before what is, so that it gets measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zg_core.money import Amount
from zg_core.pricing import Tariff
from zg_core.routing.health import Measured
from zg_core.shown.escaping import line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zg_core.types import Service

__all__ = ["Candidate", "Explanation", "Offer", "failover", "ranked"]

_MILLION = 10**6


@dataclass(frozen=True, slots=True)
class Offer:
    """A service that meets all hard constraints, with what is known of it."""

    service: Service
    measured: Measured = field(default_factory=Measured)
    doubted: bool = False  # the status API calls it critical

    @property
    def price(self) -> float:
        """Neuron of an input and an output token, in the dearest tier; infinite where the chain does not say."""
        prices = dearest(self.service)
        return math.inf if prices is None else sum(prices)

    @property
    def strength(self) -> int:
        """Of its kind."""
        return self.service.kind.strength

    def latency(self, *, stream: bool) -> float | None:
        """Seconds to the first byte of a stream or of a whole answer."""
        return self.measured.stream_latency if stream else self.measured.whole_latency


def ranked(offers: Iterable[Offer], sort: str | None, *, stream: bool = False) -> list[Offer]:
    """`offers`, the best first: by `sort`, then the stronger kind, the lower price, the address.

    Those that are known to fail come after all others. Without `sort`, nothing is measured: the kind comes first.
    """

    def key(offer: Offer) -> tuple[bool, float, int, float, str]:
        shaky = sort is not None and (offer.doubted or offer.measured.shaky)
        return (shaky, *_merit(offer, sort, stream=stream))

    return sorted(offers, key=key)


def failover(offers: Sequence[Offer], sort: str, *, stream: bool = False, pinned: str | None = None) -> list[Offer]:
    """Those of `offers` that a call may go to, in order; `pinned` is the provider of its conversation.

    None is of a weaker kind than the first choice would be if all were well: a prompt must not come to a weaker kind
    because a stronger one has failed.
    """
    if not offers:
        return []
    best = next((offer for offer in offers if offer.service.provider == pinned), None)
    if best is None:
        best = min(offers, key=lambda offer: _merit(offer, sort, stream=stream))
    order = ranked((offer for offer in offers if offer.strength >= best.strength), sort, stream=stream)
    if best.service.provider == pinned and not (best.measured.shaky or best.doubted):
        order.sort(key=lambda offer: offer is not best)
    return order


def _merit(offer: Offer, sort: str | None, *, stream: bool) -> tuple[float, int, float, str]:
    score = 0.0
    if sort == "price":
        score = offer.price
    elif sort == "latency":
        latency = offer.latency(stream=stream)
        score = -1.0 if latency is None else latency
    elif sort == "throughput":
        throughput = offer.measured.throughput
        score = -math.inf if throughput is None else -throughput
    service = offer.service
    price = offer.price if sort is not None else service.input_price + service.output_price
    return score, -offer.strength, price, service.provider.lower()


def dearest(service: Service) -> tuple[int, int] | None:
    """The most that a token of a prompt and one of an answer cost, in neuron, in any tier (0g-direct §4.7).

    None where the prices on chain are not those that are billed.
    """
    tariff = Tariff.of(service)
    return None if tariff is None else (tariff.most(1, 0), tariff.most(0, 1))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One service of the model, and why it was or was not chosen.

    Attributes:
        service: Its record on chain.
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
        f"{per_million(service.input_price)} / {per_million(service.output_price)}",
        "?" if latency is None else f"{latency * 1000:.0f} ms",
        "?" if known.throughput is None else f"{known.throughput:.1f}",
        "?" if known.failures is None else f"{known.failures:.0%}",
        f"{candidate.code}: {candidate.reason}",
    )


def per_million(neuron: int) -> str:
    """A price per token as one per million tokens, in 0G."""
    return str(Amount(neuron * _MILLION)).removesuffix(" 0G")
