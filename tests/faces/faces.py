"""The faces of the one path: core, LangChain, LlamaIndex, the official OpenAI client, with and without an event loop.

`Face.ask` asks one question and tells what its user saw, what was raised, and which receipts there are. The major
version of the official client is the one that is installed; CI runs these with both.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from zg_core import AsyncChatClient, ChatClient, VerificationWarning, ZeroGError
from zg_core.receipts.model import Receipt

QUESTION = "What is the capital of France?"


@dataclass
class Seen:
    """What came of one question.

    Attributes:
        text: What the user was shown, up to the error if there was one.
        error: The error of ours, wherever the face puts it.
        raised: What was raised to the user.
        receipts: One for each request that left, in the order in which they ended.
    """

    text: str = ""
    error: ZeroGError | None = None
    raised: Exception | None = None
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def receipt(self) -> Receipt:
        return self.receipts[-1]

    @property
    def outcomes(self) -> list[str]:
        return [receipt.outcome for receipt in self.receipts]

    @property
    def verdict(self) -> str:
        return str(self.receipt.verdict)


@dataclass(frozen=True)
class Face:
    """One way to ask.

    Attributes:
        name: ``core``, ``langchain``, ``llamaindex``, ``openai``.
        loop: Whether with an event loop.
        stream: Whether as a stream.
    """

    name: str
    loop: bool
    stream: bool

    def __repr__(self) -> str:
        return f"{self.name}-{'async' if self.loop else 'sync'}-{'stream' if self.stream else 'whole'}"

    def needs(self, setting: str) -> None:
        """Skip where this face does not take a setting of the client."""
        if self.name == "langchain":
            from langchain_zerog import ChatZeroG as Model
        elif self.name == "llamaindex":
            from llama_index_zerog import ZeroG as Model  # type: ignore[assignment]
        else:
            return
        if setting not in Model.model_fields:
            pytest.skip(f"{Model.__name__} takes no {setting}")

    def ask(self, settings: dict[str, Any], text: str = QUESTION, **call: Any) -> Seen:
        """Ask with a client of its own; `call` is what the face takes with one call."""
        seen = Seen()
        wanted = {**settings, "on_receipt": seen.receipts.append}
        if self.name in ("langchain", "llamaindex") and self.loop and "http_client" in wanted:
            wanted["http_async_client"] = wanted.pop("http_client")
        if self.name in ("core", "openai"):
            wanted.setdefault("environ", {})
        work = getattr(self, f"_{self.name}")(wanted, text, call)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerificationWarning)
            try:
                if self.loop:
                    asyncio.run(_collect(work, seen))
                else:
                    for piece in work:
                        seen.text += piece
            except Exception as error:
                seen.raised, seen.error = error, ours_in(error)
        return seen

    # Each gives an iterator of texts; an async one with an event loop.

    def _core(self, settings: dict[str, Any], text: str, call: dict[str, Any]) -> Any:
        payload = {"messages": [{"role": "user", "content": text}], "max_tokens": 50}

        def blocking() -> Iterator[str]:
            with ChatClient(**settings) as client:
                if not self.stream:
                    yield client.create(payload, **call).text
                else:
                    yield from map(_delta, client.stream(payload, **call))

        async def running() -> AsyncIterator[str]:
            async with AsyncChatClient(**settings) as client:
                if not self.stream:
                    yield (await client.create(payload, **call)).text
                else:
                    async for event in client.stream(payload, **call):
                        yield _delta(event)

        return running() if self.loop else blocking()

    def _langchain(self, settings: dict[str, Any], text: str, call: dict[str, Any]) -> Any:
        from langchain_zerog import ChatZeroG

        model = ChatZeroG(max_tokens=50, **settings)

        def blocking() -> Iterator[str]:
            try:
                if not self.stream:
                    yield model.invoke(text, **call).text
                else:
                    yield from (chunk.text for chunk in model.stream(text, **call))
            finally:
                model.close()

        async def running() -> AsyncIterator[str]:
            try:
                if not self.stream:
                    yield (await model.ainvoke(text, **call)).text
                else:
                    async for chunk in model.astream(text, **call):
                        yield chunk.text
            finally:
                await model.aclose()

        return running() if self.loop else blocking()

    def _llamaindex(self, settings: dict[str, Any], text: str, call: dict[str, Any]) -> Any:
        from llama_index.core.llms import ChatMessage

        from llama_index_zerog import ZeroG

        model = ZeroG(max_tokens=50, **settings)
        messages = [ChatMessage(role="user", content=text)]

        def blocking() -> Iterator[str]:
            try:
                if not self.stream:
                    yield model.chat(messages, **call).message.content or ""
                else:
                    yield from (chunk.delta or "" for chunk in model.stream_chat(messages, **call))
            finally:
                model.close()

        async def running() -> AsyncIterator[str]:
            try:
                if not self.stream:
                    yield (await model.achat(messages, **call)).message.content or ""
                else:
                    async for chunk in await model.astream_chat(messages, **call):
                        yield chunk.delta or ""
            finally:
                await model.aclose()

        return running() if self.loop else blocking()

    def _openai(self, settings: dict[str, Any], text: str, call: dict[str, Any]) -> Any:
        from zg_core import async_openai_client, openai_client

        asked = {
            "model": settings.get("model", "m"),
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 50,
            "stream": self.stream,
            **call,
        }

        def blocking() -> Iterator[str]:
            client = openai_client(**settings)
            try:
                made: Any = client.chat.completions.create(**asked)
                if not self.stream:
                    yield made.choices[0].message.content or ""
                else:
                    yield from (c.choices[0].delta.content or "" for c in made if c.choices)
            finally:
                client.close()

        async def running() -> AsyncIterator[str]:
            client = async_openai_client(**settings)
            try:
                made: Any = await client.chat.completions.create(**asked)
                if not self.stream:
                    yield made.choices[0].message.content or ""
                else:
                    async for chunk in made:
                        if chunk.choices:
                            yield chunk.choices[0].delta.content or ""
            finally:
                await client.close()

        return running() if self.loop else blocking()


async def _collect(work: AsyncIterator[str], seen: Seen) -> None:
    async for piece in work:
        seen.text += piece


def _delta(event: dict[str, Any]) -> str:
    return "".join((choice.get("delta") or {}).get("content") or "" for choice in event.get("choices") or [])


def ours_in(error: BaseException | None) -> ZeroGError | None:
    """The error of this package that was raised, or that the face's own error stands for."""
    while error is not None and not isinstance(error, ZeroGError):
        error = error.__cause__
    return error


FACES = [
    Face(name, loop, stream)
    for name in ("core", "langchain", "llamaindex", "openai")
    for loop in (False, True)
    for stream in (False, True)
]
STREAMS = [face for face in FACES if face.stream]
