"""A curve: one cost at growing sizes, as ratios to the smallest value of `ChatOpenAI` in the same run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.contenders import Server

THEIRS, OFF, REQUIRE = "ChatOpenAI", "ChatZeroG, off", "ChatZeroG, require"
UNIT = "unit"
"""The series whose one value all are relative to, where `ChatOpenAI` has no curve of its own."""
Point = tuple[str, float, float]


@dataclass(frozen=True)
class Run:
    """What a measurement has.

    Args:
        server: That answers.
        rounds: How often each is measured.
        receipts: So many are in the largest store.
    """

    server: Server
    rounds: int
    receipts: int


@dataclass(frozen=True)
class Curve:
    """What grows with what.

    Args:
        name: Of its files.
        title: Of picture and section.
        x: What grows.
        y: What it costs.
        reading: Why it is as it is, in one sentence that holds whatever the numbers are.
        measure: Takes the values: series, size, cost in any unit, the same for all.
    """

    name: str
    title: str
    x: str
    y: str
    reading: str
    measure: Callable[[Run], Iterator[Point]]


def data_of(curve: Curve, points: list[Point]) -> dict[str, Any]:
    """Ratios by series, in the order in which they came; the unit is gone."""
    unit = min(value for name, _, value in points if name == UNIT or (name == THEIRS and not _has_unit(points)))
    series: dict[str, dict[str, list[float]]] = {}
    for name, size, value in points:
        if name != UNIT:
            into = series.setdefault(name, {"x": [], "y": []})
            into["x"].append(size)
            into["y"].append(float(f"{value / unit:.3g}"))
    return {"title": curve.title, "x": curve.x, "y": curve.y, "series": series}


def _has_unit(points: list[Point]) -> bool:
    return any(name == UNIT for name, _, _ in points)


def exponent(series: Mapping[str, list[float]]) -> float:
    """Of the power of the size that fits the upper half of a series best (least squares of logarithms).

    Example:
        >>> exponent({"x": [1, 10, 100, 1000], "y": [7, 10, 100, 1000]})
        1.0
    """
    half = max(2, (len(series["x"]) + 1) // 2)
    xs, ys = ([math.log(each) for each in series[axis][-half:]] for axis in ("x", "y"))
    middle, height = sum(xs) / half, sum(ys) / half
    spread = sum((x - middle) ** 2 for x in xs)
    return round(sum((x - middle) * (y - height) for x, y in zip(xs, ys, strict=True)) / spread, 2) + 0.0


def said(number: float) -> str:
    """A number as people write it: three digits, thousands apart."""
    digits = max(0, 2 - math.floor(math.log10(number))) if number > 0 else 0
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def section(curve: Curve, data: Mapping[str, Any]) -> Iterator[str]:
    """The curve's part of the page."""
    parts = []
    for name, series in data["series"].items():
        parts.append(f"{name} {said(series['y'][-1])} (growing as the power {exponent(series):.2f})")
    largest = max(series["x"][-1] for series in data["series"].values())
    yield f"## {data['title']}"
    yield ""
    yield f"![{data['y']} against {data['x']}, both axes logarithmic](measured/{curve.name}.svg)"
    yield ""
    yield f"At {said(largest)} {data['x']}, in units of the picture: {'; '.join(parts)}. {curve.reading}"
    yield ""
