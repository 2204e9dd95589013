"""Large prompts, long answers and short commands: where a call or a command is more, or less, than a short question."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from tests.bench import contenders as who
from tests.bench.contenders import Server
from tests.bench.measures import cpu_ms, process_cpu_ms
from tests.bench.targets import Row
from zg_core import Budget, og

PROSE = 'The quick brown fox "jumps" over the lazy dog.\n'
COMMAND = """
import os, sys
os.environ["ZEROG_HOME"] = {home!r}
sys.argv = ["zerog", *{arguments!r}]
from zg_core.cli import main
try:
    main()
except SystemExit as end:
    if end.code:
        raise
"""


def rows(server: Server, rounds: int) -> Iterator[Row]:
    """Measure, one row after the other."""
    theirs = who.chat_openai(server)
    with tempfile.TemporaryDirectory() as home:
        budget = Budget(per_day=og("1000"), per_wallet=og("10000"))
        ours = who.chat_zerog(server, "require")
        budgeted = who.chat_zerog(server, "require", store=f"sqlite:///{home}/receipts.db", budget=budget)
        yield from _prompts(theirs, ours, budgeted, max(3, rounds // 4))
        off = who.chat_zerog(server, "off")
        yield from _long_requests(theirs, off, max(5, rounds // 4))
        off.close()
        yield from _answers(theirs, ours, max(3, rounds // 4))
        ours.close()
        budgeted.close()
        yield from _commands(home, max(5, rounds // 4))


def _prompts(theirs: Any, ours: Any, budgeted: Any, rounds: int) -> Iterator[Row]:
    for name, size in (("100 kB", 100_000), ("1 MB", 1_000_000), ("10 MB", 10_000_000)):
        prompt = (PROSE * (size // len(PROSE) + 1))[:size]
        yield _row(f"prompt of {name}, require with a budget", theirs, budgeted, prompt, rounds)
    picture = "data:image/png;base64," + base64.b64encode(os.urandom(3_000_000)).decode()
    blocks = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": picture}}]
    yield _row("image of 4 MB, require", theirs, ours, [("user", blocks)], rounds)


def _long_requests(theirs: Any, ours: Any, rounds: int) -> Iterator[Row]:
    yield _row("history of 1,000 messages, off", theirs, ours, history(1000), rounds)
    tools = tools_of(100)
    yield _row("100 tools, off", theirs.bind_tools(tools), ours.bind_tools(tools), "Hello", rounds)


def history(count: int) -> list[Any]:
    """So many messages, of the user and the model in turn."""
    from langchain_core.messages import AIMessage, HumanMessage

    kinds = (HumanMessage, AIMessage)
    return [kinds[n % 2](f"Message {n}: the quick brown fox jumps over the lazy dog.") for n in range(count)]


def tools_of(count: int) -> list[Any]:
    """So many tools, as functions with their types."""
    from langchain_core.tools import StructuredTool

    def look_up(name: str, most: int = 10) -> str:
        """Look a thing up by its name."""
        return f"{name}, {most}"

    return [
        StructuredTool.from_function(look_up, name=f"look_up_{n}", description=f"Looks things up in register {n}.")
        for n in range(count)
    ]


def _answers(theirs: Any, ours: Any, rounds: int) -> Iterator[Row]:
    yield _row("answer of 20,000 words in one piece, require", theirs, ours, "words=20000", rounds)
    found = cpu_ms({"ours": _read(ours, "chunks=200"), "constant": _read(_constant(), "")}, rounds, 3)
    yield Row("200-chunk stream CPU, require / a model of constants", found["ours"] / found["constant"])
    for count in (200, 2_000, 20_000):
        works = {"theirs": _read(theirs, f"chunks={count}"), "ours": _read(ours, f"chunks={count}")}
        found = cpu_ms(works, rounds if count < 20_000 else 3, 1)
        yield Row(f"{count:,}-chunk stream CPU, require / ChatOpenAI", found["ours"] / found["theirs"])


def _row(name: str, theirs: Any, ours: Any, prompt: Any, rounds: int) -> Row:
    found = cpu_ms({"theirs": lambda: theirs.invoke(prompt), "ours": lambda: ours.invoke(prompt)}, rounds, 3)
    return Row(f"{name} / ChatOpenAI", found["ours"] / found["theirs"])


def _read(model: Any, prompt: str) -> Callable[[], None]:
    def work() -> None:
        for _ in model.stream(prompt):
            continue

    return work


def _constant() -> Any:
    """A LangChain model that streams 200 chunks it need not ask for."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    class Constant(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "constant"

        def _generate(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
            for number in range(200):
                yield ChatGenerationChunk(message=AIMessageChunk(content=f"word{number} "))

    return Constant()


def _commands(home: str, rounds: int) -> Iterator[Row]:
    scripts = {
        "typer": "import typer, rich",
        "version": COMMAND.format(home=home, arguments=["--version"]),
        "list": COMMAND.format(home=home, arguments=["receipts", "list"]),
        "budget": COMMAND.format(home=home, arguments=["budget", "show"]),
    }
    found = process_cpu_ms(scripts, rounds)
    yield Row("zerog --version / import typer, rich", found["version"] / found["typer"])
    yield Row("zerog receipts list, empty / import typer, rich", found["list"] / found["typer"])
    yield Row("zerog budget show, empty / import typer, rich", found["budget"] / found["typer"])
