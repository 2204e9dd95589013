"""Pictures of a comparison, readable in print and without colour: shapes and labels carry what colours repeat."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from zg_core.compare.summary import percentile
from zg_core.errors import ConfigError
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zg_core.compare.rows import Row

__all__ = ["figure"]

# Okabe and Ito's colours, which the colour-blind tell apart; yellow is left out, since it fades in print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
_VERDICTS = {
    "verified": ("o", "#0072B2"),
    "answer bound only": ("D", "#56B4E9"),
    "cannot be verified": ("s", "#E69F00"),
    "not shown": ("^", "#999999"),
    "proven false": ("X", "#D55E00"),
}
_INK = "#333333"
_DPI = 80  # in a notebook
_FAR_APART = 60  # from this ratio on, an axis is logarithmic


def figure(rows: Sequence[Row], which: Sequence[str] = ()) -> Any:
    """A matplotlib figure of the pictures named in `which`, all of them by default; see `Comparison.plot`."""
    if unknown := [name for name in which if name not in _PICTURES]:
        known = ", ".join(_PICTURES)
        raise ConfigError(f"there is no picture {unknown[0]!r}", code="bad_picture", hint=f"use {known}")
    try:
        result = _new_figure(5.4 * (len(which) or len(_PICTURES)))
    except ImportError as error:
        raise ImportError("plot() needs matplotlib: pip install 'zerog-integrations[notebooks]'") from error
    names = list(which) or list(_PICTURES)
    made = [row for row in rows if row.sent]
    targets = list(dict.fromkeys(row.target for row in made))
    for number, name in enumerate(names, start=1):
        axes = result.add_subplot(1, len(names), number)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, colors=_INK)
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        if any(row.fee is not None for row in made):
            _PICTURES[name](axes, made, targets)
        else:
            axes.text(0.5, 0.5, "no call was answered", ha="center", va="center", transform=axes.transAxes)
    return result


def _new_figure(width: float) -> Any:
    """A figure that shows itself in a notebook without pyplot, which would keep it and draw it twice."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            import io

            drawn = io.BytesIO()
            self.savefig(drawn, format="png", dpi=_DPI)
            return drawn.getvalue()

    return Picture(figsize=(width, 4.4), layout="constrained")


def _verdict(row: Row) -> str:
    if row.proven:
        return "verified"
    if row.bound:
        return "answer bound only"
    if row.verdict == Status.FAILED:
        return "proven false"
    return "cannot be verified" if row.verdict == Status.NOT_VERIFIABLE else "not shown"


