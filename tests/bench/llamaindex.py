"""LlamaIndex's part of `make bench`: `ZeroG` beside `OpenAILike`, where that is installed (the openai2 environment)."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.bench import measures
from tests.bench.contenders import QUESTION, RECORD_AGE, Server
from tests.bench.targets import Row

THEIRS = "OpenAILike"
Work = Callable[[Any], Callable[[], Any]]


def rows(server: Server, rounds: int) -> Iterator[Row]:
    """Measure, one row after the other; only the import where there is nothing to compare with."""
    scripts = {
        "ours": "from llama_index_zerog import ZeroG",
        "base": "from llama_index.core.llms.function_calling import FunctionCallingLLM",
    }
    found = measures.process_cpu_ms(scripts, max(7, rounds // 3))
    yield Row("import ZeroG / import FunctionCallingLLM", found["ours"] / found["base"])
    if importlib.util.find_spec("llama_index.llms.openai_like") is None:
        return
    models = {"off": zerog(server, "off"), "require": zerog(server, "require"), THEIRS: openai_like(server)}
    with asyncio.Runner() as loop:  # closes what the generators of the async streams leave
        yield from _pair("sync", models, _chat, _stream, rounds)
        yield from _pair("async", models, partial(_achat, loop), partial(_astream, loop), rounds)


def _pair(how: str, models: dict[str, Any], chat: Work, stream: Work, rounds: int) -> Iterator[Row]:
    calls = measures.cpu_ms({name: chat(model) for name, model in models.items()}, rounds, 5)
    yield Row(f"{how} chat CPU, off / OpenAILike", calls["off"] / calls[THEIRS])
    yield Row(f"{how} chat CPU, require / OpenAILike", calls["require"] / calls[THEIRS])
    streams = measures.cpu_ms({name: stream(model) for name, model in models.items()}, rounds, 1)
    yield Row(f"{how} 200-chunk stream CPU, require / OpenAILike", streams["require"] / streams[THEIRS])


def zerog(server: Server, verify: str) -> Any:
    """Our model, with receipts in memory and no client-side limits."""
    from llama_index_zerog import ZeroG

    environ = server.environ
    return ZeroG(
        provider=environ["ZEROG_PROVIDER"],
        private_key=environ["ZEROG_PRIVATE_KEY"],
        network="local",
        rpc_url=environ["ZEROG_RPC_URL"],
        model=server.model,
        verify=verify,
        limits=None,
        record_age=RECORD_AGE,
    )


def openai_like(server: Server) -> Any:
    """LlamaIndex's own model for such servers, which verifies nothing."""
    from llama_index.llms.openai_like import OpenAILike

    return OpenAILike(
        model=server.model,
        api_base=server.base_url,
        api_key="x",
        is_chat_model=True,
        max_retries=0,
        context_window=8000,
    )


def _messages() -> list[Any]:
    from llama_index.core.llms import ChatMessage

    return [ChatMessage(QUESTION)]


def _chat(model: Any) -> Callable[[], Any]:
    return lambda: model.chat(_messages())


def _stream(model: Any) -> Callable[[], Any]:
    def work() -> None:
        for _ in model.stream_chat(_messages()):
            continue

    return work


def _achat(loop: asyncio.Runner, model: Any) -> Callable[[], Any]:
    async def call() -> None:
        await model.achat(_messages())

    return lambda: loop.run(call())


def _astream(loop: asyncio.Runner, model: Any) -> Callable[[], Any]:
    async def read() -> None:
        async for _ in await model.astream_chat(_messages()):
            continue

    return lambda: loop.run(read())
