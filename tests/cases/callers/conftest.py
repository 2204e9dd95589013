"""A provider that keeps what it is sent, and both frameworks' models in front of it, called in every way."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from langchain_zerog import ChatZeroG
from llama_index_zerog import ZeroG
from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec
from zg_core.localnet.model.upstream import UpstreamReply

_MOMENTS = itertools.count(1_700_000_000)
MODEL = "keeper"


class Keeper:
    """A model server that answers "ok", or what it is told to, and keeps the requests."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.message: dict[str, Any] = {}
        self.finish_reason = "stop"
        self.begin()

    def begin(self) -> None:
        """Forget everything."""
        self.bodies.clear()
        self.message, self.finish_reason = {"role": "assistant", "content": "ok"}, "stop"

    @property
    def last(self) -> dict[str, Any]:
        """The last request."""
        found: dict[str, Any] = json.loads(self.bodies[-1])
        return found

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        self.bodies.append(body)
        choice = {"index": 0, "message": self.message, "finish_reason": self.finish_reason}
        reply = {"id": "k", "created": next(_MOMENTS), "model": MODEL, "choices": [choice], "usage": USAGE}
        return UpstreamReply(200, {"content-type": "application/json"}, json.dumps(reply).encode())

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        self.bodies.append(body)
        about = {"id": "k", "created": next(_MOMENTS), "model": MODEL}
        delta = dict(self.message)
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        for choice in ({"delta": delta}, {"delta": {}, "finish_reason": self.finish_reason}):
            yield b"data: " + json.dumps({**about, "choices": [{"index": 0, **choice}]}).encode() + b"\n\n"
        yield b"data: " + json.dumps({**about, "choices": [], "usage": USAGE}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    async def models(self) -> list[dict[str, Any]]:
        return []


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
_KEEPER = Keeper()


@pytest.fixture
def keeper() -> Keeper:
    """The model server, which has heard nothing yet."""
    _KEEPER.begin()
    return _KEEPER


@pytest.fixture(scope="session")
def callers_net() -> Iterator[LocalNet]:
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    specs = [ProviderSpec(model=MODEL, upstream=_KEEPER), ProviderSpec()]  # the environment names the first
    with LocalNet(providers=specs, settings=settings) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider, 100 * 10**18)
        yield net


@pytest.fixture(autouse=True)
def environment(callers_net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the network and nothing of the machine's."""
    for name in list(os.environ):
        if name.startswith(("ZEROG_", "ZG_", "PRIVATE_KEY", "OPENAI_", "LANGSMITH_")) and name != "ZEROG_FUZZ":
            monkeypatch.delenv(name)
    for name, value in callers_net.env().items():
        if name.startswith("ZEROG_"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def lc() -> Iterator[Callable[..., ChatZeroG]]:
    """Makes LangChain's models."""
    made: list[ChatZeroG] = []

    def make(**arguments: Any) -> ChatZeroG:
        made.append(ChatZeroG(**arguments))
        return made[-1]

    yield make
    for model in made:
        model.close()


@pytest.fixture
def li() -> Iterator[Callable[..., ZeroG]]:
    """Makes LlamaIndex's models."""
    made: list[ZeroG] = []

    def make(**arguments: Any) -> ZeroG:
        made.append(ZeroG(**{"context_window": 100_000, "is_function_calling_model": True, **arguments}))
        return made[-1]

    yield make
    for model in made:
        model.close()


@dataclass(frozen=True)
class Way:
    """The same call with or without an event loop, whole or as a stream."""

    loop: bool
    stream: bool

    def __repr__(self) -> str:
        return f"{'async' if self.loop else 'sync'}-{'stream' if self.stream else 'whole'}"

    def lc(self, runnable: Any, value: Any, **kwargs: Any) -> Any:
        """The answer of a LangChain runnable; of a stream, all pieces."""
        if not self.loop:
            return list(runnable.stream(value, **kwargs)) if self.stream else runnable.invoke(value, **kwargs)

        async def work() -> Any:
            owner = getattr(runnable, "bound", runnable)
            try:
                if self.stream:
                    return [piece async for piece in runnable.astream(value, **kwargs)]
                return await runnable.ainvoke(value, **kwargs)
            finally:
                if isinstance(owner, ChatZeroG):
                    await owner.aclose()

        return asyncio.run(work())

    def li(self, llm: ZeroG, messages: Any, **kwargs: Any) -> Any:
        """The answer of LlamaIndex's model; of a stream, all responses."""
        if not self.loop:
            return list(llm.stream_chat(messages, **kwargs)) if self.stream else llm.chat(messages, **kwargs)

        async def work() -> Any:
            try:
                if self.stream:
                    return [piece async for piece in await llm.astream_chat(messages, **kwargs)]
                return await llm.achat(messages, **kwargs)
            finally:
                await llm.aclose()

        return asyncio.run(work())


WAYS = [Way(loop, stream) for loop in (False, True) for stream in (False, True)]


@pytest.fixture(params=WAYS, ids=repr)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]