def _cost(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    points = []
    for target in targets:
        for verdict in _VERDICTS:
            own = [row for row in rows if row.target == target and _verdict(row) == verdict and row.total_ms]
            tokens = sum((row.tokens_in or 0) + (row.tokens_out or 0) for row in own)
            if tokens:
                price = sum(row.fee.units for row in own if row.fee is not None) / tokens * 1000
                points.append((_values(own, "total_ms"), price, target, verdict))
    factor, unit = _unit([price for _, price, _, _ in points])
    for times, price, _, verdict in points:
        marker, colour = _VERDICTS[verdict]
        axes.hlines(price * factor, min(times), max(times), color=colour, linewidth=1.2, alpha=0.5, zorder=2)
        axes.scatter(
            percentile(times, 50), price * factor, marker=marker, s=85, color=colour, edgecolor="white", zorder=3
        )
    _spread(axes, "x", [time for times, _, _, _ in points for time in times])
    _spread(axes, "y", [price * factor for _, price, _, _ in points])
    _name_at_right(axes, [(max(times), price * factor, target, "#999999") for times, price, target, _ in points])
    for verdict in (verdict for verdict in _VERDICTS if any(verdict == point[3] for point in points)):
        marker, colour = _VERDICTS[verdict]
        axes.scatter([], [], marker=marker, s=60, color=colour, label=verdict)
    axes.set_xlabel("time to the whole answer (ms): median, fastest to slowest", color=_INK)
    axes.set_ylabel(f"cost of 1,000 tokens ({unit})", color=_INK)
    axes.set_title("Cost against latency", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=3, columnspacing=1)


def _name_at_right(axes: Any, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names beside the picture, none over another, each with a line to its point (x, y, name, colour)."""
    last = -1.0
    for x, y, name, colour in sorted(points, key=lambda point: point[1]):
        height = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))[1]
        last = max(height, last + 0.055)
        axes.annotate(
            name,
            (x, y),
            xytext=(1.03, last),
            textcoords="axes fraction",
            fontsize=9,
            color=_INK,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkB": 3},
            annotation_clip=False,
        )


def _latency(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    parts = (("first token", "first_token_ms", "#56B4E9", "//", 0.2), ("whole answer", "total_ms", "#D55E00", "", -0.2))
    everything = []
    for label, name, colour, hatch, offset in parts:
        columns = [_values([row for row in rows if row.target == target], name) for target in targets]
        everything += [value for column in columns for value in column]
        boxes = axes.boxplot(
            columns,
            positions=[number + offset for number in range(len(targets))],
            orientation="horizontal",
            widths=0.3,
            whis=(0, 100),
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black", "linewidth": 1.6},
            boxprops={"facecolor": colour, "alpha": 0.55, "hatch": hatch, "edgecolor": _INK},
            whiskerprops={"color": _INK},
            capprops={"color": _INK},
        )
        boxes["boxes"][0].set_label(label)
    _spread(axes, "x", everything)
    axes.set_yticks(range(len(targets)), targets)
    axes.set_ylim(len(targets) - 0.4, -0.6)
    axes.set_xlabel("milliseconds: median, quartiles, fastest to slowest", color=_INK)
    axes.set_title("Latency", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=3)


def _spend(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    sums = {}
    for target in targets:
        fees = [0 if row.fee is None else row.fee.units for row in rows if row.target == target]
        sums[target] = [0, *accumulate(fees)]
    factor, unit = _unit([total[-1] for total in sums.values()])
    ends = []
    for number, (target, total) in enumerate(sums.items()):
        colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
        heights = [value * factor for value in total]
        axes.step(range(len(total)), heights, where="post", linewidth=1.8, color=colour, linestyle=dashes)
        ends.append((len(total) - 1, heights[-1], target, colour))
    axes.set_xlim(0, max(len(total) for total in sums.values()) - 1 + 0.02)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _name_at_right(axes, ends)
    axes.set_xlabel("calls to a target", color=_INK)
    axes.set_ylabel(f"spent ({unit})", color=_INK)
    axes.set_title("Spend, added up", loc="left", fontsize=11)


def _unit(neuron: Sequence[float]) -> tuple[float, str]:
    """What to multiply neuron by so that numbers are short, and the name of that unit."""
    most = max(neuron, default=0) / 10**18
    for power, name in ((0, "0G"), (3, "thousandths of 0G"), (6, "millionths of 0G")):
        if most * 10**power >= 1:
            return 10.0 ** (power - 18), name
    return 10.0 ** (9 - 18), "billionths of 0G"


def _spread(axes: Any, axis: str, values: Sequence[float]) -> None:
    """From nought on, or logarithmic where that would crowd most of `values`."""
    positive = [value for value in values if value > 0]
    if positive and len(positive) == len(values) and max(positive) / min(positive) > _FAR_APART:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        getattr(axes, f"set_{axis}scale")("log")
        ticks = getattr(axes, f"{axis}axis")
        ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ticks.set_major_formatter(StrMethodFormatter("{x:g}"))
        ticks.set_minor_formatter(NullFormatter())
    else:
        getattr(axes, f"set_{axis}lim")(**{"left" if axis == "x" else "bottom": 0})


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [value for row in rows if (value := getattr(row, name))]


_PICTURES: dict[str, Callable[[Any, Sequence[Row], Sequence[str]], None]] = {
    "cost": _cost,
    "latency": _latency,
    "spend": _spend,
}
