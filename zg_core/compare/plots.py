"""Pictures of a comparison, readable in print and without colour: shapes and labels carry what colours repeat."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from zg_core.compare.summary import percentile, summarise
from zg_core.compare.targets import money
from zg_core.errors import ConfigError
from zg_core.types import Kind
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
    "verified, TeeTLS": ("D", "none"),
    "answer bound only": ("h", "#56B4E9"),
    "signer known only": ("v", "#CC79A7"),
    "cannot be verified": ("s", "#E69F00"),
    "not shown": ("^", "#999999"),
    "proven false": ("X", "#D55E00"),
}
# Of each answer: colour and hatch, from the best to the worst; what prints alike is hatched apart.
_ANSWERS = {
    "right, verified": ("#0072B2", ""),
    "right, verified, TeeTLS": ("#FFFFFF", "////"),
    "right, not verified": ("#E69F00", "..."),
    "not graded": ("#DDDDDD", ""),
    "wrong": ("#FFFFFF", ""),
    "failed or refused": ("#FFFFFF", "xxx"),
}
_INK = "#333333"
_DPI = 80  # in a notebook
_FAR_APART = 60  # from this ratio on, an axis is logarithmic
_BY_DEFAULT = ("price", "answers", "latency", "throughput")
_LINED_UP = _BY_DEFAULT  # a line for each target, so that the right one of a pair needs no names
_LINE = 0.27  # inches


def figure(rows: Sequence[Row], which: Sequence[str] = (), note: str = "") -> Any:
    """A matplotlib figure of the pictures named in `which`, four of them by default; see `Comparison.plot`."""
    if unknown := [name for name in which if name not in _PICTURES]:
        known = ", ".join(_PICTURES)
        raise ConfigError(f"there is no picture {unknown[0]!r}", code="bad_picture", hint=f"use {known}")
    try:
        names = list(which) or list(_BY_DEFAULT)
        made = [row for row in rows if row.sent]
        targets = list(dict.fromkeys(row.target for row in made))
        columns, lines = min(len(names), 2), -(-len(names) // 2)
        result = _new_figure(0.6 + 4.6 * columns, lines * (1.9 + max(2.9, _LINE * len(targets))))
    except ImportError as error:
        raise ImportError("plot() needs matplotlib: pip install 'zerog-integrations[notebooks]'") from error
    if note:
        result.supxlabel(note, fontsize=9, color=_INK)
    for number, name in enumerate(names, start=1):
        axes = result.add_subplot(lines, columns, number)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, colors=_INK)
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        if any(row.fee is not None for row in made):
            _PICTURES[name](axes, made, targets)
            if number % 2 == 0 and {name, names[number - 2]} <= set(_LINED_UP):
                axes.tick_params(labelleft=False)
        else:
            axes.text(0.5, 0.5, "no call was answered", ha="center", va="center", transform=axes.transAxes)
    return result


def _new_figure(width: float, height: float) -> Any:
    """A figure that shows itself in a notebook without pyplot, which would keep it and draw it twice."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            import io

            drawn = io.BytesIO()
            self.savefig(drawn, format="png", dpi=_DPI)
            return drawn.getvalue()

    return Picture(figsize=(width, height), layout="constrained")


def _relayed(row: Row) -> bool:
    """Whether a vendor outside any enclave answered, and read the prompt; the enclave shows which vendor it asked."""
    return row.kind == Kind.TEE_TLS


def _verdict(row: Row) -> str:
    if row.proven:
        return "verified, TeeTLS" if _relayed(row) else "verified"
    if row.bound:
        return "answer bound only"
    if row.signer_known:
        return "signer known only"
    if row.verdict == Status.FAILED:
        return "proven false"
    return "cannot be verified" if row.verdict == Status.NOT_VERIFIABLE else "not shown"


