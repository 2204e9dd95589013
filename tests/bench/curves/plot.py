"""A log-log picture as SVG, readable on light and dark pages; nothing but text is needed to draw it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from tests.bench.curves.base import exponent, said

_WIDTH, _HEIGHT = 720, 400
_LEFT, _TOP, _RIGHT, _BOTTOM = 76, 44, 300, 54
_STYLE = """<style>
.page{fill:#ffffff}.ink{fill:#222222}.grid{stroke:#d8d8d8}.axis{stroke:#777777}
.c0{--c:#8a5a00}.c1{--c:#0a66c2}.c2{--c:#b3261e}.c3{--c:#0f7b3f}.c4{--c:#7a3db8}
@media (prefers-color-scheme: dark){
.page{fill:#1e2129}.ink{fill:#e4e4e4}.grid{stroke:#3a3f4b}.axis{stroke:#9a9a9a}
.c0{--c:#f0b63c}.c1{--c:#6cb4ff}.c2{--c:#ff8a80}.c3{--c:#66d19e}.c4{--c:#c9a2f5}}
.line{fill:none;stroke:var(--c);stroke-width:2}.mark{fill:var(--c)}
</style>"""
# Shapes beside colours, for whoever does not tell these apart.
_MARKS = (
    '<circle class="mark" cx="{x}" cy="{y}" r="4.5"/>',
    '<rect class="mark" x="{a}" y="{b}" width="8" height="8"/>',
    '<path class="mark" d="M{x} {b} l5 9 h-10 z"/>',
    '<path class="mark" d="M{x} {b} l5 5 l-5 5 l-5 -5 z"/>',
    '<path class="mark" d="M{a} {b} h3 v3 h3 v3 h-3 v3 h-3 v-3 h-3 v-3 h3 z"/>',
)


def render(data: Mapping[str, Any]) -> str:
    """The picture of a curve's data (`tests.bench.curves.base.data_of`)."""
    return "\n".join(_lines(data)) + "\n"


def _decades(values: list[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)
    return low, max(high, low + 1)


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    series = data["series"]
    across = _decades([x for each in series.values() for x in each["x"]])
    along = _decades([y for each in series.values() for y in each["y"]])
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def at_x(value: float) -> float:
        return round(_LEFT + (math.log10(value) - across[0]) / (across[1] - across[0]) * (right - _LEFT), 1)

    def at_y(value: float) -> float:
        return round(bottom - (math.log10(value) - along[0]) / (along[1] - along[0]) * (bottom - _TOP), 1)

    title = f"{data['title']}: {data['y']} against {data['x']}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-family="sans-serif" '
        'font-size="13">'
    )
    yield f"<title>{escape(title)}</title>"
    yield _STYLE
    yield f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    yield f'<text class="ink" x="{_LEFT}" y="26" font-weight="bold">{escape(data["title"])}</text>'
    for power in range(across[0], across[1] + 1):
        x = at_x(10.0**power)
        yield f'<path class="grid" d="M{x} {_TOP} V{bottom}"/>'
        yield f'<text class="ink" x="{x}" y="{bottom + 18}" text-anchor="middle">{_short(power)}</text>'
    for power in range(along[0], along[1] + 1):
        y = at_y(10.0**power)
        yield f'<path class="grid" d="M{_LEFT} {y} H{right}"/>'
        yield f'<text class="ink" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{_short(power)}</text>'
    yield f'<path class="axis" fill="none" d="M{_LEFT} {_TOP} V{bottom} H{right}"/>'
    middle, height = (_LEFT + right) / 2, (_TOP + bottom) / 2
    yield f'<text class="ink" x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(data["x"])}</text>'
    yield (
        f'<text class="ink" x="18" y="{height}" text-anchor="middle" transform="rotate(-90 18 {height})">'
        f"{escape(data['y'])}</text>"
    )
    for number, (name, each) in enumerate(series.items()):
        places = [(at_x(x), at_y(y)) for x, y in zip(each["x"], each["y"], strict=True)]
        yield f'<g class="c{number % 5}">'
        yield f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y in places)}"/>'
        yield "".join(_mark(number, x, y) for x, y in places)
        row = _TOP + 12 + 44 * number
        yield _mark(number, right + 24, row)
        yield f'<text class="ink" x="{right + 38}" y="{row + 4}">{escape(name)}</text>'
        last = f"∝ size^{exponent(each):.2f}, at most {said(max(each['y']))}"
        yield f'<text class="ink" x="{right + 38}" y="{row + 21}" font-size="12">{last}</text>'
        yield "</g>"
    yield "</svg>"


def _mark(number: int, x: float, y: float) -> str:
    return _MARKS[number % 5].format(x=x, y=y, a=round(x - 4, 1), b=round(y - 4.5, 1))


def _short(power: int) -> str:
    if power < 0:
        return f"{10.0**power:.{-power}f}"
    return f"{10 ** (power % 3)}{('', ' k', ' M', ' G')[power // 3]}"
