"""What people who come from other LLMs of LlamaIndex expect: one event a completion, types, counts, schemas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.base.llms.types import DocumentBlock, TextBlock, ThinkingBlock
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

import zg_core
from llama_index_zerog import ZeroG, ZeroGEmbedding, get_zerog_receipts, receipt_of
from tests.llama_index_zerog.conftest import EMBED, SCRIPTED, Script
from zg_core.localnet import LocalNet

QUESTION = "What is the capital of France?"


class Person(BaseModel):
    """A person."""

    name: str
    age: int


async def _last(pieces: Any) -> Any:
    return [piece async for piece in await pieces][-1]


FORMS: dict[str, Callable[[ZeroG], Any]] = {
    "chat": lambda llm: llm.chat([ChatMessage(QUESTION)]),
    "achat": lambda llm: asyncio.run(llm.achat([ChatMessage(QUESTION)])),
    "complete": lambda llm: llm.complete(QUESTION),
    "acomplete": lambda llm: asyncio.run(llm.acomplete(QUESTION)),
    "stream_complete": lambda llm: list(llm.stream_complete(QUESTION))[-1],
    "astream_complete": lambda llm: asyncio.run(_last(llm.astream_complete(QUESTION))),
}


class Limiter:
    draws = 0

    def acquire(self) -> None:
        self.draws += 1

    async def async_acquire(self) -> None:
        self.draws += 1


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_one_event_one_draw_and_one_count(make_llm: Any, form: str) -> None:
    tokens, debug, limiter = (
        TokenCountingHandler(tokenizer=str.split),
        LlamaDebugHandler(print_trace_on_end=False),
        Limiter(),
    )
    llm = make_llm(callback_manager=CallbackManager([tokens, debug]), rate_limiter=limiter)
    response = FORMS[form](llm)
    assert (len(debug.get_event_pairs(CBEventType.LLM)), limiter.draws) == (1, 1)
    usage = receipt_of(response).usage
    assert (tokens.prompt_llm_token_count, tokens.completion_llm_token_count) == (
        usage.prompt_tokens,
        usage.completion_tokens,
    )
    counts = {name: response.additional_kwargs[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    assert counts["total_tokens"] == usage.total_tokens == counts["prompt_tokens"] + counts["completion_tokens"]


def test_the_model_may_come_first_and_a_prompt_be_made(net: LocalNet, make_llm: Any, sent: Any) -> None:
    assert ZeroG("local-chat-1").model == ZeroGEmbedding("local-chat-1").model == "local-chat-1"
    for wrong in (lambda: ZeroG("a", model="b"), lambda: ZeroG("a", "b")):
        with pytest.raises(TypeError):
            wrong()
    llm = make_llm(completion_to_prompt=lambda text: f"<<{text}>>")
    llm.complete("Say 'x'")
    assert sent()["messages"] == [{"role": "user", "content": "<<Say 'x'>>"}]
    llm.complete("Say 'x'", formatted=True)
    assert sent()["messages"] == [{"role": "user", "content": "Say 'x'"}]


def test_a_provider_that_could_fill_its_window_leaves_room_for_the_prompt(
    make_llm: Any, net: LocalNet, script: Script
) -> None:
    script.listed = [{"id": "scripted", "context_length": 32768, "top_provider": {"max_completion_tokens": 32768},
                      "max_completion_tokens": 32768}]  # fmt: skip
    script.text("41 metres.")
    llm = make_llm(provider=net.providers[SCRIPTED].address)
    assert (llm.metadata.context_window, llm.metadata.num_output) == (32768, 256)
    assert make_llm(provider=net.providers[SCRIPTED].address, max_tokens=9).metadata.num_output == 9
    index = VectorStoreIndex.from_documents([Document(text="It is 41 metres high.")], embed_model=MockEmbedding(8))
    assert str(index.as_query_engine(llm=llm).query("How high is it?")) == "41 metres."


TYPES = {
    "a.txt": "text/plain", "a.md": "text/markdown", "a.csv": "text/csv", "a.json": "application/json",
    "a.html": "text/html", "a.pdf": "application/pdf", "a.unknown": "text/plain",
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_a_document_keeps_its_type_and_name(llm: ZeroG, sent: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"name,age\nAda,36\n")
    blocks = [TextBlock(text="Summarize"), DocumentBlock(path=str(path))]
    llm.chat([ChatMessage(role="user", blocks=blocks)])
    part = sent()["messages"][0]["content"][1]["file"]
    assert (part["filename"], part["file_data"].partition(";")[0]) == (name, f"data:{TYPES[name]}")


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"plain text", "text/plain"), (b"%PDF-1.7 x", "application/pdf"), (b"\xff\0x", "application/octet-stream")],
)
def test_bytes_without_a_name_are_what_they_look_like(llm: ZeroG, sent: Any, data: bytes, kind: str) -> None:
    llm.chat([ChatMessage(role="user", blocks=[DocumentBlock(data=data)])])
    assert sent()["messages"][0]["content"][0]["file"]["file_data"].startswith(f"data:{kind};")


def test_thoughts_are_told_as_they_come_and_go_back(make_llm: Any, sent: Any) -> None:
    llm = make_llm(reasoning_effort="high")
    responses = list(llm.stream_chat([ChatMessage(QUESTION)]))
    deltas = [response.additional_kwargs.get("thinking_delta", "") for response in responses]
    (thought,) = [block for block in responses[-1].message.blocks if isinstance(block, ThinkingBlock)]
    assert "".join(deltas) == thought.content != ""
    llm.chat([ChatMessage(QUESTION), responses[-1].message, ChatMessage("Say 'more'")])
    assert sent()["messages"][1]["reasoning_content"] == thought.content

    async def run() -> list[Any]:
        handler = FunctionAgent(tools=[], llm=llm).run(QUESTION)
        told = [event.thinking_delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
        await handler
        return told

    assert "".join(filter(None, asyncio.run(run()))) == thought.content


def test_log_probabilities_are_there(make_llm: Any, net: LocalNet, script: Script, monkeypatch: Any) -> None:
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [
        {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}, {"token": "Yo", "logprob": -1, "bytes": None}
    ]}  # fmt: skip
    said = {"id": "x", "model": "scripted", "choices": [
        {"index": 0, "message": {"content": "Hi"}, "logprobs": {"content": [token]}, "finish_reason": "stop"}
    ]}  # fmt: skip

    async def complete(_: Any, path: str, body: bytes) -> Any:
        from zg_core.localnet.model.upstream import UpstreamReply

        return UpstreamReply(200, {"content-type": "application/json"}, json.dumps(said).encode())

    monkeypatch.setattr(Script, "complete", complete)
    llm = make_llm(provider=net.providers[SCRIPTED].address, logprobs=True, verify="off")
    for response in (llm.chat([ChatMessage("q")]), llm.complete("q")):
        ((first, second),) = response.logprobs or []
        assert (first.token, first.logprob, first.bytes) == ("Hi", -0.5, [72, 105])
        assert (second.token, second.logprob, second.bytes) == ("Yo", -1.0, [])


@pytest.mark.parametrize("form", ["whole", "async", "stream", "async stream"])
def test_a_structured_answer_that_was_cut_off_is_an_error(make_llm: Any, form: str) -> None:
    llm, prompt = make_llm(max_tokens=3), PromptTemplate("'Ada' is 36 years old.")

    async def astream() -> Any:
        return [each async for each in await llm.astream_structured_predict(Person, prompt)]

    ways: dict[str, Callable[[], Any]] = {
        "whole": lambda: llm.structured_predict(Person, prompt),
        "async": lambda: asyncio.run(llm.astructured_predict(Person, prompt)),
        "stream": lambda: list(llm.stream_structured_predict(Person, prompt)),
        "async stream": lambda: asyncio.run(astream()),
    }
    with pytest.raises(zg_core.RequestError) as caught:
        ways[form]()
    assert (caught.value.code, caught.value.text[:1]) == ("answer_cut", "{")
    assert caught.value.receipt.outcome == "answered"
    assert "max_tokens" in caught.value.hint


@pytest.mark.parametrize("mode", ["default", "function"])
def test_the_receipt_of_a_structured_answer_is_found(make_llm: Any, mode: str) -> None:
    structured = make_llm(pydantic_program_mode=mode).as_structured_llm(Person)
    with get_zerog_receipts() as receipts:
        response = structured.complete("'Ada' is 36 years old.")
        *_, last = structured.stream_chat([ChatMessage("'Bob' is 37 years old.")])
    assert response.raw == Person(name="Ada", age=36)
    assert [receipt_of(response), receipt_of(response.raw)] == [receipts[0]] * 2
    assert receipt_of(last) is receipts[1]
    assert receipt_of(Person(name="Ada", age=36)) is None


def test_receipts_of_plain_threads_count_where_they_are_bound(llm: ZeroG) -> None:
    with get_zerog_receipts() as outer, get_zerog_receipts() as receipts, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(receipts.bound(llm.complete), [f"Say '{n}'" for n in range(8)]))
    assert [answer.text for answer in answers] == [f"{n}" for n in range(8)]
    assert len(receipts) == len(outer) == 8


def test_texts_go_out_by_the_hundred(net: LocalNet) -> None:
    embedding = ZeroGEmbedding(provider=net.providers[EMBED].address)
    with get_zerog_receipts() as receipts:
        assert len(embedding.get_text_embedding_batch([f"text {n}" for n in range(600)])) == 600
    assert len(receipts) == 3
    assert ZeroGEmbedding(model="m", embed_batch_size=10).embed_batch_size == 10