def _price(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    points, seen = [], set()
    for number, target in enumerate(targets):
        own = [row for row in rows if row.target == target]
        tokens = sum((row.tokens_in or 0) + (row.tokens_out or 0) for row in own)
        if tokens:
            price = sum(row.fee.units for row in own if row.fee is not None) / tokens * 1000
            verdicts = [_verdict(row) for row in own]
            points.append((price, number, max(_VERDICTS, key=verdicts.count)))
    factor, unit = _unit([price for price, _, _ in points], _currency(rows))
    for price, number, verdict in points:
        label = None if verdict in seen else verdict
        seen.add(verdict)
        axes.hlines(number, 0, price * factor, color=_INK, linewidth=0.8, alpha=0.4, zorder=2)
        axes.scatter(price * factor, number, s=60, zorder=3, label=label, **_marker(verdict))
    axes.set_xlim(0, 1.06 * max((price * factor for price, _, _ in points), default=1) or 1)
    _one_line_each(axes, targets)
    axes.set_xlabel(f"price of 1,000 tokens ({unit})", color=_INK, fontsize=9)
    axes.set_title("Price, and what was proven", loc="left", fontsize=11)
    _legend(axes)


def _cost(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    points = []
    for target in targets:
        for verdict in _VERDICTS:
            own = [row for row in rows if row.target == target and _verdict(row) == verdict and row.total_ms]
            tokens = sum((row.tokens_in or 0) + (row.tokens_out or 0) for row in own)
            if tokens:
                price = sum(row.fee.units for row in own if row.fee is not None) / tokens * 1000
                points.append((_values(own, "total_ms"), price, target, verdict))
    factor, unit = _unit([price for _, price, _, _ in points], _currency(rows))
    for times, price, _, verdict in points:
        axes.hlines(price * factor, min(times), max(times), color=_INK, linewidth=1.2, alpha=0.4, zorder=2)
        axes.scatter(percentile(times, 50), price * factor, s=75, zorder=3, **_marker(verdict))
    _spread(axes, "x", [time for times, _, _, _ in points for time in times])
    _spread(axes, "y", [price * factor for _, price, _, _ in points])
    _name_at_right(axes, [(max(times), price * factor, target, "#999999") for times, price, target, _ in points])
    for verdict in (verdict for verdict in _VERDICTS if any(verdict == point[3] for point in points)):
        axes.scatter([], [], s=55, label=verdict, **_marker(verdict))
    axes.set_xlabel("time to the whole answer (ms): median, fastest to slowest", color=_INK, fontsize=9)
    axes.set_ylabel(f"cost of 1,000 tokens ({unit})", color=_INK, fontsize=9)
    axes.set_title("Cost against latency: down and left is better", loc="left", fontsize=11)
    _legend(axes)


def _marker(verdict: str) -> dict[str, Any]:
    marker, colour = _VERDICTS[verdict]
    return {"marker": marker, "facecolor": colour, "edgecolor": _INK, "linewidth": 1.4 if colour == "none" else 0.6}


def _legend(axes: Any) -> None:
    """Below the picture; at its right end where names stand at its left, over which the legend may reach."""
    left = axes.get_subplotspec().colspan.start == 0
    place = {"loc": "upper right" if left else "upper left", "bbox_to_anchor": (1.0 if left else 0.0, _below(axes))}
    axes.legend(frameon=False, fontsize=9, ncols=2, columnspacing=1, **place)


def _below(axes: Any) -> float:
    """Where a legend begins: so many inches under the picture, whatever its height."""
    figure = axes.get_figure()
    height: float = figure.get_figheight() / axes.get_subplotspec().get_gridspec().nrows - 1.5
    return -0.45 / height


def _answers(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    sums = {each.target: each for each in summarise(rows)}
    ends = [0.0] * len(targets)
    for label, (colour, hatch) in _ANSWERS.items():
        shares = []
        for target in targets:
            own = [_answer(row) for row in rows if row.target == target]
            shares.append(100 * own.count(label) / len(own))
        if any(shares):
            look = {"color": colour, "hatch": hatch, "edgecolor": _INK, "linewidth": 0.6}
            axes.barh(range(len(targets)), shares, left=ends, height=0.62, label=label, zorder=2, **look)
            ends = [end + share for end, share in zip(ends, shares, strict=True)]
    for number, target in enumerate(targets):
        price = sums[target].cost_per_correct
        if sums[target].correct_rate is not None:
            said = "none right" if price is None else f"{'' if sums[target].cost_exact else '≥ '}{money(price)}"
            axes.annotate(said, (102, number), fontsize=9, color=_INK, va="center", annotation_clip=False)
    if any(each.correct_rate is not None for each in sums.values()):
        words = f"{_currency(rows)} per right answer"
        axes.annotate(words, (102, -0.75), fontsize=9, color=_INK, va="bottom", annotation_clip=False)
    _one_line_each(axes, targets)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the calls (%)", color=_INK, fontsize=9)
    axes.set_title("Answers", loc="left", fontsize=11)
    _legend(axes)


def _answer(row: Row) -> str:
    if row.error:
        return "failed or refused"
    if row.correct is None:
        return "not graded"
    if not row.correct:
        return "wrong"
    if not row.proven:
        return "right, not verified"
    return "right, verified, TeeTLS" if _relayed(row) else "right, verified"


def _one_line_each(axes: Any, targets: Sequence[str]) -> None:
    axes.set_yticks(range(len(targets)), targets)
    axes.set_ylim(len(targets) - 0.4, -0.6)


def _throughput(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    everything = []
    for number, target in enumerate(targets):
        if speeds := _values([row for row in rows if row.target == target], "tokens_per_second"):
            axes.hlines(number, min(speeds), max(speeds), color=_INK, linewidth=1.2, alpha=0.6, zorder=2)
            axes.scatter(percentile(speeds, 50), number, marker="o", s=45, color="#0072B2", edgecolor=_INK, zorder=3)
            everything += speeds
    _spread(axes, "x", everything)
    _one_line_each(axes, targets)
    axes.set_xlabel("answer tokens per second: median, range", color=_INK, fontsize=9)
    axes.set_title("Throughput", loc="left", fontsize=11)


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
    parts = (("first token", "first_token_ms", "#56B4E9", "//", -0.2), ("whole answer", "total_ms", "#D55E00", "", 0.2))
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
    _one_line_each(axes, targets)
    axes.set_xlabel("milliseconds: median, quartiles, range", color=_INK, fontsize=9)
    axes.set_title("Latency", loc="left", fontsize=11)
    _legend(axes)


def _spend(axes: Any, rows: Sequence[Row], targets: Sequence[str]) -> None:
    sums = {}
    for target in targets:
        fees = [0 if row.fee is None else row.fee.units for row in rows if row.target == target]
        sums[target] = [0, *accumulate(fees)]
    factor, unit = _unit([total[-1] for total in sums.values()], _currency(rows))
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
    axes.set_xlabel("calls to a target", color=_INK, fontsize=9)
    axes.set_ylabel(f"spent ({unit})", color=_INK, fontsize=9)
    axes.set_title("Spend, added up", loc="left", fontsize=11)


def _currency(rows: Sequence[Row]) -> str:
    return next((row.fee.currency for row in rows if row.fee is not None), "0G")


def _unit(units: Sequence[float], currency: str) -> tuple[float, str]:
    """What to multiply the smallest units by so that numbers are short, and the name of that unit."""
    most = max(units, default=0) / 10**18
    for power, name in ((0, ""), (3, "thousandths of "), (6, "millionths of ")):
        if most * 10**power >= 1:
            return 10.0 ** (power - 18), name + currency
    return 10.0 ** (9 - 18), f"billionths of {currency}"


def _spread(axes: Any, axis: str, values: Sequence[float]) -> None:
    """From nought on, or logarithmic where that would crowd most of `values`."""
    positive = [value for value in values if value > 0]
    if positive and len(positive) == len(values) and max(positive) / min(positive) > _FAR_APART:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        getattr(axes, f"set_{axis}scale")("log")
        ticks = getattr(axes, f"{axis}axis")
        ticks.set_major_locator(LogLocator(subs=(1, 3)))
        ticks.set_major_formatter(StrMethodFormatter("{x:g}"))
        ticks.set_minor_formatter(NullFormatter())
    else:
        getattr(axes, f"set_{axis}lim")(**{"left" if axis == "x" else "bottom": 0})


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [value for row in rows if (value := getattr(row, name))]


_PICTURES: dict[str, Callable[[Any, Sequence[Row], Sequence[str]], None]] = {
    "price": _price,
    "answers": _answers,
    "latency": _latency,
    "throughput": _throughput,
    "cost": _cost,
    "spend": _spend,
}
