"""Receipts of engines, agents and streams, wherever the calls happen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.query_engine import SubQuestionQueryEngine
from llama_index.core.tools import FunctionTool, QueryEngineTool

import zg_core
from llama_index_zerog import ZeroG, ZeroGReceipts, get_zerog_receipts, receipt_of
from tests.llama_index_zerog.conftest import EMBED, SCRIPTED, Script
from zg_core.frameworks.collected import Collected
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.receipts import Anchor, read_bundle
from zg_core.wallet import Wallet


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


TOOL = FunctionTool.from_defaults(multiply)
DOCUMENTS = [Document(text="The capital of France is Paris."), Document(text="Bees make honey.")]


def billed(provider: LocalProvider, work: Any) -> tuple[Any, list[Any]]:
    """The receipts of `work`, and what the provider billed meanwhile."""
    before = len(provider.log)
    with get_zerog_receipts() as receipts:
        work()
    return receipts, provider.log[before:]


def agree(receipts: Any, entries: list[Any]) -> None:
    assert sorted(receipt.chat_id for receipt in receipts) == sorted(entry.chat_id for entry in entries)
    assert entries
    assert receipts.fees["0G"].units == sum(entry.fee for entry in entries)
    assert all(receipt.verdict.satisfies("verified") for receipt in receipts)


@pytest.mark.parametrize("agent", [FunctionAgent, ReActAgent])
@pytest.mark.parametrize("streaming", [False, True])
def test_agents(make_llm: Any, provider: LocalProvider, agent: Any, streaming: bool) -> None:
    async def run() -> str:
        return str(
            await agent(tools=[TOOL], llm=make_llm(), streaming=streaming).run("What is 6 times 7? Use multiply.")
        )

    answers: list[str] = []
    receipts, entries = billed(provider, lambda: answers.append(asyncio.run(run())))
    assert "42" in answers[0]
    agree(receipts, entries)


def test_a_workflow_of_agents(make_llm: Any, provider: LocalProvider) -> None:
    async def run() -> None:
        one = FunctionAgent(name="one", description="Multiplies.", tools=[TOOL], llm=make_llm())
        await AgentWorkflow(agents=[one], root_agent="one").run("What is 6 times 7? Use multiply.")

    agree(*billed(provider, lambda: asyncio.run(run())))


def test_query_and_chat_engines(make_llm: Any, provider: LocalProvider, embedding: Any) -> None:
    index = VectorStoreIndex.from_documents(DOCUMENTS, embed_model=embedding)
    llm = make_llm()

    def ask() -> None:
        index.as_query_engine(llm=llm).query("What is the capital of France?")
        index.as_query_engine(llm=llm, streaming=True).query("What is the capital of France?").get_response()
        index.as_chat_engine(llm=llm, chat_mode="context").chat("What is the capital of France?")
        asyncio.run(index.as_query_engine(llm=llm).aquery("What is the capital of France?"))

    before = len(provider.log)
    with get_zerog_receipts() as receipts:
        ask()
    chats = [receipt for receipt in receipts if receipt.provider == provider.address]
    assert sorted(r.chat_id for r in chats) == sorted(entry.chat_id for entry in provider.log[before:])
    assert {receipt.model for receipt in receipts} == {"local-chat-1", "local-embed-1"}


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_sub_questions(net: LocalNet, make_llm: Any, embedding: Any, script: Script, loop: bool) -> None:
    items = [{"sub_question": "What is the capital of France?", "tool_name": "facts"}] * 2
    script.text("```json\n" + json.dumps({"items": items}) + "\n```")
    llm, asker = make_llm(), make_llm(provider=net.providers[SCRIPTED].address)
    index = VectorStoreIndex.from_documents(DOCUMENTS, embed_model=embedding)
    tool = QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), name="facts", description="Facts.")
    from llama_index.core.question_gen import LLMQuestionGenerator

    engine = SubQuestionQueryEngine.from_defaults(
        [tool], llm=llm, question_gen=LLMQuestionGenerator.from_defaults(llm=asker), use_async=loop, verbose=False
    )
    before = [len(provider.log) for provider in net.providers]
    with get_zerog_receipts() as receipts:
        answer = asyncio.run(engine.aquery("Which capital?")) if loop else engine.query("Which capital?")
    assert [node.text.startswith("Sub question: ") for node in answer.source_nodes[:2]] == [True, True]
    assert "Paris" in answer.source_nodes[0].text
    billed = [entry for one, known in zip(net.providers, before, strict=True) for entry in one.log[known:]]
    agree(receipts, billed)
    calls = {total.model: total.calls for total in receipts.totals}
    assert calls == {"scripted": 1, "local-embed-1": 2, "local-chat-1": 3}  # two sub-questions, and the answer of both


def test_totals_are_by_provider_model_and_currency_with_bounds(net: LocalNet, make_llm: Any, embedding: Any) -> None:
    llm = make_llm()
    with get_zerog_receipts() as receipts:
        first = receipt_of(llm.complete("hi"))
        embedding.get_text_embedding("one")
        assert receipts.spent().exact
        stream = llm.stream_chat([ChatMessage("Write a long story")], max_tokens=50)
        next(stream)
        stream.close()
    chat, vectors = receipts.totals
    assert (chat.provider, chat.model, chat.currency) == (llm.provider, "local-chat-1", "0G")
    assert (chat.calls, chat.inexact, chat.exact) == (2, 1, False)
    assert chat.lower >= first.fee.amount
    assert chat.upper is not None
    assert chat.upper > chat.lower
    assert (vectors.provider, vectors.model, vectors.calls) == (net.providers[EMBED].address, "local-embed-1", 1)
    assert vectors.exact
    spent = receipts.spent("0G")
    assert (spent.calls, spent.amount) == (3, chat.amount + vectors.amount)
    assert receipts.spent("OPG").calls == 0
    with pytest.raises(zg_core.ConfigError):
        receipts.spent("EUR")


def test_both_frameworks_add_up_with_the_same_code() -> None:
    from langchain_zerog import ZeroGReceiptsHandler

    for name, of_both in vars(Collected).items():
        if not name.startswith("_") or name == "__getitem__":
            for one in (ZeroGReceipts, ZeroGReceiptsHandler):
                assert name in ("receipts", "steps") or getattr(one, name) is of_both, (one, name)


def test_concurrent_tasks_do_not_mix(make_llm: Any) -> None:
    llm = make_llm()

    async def one(number: int) -> list[str]:
        with get_zerog_receipts() as receipts:
            answers = [await llm.acomplete(f"Say 'task {number} call {call}'") for call in range(3)]
        assert [receipt_of(answer).id for answer in answers] == [receipt.id for receipt in receipts]
        return [receipt.id for receipt in receipts]

    async def everything() -> list[list[str]]:
        return await asyncio.gather(*(one(number) for number in range(4)))

    found = asyncio.run(everything())
    assert len({each for ids in found for each in ids}) == 12


def test_a_stream_that_is_left_counts(make_llm: Any) -> None:
    with get_zerog_receipts() as receipts:
        stream = make_llm().stream_chat([ChatMessage("Write a long story")])
        next(stream)
        stream.close()
    assert [receipt.outcome for receipt in receipts] == ["abandoned"]
    assert receipts.unknown == list(receipts)
    assert "of unknown cost" in repr(receipts)


def test_a_stream_read_outside_counts_where_it_was_asked_for(make_llm: Any) -> None:
    with get_zerog_receipts() as receipts:
        stream = make_llm().stream_chat([ChatMessage("Say 'x'")])
    list(stream)
    assert len(receipts) == 1


def test_they_nest_and_end(llm: ZeroG) -> None:
    with get_zerog_receipts() as outer:
        llm.complete("hi")
        with get_zerog_receipts() as inner:
            llm.complete("hi")
    llm.complete("hi")
    assert (len(outer), len(inner)) == (2, 1)
    assert "<table>" in outer._repr_html_()


def test_the_users_own_listener_hears_as_well(make_llm: Any) -> None:
    told: list[Any] = []
    response = make_llm(on_receipt=told.append).complete("hi")
    assert told == [receipt_of(response)]


def test_what_was_collected_travels(make_llm: Any, provider: LocalProvider, tmp_path: Path) -> None:
    with get_zerog_receipts() as receipts:
        for question in ("hi", "ho"):
            make_llm().complete(question)
    wallet = Wallet.from_key("0x" + "5a" * 32)
    digest = receipts.bundle(tmp_path / "run.zip", wallet=wallet)
    found = read_bundle(tmp_path / "run.zip")
    assert (found.sha256, found.signer) == (digest, wallet.address)
    lines = found.check(Anchor("a test", (provider.response_signer,)))
    assert [(line.step, line.receipt.id) for line in lines] == [
        (str(number), receipt.id) for number, receipt in enumerate(receipts, start=1)
    ]
    assert {line.check.result for line in lines} == {"passed"}
