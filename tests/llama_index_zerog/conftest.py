"""One local network for the tests of this package, and calls that run the same way with and without an event loop."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from llama_index.core.llms import ChatMessage, ChatResponse

from llama_index_zerog import ZeroG, ZeroGEmbedding
from zg_core.jsontext import encode_body
from zg_core.localnet import LocalNet, LocalProvider, ProviderSettings, ProviderSpec
from zg_core.localnet.model.upstream import UpstreamReply

OURS = ("NETWORK", "RPC_URL", "LEDGER", "INFERENCE", "PRIVATE_KEY", "API_KEY", "PROVIDER", "MODEL", "VERIFY", "STORE")
CHAT, OTHER, EMBED, SCRIPTED = range(4)


_MOMENTS = itertools.count(1_700_000_000)


class Script:
    """A model that says what a test wants, in the words of any server, whole and as a stream."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        """What ``/v1/models`` says of it; the defaults of the network if nothing."""
        self.text("")

    def text(self, content: Any) -> None:
        """Say `content`: a string, or a list of parts, which a stream sends one by one."""
        self.message = {"role": "assistant", "content": content}
        parts = [[part] for part in content] if isinstance(content, list) else [content]
        self.deltas = [{"content": part} for part in parts]

    def call(self, arguments: str) -> None:
        """Call the tool ``multiply`` with `arguments`, after a word or two."""
        said, half = "I call a tool.", len(arguments) // 2

        def one(part: str, **more: Any) -> dict[str, Any]:
            return {"index": 0, "function": {"arguments": part, **more}}

        first = {"id": "call_1", "type": "function", **one(arguments[:half], name="multiply")}
        whole = {"id": "call_1", "type": "function", "function": {"name": "multiply", "arguments": arguments}}
        self.message = {"role": "assistant", "content": said, "tool_calls": [whole]}
        self.deltas = [{"content": said}, {"tool_calls": [first]}, {"tool_calls": [one(arguments[half:])]}]

    _USAGE: ClassVar = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        choice = {"index": 0, "message": self.message, "finish_reason": "stop"}
        # As of every model server, no reply is like an earlier one: else it would be a replay.
        about = {"id": "x", "object": "chat.completion", "model": "scripted", "created": next(_MOMENTS)}
        reply = {**about, "choices": [choice], "usage": self._USAGE}
        return UpstreamReply(200, {"content-type": "application/json"}, json.dumps(reply).encode())

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        ends = [None] * len(self.deltas) + ["stop"]
        about = {"id": "x", "object": "chat.completion.chunk", "model": "scripted", "created": next(_MOMENTS)}
        for delta, end in zip([*self.deltas, {}], ends, strict=True):
            event = {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
            yield b"data: " + json.dumps(event).encode() + b"\n\n"
        yield b"data: " + json.dumps({**about, "choices": [], "usage": self._USAGE}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    async def models(self) -> list[dict[str, Any]]:
        return self.listed


_SCRIPT = Script()


@pytest.fixture
def script() -> Iterator[Script]:
    """What the provider of the model "scripted" says; silent and of no special abilities again afterwards."""
    yield _SCRIPT
    _SCRIPT.__init__()  # type: ignore[misc]


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    specs = [
        ProviderSpec(model="local-chat-1"),
        ProviderSpec(model="local-chat-2", kind="TeeTLS"),
        ProviderSpec(model="local-embed-1", service_type="embedding", output_price=0, lora=False),
        ProviderSpec(model="scripted", upstream=_SCRIPT),
    ]
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=specs, settings=settings) as running:
        for provider in running.providers:
            running.open_account(running.wallet, provider, 100 * 10**18)
        yield running


@pytest.fixture(autouse=True)
def local(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the network's wallet and nothing of the machine's."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "PRIVATE_KEY", "ZG_")) or name.removeprefix("ZEROG_") in OURS:
            monkeypatch.delenv(name)
    for name in ("NETWORK", "RPC_URL", "PRIVATE_KEY"):
        monkeypatch.setenv(f"ZEROG_{name}", net.env()[f"ZEROG_{name}"])


@pytest.fixture
def provider(net: LocalNet) -> Iterator[LocalProvider]:
    yield net.providers[CHAT]
    for one in net.providers:
        one.clear_faults()


@pytest.fixture
def sent(net: LocalNet, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the last request to the provider said, as it arrived there."""
    bodies: list[bytes] = []

    def recorded(payload: Any) -> bytes:
        bodies.append(encode_body(payload))
        return bodies[-1]

    monkeypatch.setattr("zg_core.tasks.requests.encode_body", recorded)

    def last() -> dict[str, Any]:
        everywhere = [request for one in net.providers for request in one.requests]
        arrived = [request for request in everywhere if request.path.endswith("/chat/completions")]
        digests = {request.body_sha256 for request in arrived}
        assert hashlib.sha256(bodies[-1]).hexdigest() in digests
        return json.loads(bodies[-1])

    return last


@pytest.fixture
def make_llm(provider: LocalProvider) -> Iterator[Any]:
    made: list[ZeroG] = []

    def make(**arguments: Any) -> ZeroG:
        llm = ZeroG(**{"provider": provider.address, "verify": "require", **arguments})
        made.append(llm)
        return llm

    yield make
    for llm in made:
        llm.close()


@pytest.fixture
def llm(make_llm: Any) -> ZeroG:
    return make_llm()


@pytest.fixture
def embedding(net: LocalNet) -> Iterator[ZeroGEmbedding]:
    with ZeroGEmbedding(provider=net.providers[EMBED].address, verify="require") as made:
        yield made


@dataclass(frozen=True)
class Way:
    """The same call in four ways: with or without an event loop, whole or as a stream."""

    loop: bool
    stream: bool

    def __repr__(self) -> str:
        return f"{'async' if self.loop else 'sync'}-{'stream' if self.stream else 'whole'}"

    def chat(self, llm: ZeroG, text: str, *, seen: list[ChatResponse] | None = None, **kwargs: Any) -> ChatResponse:
        """The answer to one user message; of a stream, the last response."""
        messages = [ChatMessage(text)]
        responses = [] if seen is None else seen
        if not self.loop:
            if not self.stream:
                return llm.chat(messages, **kwargs)
            for response in llm.stream_chat(messages, **kwargs):
                responses.append(response)
            return responses[-1]

        async def work() -> ChatResponse:
            try:
                if not self.stream:
                    return await llm.achat(messages, **kwargs)
                async for response in await llm.astream_chat(messages, **kwargs):
                    responses.append(response)
                return responses[-1]
            finally:
                await llm.aclose()

        return asyncio.run(work())


WAYS = [Way(loop, stream) for loop in (False, True) for stream in (False, True)]


@pytest.fixture(params=WAYS, ids=repr)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param
