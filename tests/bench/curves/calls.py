"""CPU of one call as its parts grow: prompt, picture, chunks and words of the answer, messages, tools."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.bench import contenders as who
from tests.bench.curves.base import OFF, REQUIRE, THEIRS, Curve, Point, Run
from tests.bench.measures import cpu_ms
from tests.bench.sizes import PROSE, history, tools_of

_Works = Callable[[Any, int], Callable[[], Any]]


@contextmanager
def _models(run: Run) -> Iterator[dict[str, Any]]:
    ours = {OFF: who.chat_zerog(run.server, "off"), REQUIRE: who.chat_zerog(run.server, "require")}
    yield {THEIRS: who.chat_openai(run.server), **ours}
    for model in ours.values():
        model.close()


def _curve(sizes: Sequence[int], prepared: _Works) -> Callable[[Run], Iterator[Point]]:
    def measure(run: Run) -> Iterator[Point]:
        with _models(run) as models:
            for size in sizes:
                works = {name: prepared(model, size) for name, model in models.items()}
                once = cpu_ms(works, 1, 1)[THEIRS]  # so many repeats that a clock's tick does not show
                found = cpu_ms(works, max(1, run.rounds // 4), max(1, min(10, int(20 / max(once, 0.1)))))
                for name, value in found.items():
                    yield name, float(size), value

    return measure


def _asking(prompt: Any) -> _Works:
    def prepared(model: Any, size: int) -> Callable[[], Any]:
        made = prompt(size)
        return lambda: model.invoke(made)

    return prepared


def _prose(size: int) -> str:
    return (PROSE * (size // len(PROSE) + 1))[:size]


def _picture(size: int) -> Any:
    url = "data:image/png;base64," + base64.b64encode(os.urandom(size * 3 // 4)).decode()
    return [("user", [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}])]


def _reading(model: Any, size: int) -> Callable[[], Any]:
    def work() -> None:
        for _ in model.stream(f"chunks={size}"):
            continue

    return work


def _with_tools(model: Any, size: int) -> Callable[[], Any]:
    bound = model.bind_tools(tools_of(size))
    return lambda: bound.invoke("Hello")


_CPU = "CPU of a call / ChatOpenAI's least"
CURVES = (
    Curve(
        "prompt",
        "A prompt",
        "bytes of prompt",
        _CPU,
        "Both write the text as JSON and send it; ours hashes it, too, since the signature is over what was sent.",
        _curve([10**3, 10**4, 10**5, 10**6, 10**7], _asking(_prose)),
    ),
    Curve(
        "image",
        "A picture in the prompt",
        "bytes of base64",
        _CPU,
        "Base64 has nothing to escape, so it is looked through and sent, and hashed by us.",
        _curve([10**3, 10**4, 10**5, 10**6, 10**7], _asking(_picture)),
    ),
    Curve(
        "chunks",
        "Chunks of a stream",
        "chunks",
        _CPU,
        "Each chunk is read, made into LangChain's and handed on by itself; LangChain keeps all of them to the end, "
        "which the garbage collector looks through again and again.",
        _curve([20, 200, 2000, 20_000], _reading),
    ),
    Curve(
        "words",
        "Words of an answer in one piece",
        "words",
        _CPU,
        "The answer is hashed and read as JSON once, so what is beside it shrinks as it grows.",
        _curve([20, 200, 2000, 20_000, 200_000], _asking(lambda size: f"words={size}")),
    ),
    Curve(
        "messages",
        "Messages of a history",
        "messages",
        _CPU,
        "A message is turned into the request's form once; the official client walks through every message by its "
        "declared types.",
        _curve([1, 10, 100, 1000], _asking(history)),
    ),
    Curve(
        "tools",
        "Tools bound to a model",
        "tools",
        _CPU,
        "Tools are converted when they are bound and travel with every request, in which we look for keys and tokens "
        "before it is sent.",
        _curve([1, 10, 100], _with_tools),
    ),
)
