"""Every measure of `make bench`: its name, what it has to reach, and what it was when that was decided.

`docs/speed.md` shows these, in this order (tests/docs/test_speed.py holds it to them).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """One measure.

    Args:
        name: As it is printed and shown.
        most: What may not be passed, or has to be reached where `at_least` is set.
        was: What was measured when the target was set, as text; empty where nobody had.
        unit: After the number.
        at_least: More is better.
        part: Of `make bench` that measures it: ``calls``, ``sizes``, ``serve`` or ``scale``.
    """

    name: str
    most: float
    was: str = ""
    unit: str = ""
    at_least: bool = False
    part: str = "calls"

    def reached(self, value: float) -> bool:
        """Whether a number meets it."""
        return value >= self.most if self.at_least else value <= self.most

    @property
    def text(self) -> str:
        """Sign, number and unit: ``≤ 0.3``."""
        return f"{'≥' if self.at_least else '≤'} {self.most:,g}{self.unit}"

    def said(self, value: float) -> str:
        """A number with its unit, as precise as it is of use."""
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
        return f"{value:,.{digits}f}{self.unit}"


def _calls() -> list[Target]:
    return [
        Target("invoke CPU, off / ChatOpenAI", 0.30, "0.37 to 0.45"),
        Target("invoke CPU, require / ChatOpenAI", 0.48, "0.57 to 0.81"),
        Target("invoke CPU, background / ChatOpenAI", 0.60, "0.92"),
        Target("SQLite receipts and a budget, more CPU a call", 1.0, "0.41 ms", " ms"),
        Target("200-chunk stream CPU, require / HTTP library", 2.5, "2.17"),
        Target("calls a second, 16 threads, require / ChatOpenAI", 1.5, "1.25", at_least=True),
        Target("calls a second, 16 tasks, require / ChatOpenAI", 3.0, "2.3", at_least=True),
        Target("calls a second, 16 threads, off / ChatOpenAI", 1.5, "2.19", at_least=True),
        Target("calls a second, 16 tasks, off / ChatOpenAI", 1.5, "3.78", at_least=True),
        Target("first token, after the HTTP library's", 1.0, "0.18 ms", " ms"),
        Target("TCP connections of 10 sync streams", 1),
        Target("import ChatZeroG / import BaseChatModel", 1.05, "1.08"),
        Target("start to first verified answer / ChatOpenAI's first", 1.2, "0.74"),
        Target("RSS after 20,000 calls, above that after 2,000", 5.0, "1.42 MB", " MB"),
        Target("import ZeroG / import FunctionCallingLLM", 1.03, "1.05"),
        *(
            target
            for how in ("sync", "async")
            for target in (
                Target(f"{how} chat CPU, off / OpenAILike", 0.75),
                Target(f"{how} chat CPU, require / OpenAILike", 1.0),
                Target(f"{how} 200-chunk stream CPU, require / OpenAILike", 0.35),
            )
        ),
        Target("sealed call of 1 kB CPU / unsealed require", 1.5),
        Target("x402 call within a session CPU / Direct require", 1.2),
        Target("routed call CPU / fixed provider", 1.05),
        Target("attestation of a real quote, all levels, offline", 5.0, unit=" ms"),
    ]


def _sizes() -> list[Target]:
    return [
        Target("prompt of 100 kB, require with a budget / ChatOpenAI", 0.60, "0.77", part="sizes"),
        Target("prompt of 1 MB, require with a budget / ChatOpenAI", 0.60, "1.99", part="sizes"),
        Target("prompt of 10 MB, require with a budget / ChatOpenAI", 0.60, "1.46 (without)", part="sizes"),
        Target("image of 4 MB, require / ChatOpenAI", 0.60, "1.60", part="sizes"),
        Target("history of 1,000 messages, off / ChatOpenAI", 0.06, "0.06", part="sizes"),
        Target("100 tools, off / ChatOpenAI", 0.39, "0.39", part="sizes"),
        Target("answer of 20,000 words in one piece, require / ChatOpenAI", 0.45, "0.68", part="sizes"),
        Target("200-chunk stream CPU, require / a model of constants", 1.6, "2.4", part="sizes"),
        Target("200-chunk stream CPU, require / ChatOpenAI", 0.11, "0.18", part="sizes"),
        Target("2,000-chunk stream CPU, require / ChatOpenAI", 0.11, "0.15", part="sizes"),
        Target("20,000-chunk stream CPU, require / ChatOpenAI", 0.11, "0.21", part="sizes"),
        Target("zerog --version / import typer, rich", 1.5, "4.7", part="sizes"),
        Target("zerog receipts list, empty / import typer, rich", 2.5, part="sizes"),
        Target("zerog budget show, empty / import typer, rich", 2.5, part="sizes"),
    ]


def _serve() -> list[Target]:
    return [
        Target("serve: first byte of a stream, through it / direct", 1.5, "1.18", part="serve"),
        Target("serve: the same, of a model that need not think", 1.5, "3.04", part="serve"),
        Target("serve: 200 streams at once, through it / direct", 2.0, "1.49", part="serve"),
        Target("serve: memory it gains while it serves on", 20.0, "2.64 MB", " MB", part="serve"),
    ]


def _scale() -> list[Target]:
    return [
        Target("1,000 streams at once, require: memory a stream", 100, unit=" kB", part="scale"),
        Target("1,000 streams at once, require: CPU / ChatOpenAI", 0.2, part="scale"),
        Target("choosing among 10,000 services", 50, unit=" ms", part="scale"),
        *(
            target
            for database in ("SQLite", "PostgreSQL")
            for target in (
                Target(f"{database}: disk a receipt, marks and indexes too", 1.5, "5.3 kB", " kB", part="scale"),
                Target(f"{database}: list page", 0.1, "seconds", " s", part="scale"),
                Target(f"{database}: list page of one provider", 0.1, "seconds", " s", part="scale"),
                Target(f"{database}: one receipt by its first digits", 0.1, unit=" s", part="scale"),
                Target(f"{database}: export a second, JSON", 20_000, "600", at_least=True, part="scale"),
                Target(f"{database}: export a second, CSV", 20_000, "600", at_least=True, part="scale"),
                Target(f"{database}: audit a second", 50_000, "1,100", at_least=True, part="scale"),
                Target(f"{database}: a call's CPU with a full store / with an empty one", 1.05, part="scale"),
            )
        ),
    ]


TARGETS = {target.name: target for target in (*_calls(), *_sizes(), *_serve(), *_scale())}
"""All of them by name."""


@dataclass(frozen=True)
class Row:
    """One measure that was taken.

    Args:
        name: Of a target.
        value: What was found.
        aside: Why it is not what the target is about (fewer receipts, say); then it is shown and not kept.
    """

    name: str
    value: float
    aside: str = ""
    target: Target = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", TARGETS[self.name])

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self.target.reached(self.value)
