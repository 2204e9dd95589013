"""What a request costs, and the provider's own book of it. Integers, neuron (0g-direct §4.7)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zg_core.localnet.provider.settings import Tier


@dataclass(frozen=True)
class Usage:
    """Token counts as an answer reports them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @classmethod
    def from_json(cls, usage: Any) -> Usage | None:
        """Read a ``usage`` object; None if it is missing, null or all zero (then the provider estimates)."""
        if not isinstance(usage, dict):
            return None
        prompt = _count(usage.get("prompt_tokens"))
        completion = _count(usage.get("completion_tokens"))
        if prompt == completion == _count(usage.get("total_tokens")) == 0:
            return None
        details = usage.get("prompt_tokens_details")
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
        return cls(prompt, completion, min(cached, prompt))


def _count(value: Any) -> int:
    return max(int(value), 0) if isinstance(value, int | float | str) and str(value).isdigit() else 0


@dataclass(frozen=True)
class Prices:
    """Neuron per token before tiers, and how cached prompt tokens are billed."""

    input_price: int
    output_price: int
    tiers: tuple[Tier, ...] = ()
    cache_divisor: int | None = None

    def at(self, prompt_tokens: int) -> tuple[int, int]:
        """The input and output price for a prompt of this length."""
        if not self.tiers:
            return self.input_price, self.output_price
        fitting = (t for t in self.tiers if t.max_input_tokens == 0 or prompt_tokens <= t.max_input_tokens)
        tier = next(fitting, self.tiers[-1])
        return (
            self.input_price * tier.input_multiplier // tier.input_multiplier_denominator,
            self.output_price * tier.output_multiplier // tier.output_multiplier_denominator,
        )

    def fee(self, usage: Usage) -> tuple[int, int]:
        """The input and the output fee of an answer with this usage."""
        input_price, output_price = self.at(usage.prompt_tokens)
        cached = usage.cached_tokens if self.cache_divisor else 0
        input_fee = input_price * (usage.prompt_tokens - cached)
        if cached and self.cache_divisor:
            input_fee += input_price * cached // self.cache_divisor
        return input_fee, output_price * usage.completion_tokens

    def estimate(self, answer: str) -> tuple[int, int]:
        """The fees of an answer without usage: its words at the output price."""
        return 0, self.output_price * len(answer.split())


@dataclass(frozen=True)
class BillingEntry:
    """One billed request. Fees in neuron, time in unix seconds, hashes as lower-case hex."""

    user: str
    chat_id: str
    model: str
    usage: Usage | None
    input_fee: int
    output_fee: int
    request_sha256: str
    response_sha256: str
    time: float
    request_id: str
    """The provider's own number of the request: what a settlement's requestsHash is made of, unknown to the client."""
    stream: bool = False
    client_left: bool = False
    """Whether the client had gone before the last byte; it pays all the same."""
    received_sha256: str = ""
    """Hash of the request as the client sent it; `request_sha256` is of what was forwarded and signed."""
    units: int | None = None
    """What was counted, where it is not tokens of `usage`: images, seconds, tokens, or the words of an estimate."""
    unit: str = "tokens"
    """``tokens``, ``images``, ``seconds`` or ``estimate``."""
    settled: int = 0
    """Neuron of the fee that a settlement has collected."""
    settled_tx: str | None = None

    @property
    def fee(self) -> int:
        """The whole fee."""
        return self.input_fee + self.output_fee


class BillingLog:
    """The entries of one provider, oldest first. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[BillingEntry] = []
        self._unsettled: dict[str, int] = {}

    def add(self, entry: BillingEntry) -> None:
        """Write an entry."""
        with self._lock:
            self._entries.append(entry)
            self._unsettled[entry.user] = self._unsettled.get(entry.user, 0) + entry.fee - entry.settled

    def unsettled(self, user: str) -> int:
        """Neuron a user owes."""
        with self._lock:
            return self._unsettled.get(user, 0)

    def entries(self) -> list[BillingEntry]:
        """A copy of all entries."""
        with self._lock:
            return list(self._entries)

    def due(self, *, not_after: float) -> dict[str, list[BillingEntry]]:
        """Unsettled entries by user, of requests not younger than the given time."""
        with self._lock:
            by_user: dict[str, list[BillingEntry]] = {}
            for entry in self._entries:
                if entry.fee > entry.settled and entry.time <= not_after:
                    by_user.setdefault(entry.user, []).append(entry)
            return by_user

    def settle(self, paid: Mapping[str, tuple[Sequence[str], int]], tx: str) -> None:
        """Record payments.

        Args:
            paid: by user, the request ids a settlement was for and the neuron it collected.
            tx: the transaction.
        """
        with self._lock:
            left = {user: amount for user, (_, amount) in paid.items()}
            ids = {request_id for request_ids, _ in paid.values() for request_id in request_ids}
            for position, entry in enumerate(self._entries):
                if entry.request_id in ids and left.get(entry.user, 0) > 0:
                    part = min(entry.fee - entry.settled, left[entry.user])
                    left[entry.user] -= part
                    self._unsettled[entry.user] -= part
                    self._entries[position] = replace(entry, settled=entry.settled + part, settled_tx=tx)

    def save(self) -> list[BillingEntry]:
        """A copy of the state, for `restore`."""
        return self.entries()

    def restore(self, entries: Iterable[BillingEntry]) -> None:
        """Return to a saved state."""
        with self._lock:
            self._entries = list(entries)
            self._unsettled = {}
            for entry in self._entries:
                self._unsettled[entry.user] = self._unsettled.get(entry.user, 0) + entry.fee - entry.settled
