"""LangChain's part of `make bench`: each measure with the target that it has to reach."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.bench import contenders as who
from tests.bench import measures
from tests.bench.contenders import Server
from tests.bench.targets import Row

FIRST_ANSWER_OURS = """
from langchain_zerog import ChatZeroG
reply = ChatZeroG(verify="require", limits=None).invoke("Hello")
assert reply.response_metadata["zerog"]["status"] == "verified"
print("done", flush=True)
"""
FIRST_ANSWER_THEIRS = """
import os
from langchain_openai import ChatOpenAI
model = ChatOpenAI(base_url=os.environ["BENCH_URL"], model=os.environ["BENCH_MODEL"], api_key="x", max_retries=0)
model.invoke("Hello")
print("done", flush=True)
"""
MEMORY = """
from pathlib import Path
from langchain_zerog import ChatZeroG

def rss():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])

model = ChatZeroG(verify="require", limits=None)
for number in range(1, CALLS + 1):
    model.invoke("Hello")
    if number == CALLS // 10:
        before = rss()
print(rss() - before, flush=True)
"""


def rows(server: Server, rounds: int, memory_calls: int) -> Iterator[Row]:
    """Measure, one row after the other."""
    with who.contenders(server) as all_of_them:
        yield from _cpu(all_of_them, rounds)
        yield from _rates(all_of_them, max(5, rounds // 4))
        names = (who.HTTP, who.REQUIRE)
        times = measures.first_token_ms({name: all_of_them[name] for name in names}, rounds)
        yield Row("first token, after the HTTP library's", times[who.REQUIRE] - times[who.HTTP])
    fresh = who.chat_zerog(server, "require")
    before = server.connections()
    for _ in range(10):
        for _ in fresh.stream(who.QUESTION):
            continue
    fresh.close()
    yield Row("TCP connections of 10 sync streams", server.connections() - before - 1)
    yield from _imports(max(7, rounds // 2))
    yield _first_answer(server, max(5, rounds // 4))
    yield _memory(server, memory_calls)


def _cpu(parties: dict[str, who.Contender], rounds: int) -> Iterator[Row]:
    calls = measures.cpu_ms({name: each.call for name, each in parties.items()}, rounds, 10)
    yield Row("invoke CPU, off / ChatOpenAI", calls[who.OFF] / calls[who.CHAT_OPENAI])
    yield Row("invoke CPU, background / ChatOpenAI", calls[who.BACKGROUND] / calls[who.CHAT_OPENAI])
    yield Row("invoke CPU, require / ChatOpenAI", calls[who.REQUIRE] / calls[who.CHAT_OPENAI])
    yield Row("SQLite receipts and a budget, more CPU a call", calls[who.STORED] - calls[who.REQUIRE])
    streams = measures.cpu_ms({name: measures.read(each) for name, each in parties.items()}, rounds, 1)
    yield Row("200-chunk stream CPU, require / HTTP library", streams[who.REQUIRE] / streams[who.HTTP])


def _rates(parties: dict[str, who.Contender], rounds: int) -> Iterator[Row]:
    some = {name: parties[name] for name in (who.CHAT_OPENAI, who.OFF, who.REQUIRE)}
    for how, found in (
        ("threads", measures.rates(some, rounds, 160)),
        ("tasks", measures.async_rates(some, rounds, 160)),
    ):
        base = found[who.CHAT_OPENAI]
        yield Row(f"calls a second, 16 {how}, require / ChatOpenAI", found[who.REQUIRE] / base)
        yield Row(f"calls a second, 16 {how}, off / ChatOpenAI", found[who.OFF] / base)


def _imports(rounds: int) -> Iterator[Row]:
    scripts = {
        "ours": "from langchain_zerog import ChatZeroG",
        "base": "from langchain_core.language_models import BaseChatModel",
    }
    found = measures.process_cpu_ms(scripts, rounds)
    yield Row("import ChatZeroG / import BaseChatModel", found["ours"] / found["base"])


def _first_answer(server: Server, rounds: int) -> Row:
    environ = {**server.environ, "BENCH_URL": server.base_url, "BENCH_MODEL": server.model}
    found = measures.process_wall_ms({"ours": FIRST_ANSWER_OURS, "theirs": FIRST_ANSWER_THEIRS}, rounds, environ)
    return Row("start to first verified answer / ChatOpenAI's first", found["ours"] / found["theirs"])


def _memory(server: Server, calls: int) -> Row:
    import os

    script = MEMORY.replace("CALLS", str(calls))
    environ = {**os.environ, **server.environ}
    grown = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    ).stdout
    aside = "" if calls == 20_000 else f"after {calls:,} calls"
    return Row("RSS after 20,000 calls, above that after 2,000", int(grown) / 1024, aside)
