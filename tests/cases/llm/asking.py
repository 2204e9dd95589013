"""One question through each face of the package; what came, in the words of none of them."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from zg_core import AsyncChatClient, ChatClient, VerificationWarning
from zg_core.errors import ZeroGError
from zg_core.receipts.model import Receipt

__all__ = ["FACES", "Face", "Got"]

QUESTION = "What is it?"
MESSAGES = [{"role": "user", "content": QUESTION}]
_WORDS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 50}


@dataclass
class Got:
    """What came of one question; see `values.Right`."""

    text: str = ""
    finish: str | None = None
    usage: tuple[int, int] | None = None
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    invalid: int = 0
    reasoning: str = ""
    beside: dict[str, Any] = field(default_factory=dict)
    error: ZeroGError | None = None
    raised: Exception | None = None
    receipts: list[Receipt] = field(default_factory=list)


@dataclass(frozen=True)
class Face:
    """One way to ask.

    Attributes:
        name: ``core``, ``langchain``, ``llamaindex``, ``openai``.
        loop: Whether with an event loop.
    """

    name: str
    loop: bool

    def __str__(self) -> str:
        return f"{self.name}-{'async' if self.loop else 'sync'}"

    def ask(self, settings: dict[str, Any], *, stream: bool) -> Got:
        """Ask with a client of its own."""
        got = Got()
        wanted = {**settings, "on_receipt": got.receipts.append}
        take = getattr(self, f"_{self.name}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerificationWarning)
            try:
                if self.loop:
                    asyncio.run(take(wanted, got, stream=stream, loop=True))
                else:
                    work = take(wanted, got, stream=stream, loop=False)
                    try:
                        work.send(None)
                    except StopIteration:
                        pass
            except Exception as error:
                got.raised, got.error = error, ours_in(error)
        return got

    async def _core(self, settings: dict[str, Any], got: Got, *, stream: bool, loop: bool) -> None:
        payload = {"messages": MESSAGES, "max_tokens": 50}
        client: Any = (AsyncChatClient if loop else ChatClient)(environ={}, **settings)
        try:
            if stream:
                async for event in each(client.stream(payload)):
                    for choice in event.get("choices") or []:
                        got.text += text_in((choice.get("delta") or {}).get("content"))
            else:
                got.text = (await done(client.create(payload))).text
        finally:
            await done(client.close())

    async def _langchain(self, settings: dict[str, Any], got: Got, *, stream: bool, loop: bool) -> None:
        from langchain_zerog import ChatZeroG

        model = ChatZeroG(max_tokens=50, **settings)
        message: Any = None
        try:
            if stream:
                async for piece in each(model.astream(QUESTION) if loop else model.stream(QUESTION)):
                    got.text += piece.text
                    message = piece if message is None else message + piece
            else:
                message = await done(model.ainvoke(QUESTION) if loop else model.invoke(QUESTION))
        finally:
            await done(model.aclose() if loop else model.close())
        got.text = message.text
        got.finish = message.response_metadata.get("finish_reason")
        if usage := message.usage_metadata:
            got.usage = (usage["input_tokens"], usage["output_tokens"])
        got.calls = tuple((call["name"], call["args"]) for call in message.tool_calls)
        assert all(isinstance(call["id"], str) and call["id"] for call in message.tool_calls)
        got.invalid = len(message.invalid_tool_calls)
        blocks = message.content_blocks
        got.reasoning = "".join(block.get("reasoning", "") for block in blocks if block["type"] == "reasoning")
        got.beside = {**message.response_metadata, **message.additional_kwargs}
        assert got.text == "".join(block.get("text", "") for block in blocks if block["type"] == "text")

    async def _llamaindex(self, settings: dict[str, Any], got: Got, *, stream: bool, loop: bool) -> None:
        from llama_index.core.base.llms.types import AudioBlock, ImageBlock, ThinkingBlock
        from llama_index.core.llms import ChatMessage

        from llama_index_zerog import ZeroG

        llm = ZeroG(**{**_WORDS, **settings})
        messages = [ChatMessage(role="user", content=QUESTION)]
        response: Any = None
        try:
            if stream:
                pieces = (await llm.astream_chat(messages)) if loop else llm.stream_chat(messages)
                async for piece in each(pieces):
                    got.text += piece.delta or ""
                    response = piece
            else:
                response = await done(llm.achat(messages) if loop else llm.chat(messages))
        finally:
            await done(llm.aclose() if loop else llm.close())
        message = response.message
        assert not stream or got.text == (message.content or "")
        got.text = message.content or ""
        raw = response.raw
        got.finish = raw.get("finish_reason") or ((raw.get("choices") or [{}])[0] or {}).get("finish_reason")
        counts = response.additional_kwargs
        if "prompt_tokens" in counts:
            got.usage = (counts["prompt_tokens"], counts["completion_tokens"])
        try:
            selected = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
            got.calls = tuple((call.tool_name, call.tool_kwargs) for call in selected)
        except ZeroGError as error:
            got.invalid = int(error.code == "bad_tool_arguments")
        got.reasoning = "".join(block.content or "" for block in message.blocks if isinstance(block, ThinkingBlock))
        got.beside = dict(message.additional_kwargs)
        if response.logprobs:
            got.beside["logprobs"] = response.logprobs
        for block in message.blocks:
            if isinstance(block, ImageBlock | AudioBlock):
                got.beside["images" if isinstance(block, ImageBlock) else "audio"] = block

    async def _openai(self, settings: dict[str, Any], got: Got, *, stream: bool, loop: bool) -> None:
        from zg_core import async_openai_client, openai_client

        client: Any = (async_openai_client if loop else openai_client)(environ={}, **settings)
        try:
            made = client.chat.completions.create(model=settings["model"], messages=MESSAGES, stream=stream)
            made = await made if loop else made
            if stream:
                async for chunk in each(made):
                    for choice in chunk.choices or []:
                        got.text += text_in(choice.delta.content if choice.delta else "")
            else:
                got.text = text_in(made.choices[0].message.content)
        finally:
            await done(client.close())


async def each(pieces: AsyncIterator[Any] | Iterator[Any]) -> AsyncIterator[Any]:
    """The pieces of an iterator of either kind."""
    if hasattr(pieces, "__aiter__"):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


async def done(value: Any) -> Any:
    """`value`, waited for if it has to be."""
    return await value if hasattr(value, "__await__") else value


def text_in(content: Any) -> str:
    """The text of content that others' clients show as it came."""
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else part.model_dump() for part in content]
        return "".join(part.get("text") or "" for part in parts)
    return content or ""


def ours_in(error: BaseException | None) -> ZeroGError | None:
    """The error of this package that was raised, or that the face's own error stands for."""
    while error is not None and not isinstance(error, ZeroGError):
        error = error.__cause__
    return error


FACES = [Face(name, loop) for name in ("core", "langchain", "llamaindex", "openai") for loop in (False, True)]
