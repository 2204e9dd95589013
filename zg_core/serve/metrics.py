"""Sums of calls in the text form that Prometheus reads. Labels are strangers' words: escaped, short, not too many."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from zg_core.shown.escaping import line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.receipts.model import Receipt

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MOST_SERIES = 500
_OTHER = "other"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
Labels = tuple[tuple[str, str], ...]


class _Histogram:
    """Times, counted by how long they are at most."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """Counts what the server does; safe from many threads.

    Example:
        >>> metrics = Metrics()
        >>> metrics.refused("unknown_key")
        >>> 'zerog_serve_errors_total{code="unknown_key"} 1' in metrics.text(in_flight=0)
        True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[str, defaultdict[Labels, int]] = {name: defaultdict(int) for name in _COUNTERS}
        self._times: dict[str, dict[Labels, _Histogram]] = {name: {} for name in _TIMES}

    def call(self, receipt: Receipt) -> None:
        """A request that left has ended."""
        where = (("model", _label(receipt.model)), ("provider", _label(receipt.provider)))
        fee, usage, first = receipt.fee, receipt.usage, receipt.first_byte_seconds
        with self._lock:
            ended = (*where, ("outcome", receipt.outcome), ("verdict", str(receipt.verdict.status)))
            self._add("zerog_serve_calls_total", ended, 1)
            self._add("zerog_serve_fee_units_total", (*where, ("unit", fee.amount.unit)), fee.amount.units)
            if not fee.exact:
                self._add("zerog_serve_fees_not_exact_total", where, 1)
            for kind in ("prompt", "completion"):
                count = 0 if usage is None else getattr(usage, f"{kind}_tokens")
                self._add("zerog_serve_tokens_total", (*where, ("kind", kind)), count)
            self._time("zerog_serve_call_seconds", where, receipt.seconds)
            if first is not None:
                self._time("zerog_serve_first_byte_seconds", where, first)

    def late(self, receipt: Receipt) -> None:
        """The verdict of a call came, or changed, after its end."""
        with self._lock:
            self._add("zerog_serve_late_verdicts_total", (("verdict", str(receipt.verdict.status)),), 1)

    def refused(self, code: str) -> None:
        """An error was shown."""
        with self._lock:
            self._add("zerog_serve_errors_total", (("code", _label(code)),), 1)

    def _add(self, name: str, labels: Labels, amount: int) -> None:
        sums = self._sums[name]
        if labels not in sums and len(sums) >= _MOST_SERIES:
            labels = tuple((key, _OTHER) for key, _ in labels)
        sums[labels] += amount

    def _time(self, name: str, labels: Labels, seconds: float) -> None:
        times = self._times[name]
        if labels not in times and len(times) >= _MOST_SERIES:
            labels = tuple((key, _OTHER) for key, _ in labels)
        times.setdefault(labels, _Histogram()).add(seconds)

    def text(self, *, in_flight: int) -> str:
        """Everything, for ``/metrics``.

        Args:
            in_flight: Requests that are being answered now.
        """
        lines = ["# HELP zerog_serve_in_flight Requests being answered.", "# TYPE zerog_serve_in_flight gauge"]
        lines.append(f"zerog_serve_in_flight {in_flight}")
        with self._lock:
            for name, about in _COUNTERS.items():
                lines += [f"# HELP {name} {about}", f"# TYPE {name} counter"]
                lines += [f"{name}{_shown(labels)} {count}" for labels, count in self._sums[name].items()]
            for name, about in _TIMES.items():
                lines += [f"# HELP {name} {about}", f"# TYPE {name} histogram"]
                for labels, times in self._times[name].items():
                    lines += _histogram(name, labels, times)
        return "\n".join(lines) + "\n"


_COUNTERS = {
    "zerog_serve_calls_total": "Requests that left, by outcome and first verdict.",
    "zerog_serve_errors_total": "Errors that were shown, by code.",
    "zerog_serve_fee_units_total": "What calls cost, in the smallest unit of the currency.",
    "zerog_serve_fees_not_exact_total": "Calls of whose cost only bounds are known.",
    "zerog_serve_late_verdicts_total": "Verdicts that came or changed after the end of a call.",
    "zerog_serve_tokens_total": "Tokens as providers reported them.",
}
_TIMES = {
    "zerog_serve_call_seconds": "Seconds from sending a request to the end of its reply.",
    "zerog_serve_first_byte_seconds": "Seconds from sending a request to the first byte of its reply.",
}


def _histogram(name: str, labels: Labels, times: _Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip([*map(str, _SECONDS), "+Inf"], times.counts, strict=True):
        total += count
        yield f"{name}_bucket{_shown((*labels, ('le', bound)))} {total}"
    yield f"{name}_sum{_shown(labels)} {times.sum:.6f}"
    yield f"{name}_count{_shown(labels)} {total}"


def _label(text: str) -> str:
    return line(text)[:100]


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = ((key, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for key, value in labels)
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped) + "}"
