"""The programs under docs/examples run as they stand, and pay what the providers billed."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
FACTS = {"france.txt": "The capital of France is Paris.", "bees.txt": "Bees make honey."}


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    """Two providers of chats and one of embeddings, and a wallet with a sub-account at each."""
    specs = [
        ProviderSpec(model="local-chat-1"),
        ProviderSpec(model="local-chat-2", input_price=3, output_price=7),
        ProviderSpec(model="local-embed-1", service_type="embedding", output_price=0, lora=False),
    ]
    with LocalNet(providers=specs, settings=replace(ProviderSettings.fast(), settle_interval=None)) as running:
        for provider in running.providers:
            running.open_account(running.wallet, provider, 50 * 10**18)
        yield running


@pytest.fixture(autouse=True)
def environment(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The network's settings and the first provider."""
    for name in list(os.environ):
        if name.startswith(("ZEROG_", "LANGSMITH_", "LANGCHAIN_")) and name != "ZEROG_HTTP_LIBRARY":
            monkeypatch.delenv(name)
    for name, value in net.env().items():
        if name.startswith("ZEROG_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("ZEROG_PROVIDER", net.providers[0].address)
    yield
    for provider in net.providers:
        provider.clear_faults()


def example(name: str) -> dict[str, Any]:
    """The names an example defines."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def billed(net: LocalNet, since: list[int]) -> list[Any]:
    return [entry for provider, start in zip(net.providers, since, strict=True) for entry in provider.log[start:]]


@pytest.fixture
def since(net: LocalNet) -> list[int]:
    """How long the providers' logs were before."""
    return [len(provider.log) for provider in net.providers]


def agree(receipts: Any, entries: list[Any]) -> None:
    """Receipts and bills are the same calls and the same sum."""
    assert sorted(receipts.chat_ids) == sorted(entry.chat_id for entry in entries)
    assert receipts.spent("0G").exact
    assert receipts.spent("0G").amount.units == sum(entry.fee for entry in entries)


@pytest.mark.parametrize(
    ("question", "tool", "result"),
    [
        ("What is 6 times 7? Use the multiply tool.", "multiply", "42"),
        ("What is 20 plus 3? Use the add tool.", "add", "23"),
        ("What is the stock of the fruit 'pear'? Use the stock tool.", "stock", "30"),
    ],
)
def test_the_agent_uses_each_of_its_tools(
    net: LocalNet, since: list[int], question: str, tool: str, result: str
) -> None:
    messages, receipts = example("agent_with_tools")["ask"](question)
    assert [(message.name, message.text) for message in messages if message.type == "tool"] == [(tool, result)]
    assert result in messages[-1].text
    assert {receipt.verdict.status for receipt in receipts} == {"verified"}
    agree(receipts, billed(net, since))


def test_the_agent_runs_no_tool_on_a_forged_answer(net: LocalNet) -> None:
    ask = example("agent_with_tools")["ask"]
    with net.providers[0].fault("body_changed"), pytest.raises(Exception, match="do not trust"):
        ask("What is 6 times 7? Use the multiply tool.")


def test_the_graph_asks_both_providers(net: LocalNet, since: list[int]) -> None:
    first, second = (provider.address for provider in net.providers[:2])
    state, receipts = example("graph_with_fallback")["ask"](first, second, "What is 2 + 3?")
    assert "5" in state["draft"]
    assert "5" in state["review"]
    assert [receipt.provider for receipt in receipts] == [first, second]
    agree(receipts, billed(net, since))


@pytest.mark.parametrize("fault", ["body_changed", "other_signer", "unavailable"])
def test_the_graph_falls_back_and_counts_what_the_refused_reply_cost(
    net: LocalNet, since: list[int], fault: str
) -> None:
    first, second = (provider.address for provider in net.providers[:2])
    with net.providers[0].fault(fault, times=None):
        state, receipts = example("graph_with_fallback")["ask"](first, second, "What is 2 + 3?")
    assert "5" in state["review"]
    served = [receipt for receipt in receipts if receipt.outcome != "refused"]
    paid = [second, second] if fault == "unavailable" else [first, second, second]
    assert [receipt.provider for receipt in served] == paid
    refused = {receipt.provider for receipt in receipts if receipt.outcome == "refused"}
    assert refused == ({first} if fault == "unavailable" else set())
    agree(receipts, billed(net, since))


def test_two_hundred_prompts_have_two_hundred_receipts(net: LocalNet, since: list[int]) -> None:
    answers, receipts = example("batch_of_prompts")["ask"]()
    assert [answer for number, answer in enumerate(answers) if str(2 * number) not in answer] == []
    assert len(answers) == len(receipts) == len(set(receipts.chat_ids)) == 200
    assert {receipt.verdict.status for receipt in receipts} == {"verified"}
    (total,) = receipts.totals
    assert (total.calls, total.provider) == (200, net.providers[0].address)
    agree(receipts, billed(net, since))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_as_a_program(
    net: LocalNet, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [provider.address for provider in net.providers[:2]]
    if name == "rag_llamaindex":
        (tmp_path / "france.txt").write_text(FACTS["france.txt"])
        arguments = [str(tmp_path), "local-embed-1"]
        monkeypatch.setenv("ZEROG_MODEL", "local-chat-1")
        monkeypatch.setattr("builtins.input", lambda _: "What is the capital of France?")
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert "0G" in capsys.readouterr().out


def test_retrieval_lists_what_every_answer_cost_and_stops_at_a_lie(net: LocalNet, tmp_path: Path) -> None:
    from llama_index_zerog import ZeroG, ZeroGEmbedding
    from zg_core import VerificationFailed

    for name, text in FACTS.items():
        (tmp_path / name).write_text(text)
    rag = example("rag_llamaindex")
    chat, embed = net.providers[0], net.providers[2]
    with ZeroGEmbedding(provider=embed.address, verify="require") as embedding, ZeroG(verify="require") as llm:
        index = rag["index_of"](str(tmp_path), embedding)
        starts = [len(provider.log) for provider in net.providers]
        answer, receipts = rag["ask"](index, llm, "What is the capital of France?")
        assert "Paris" in answer
        entries = billed(net, starts)
        assert sorted(receipts.chat_ids) == sorted(entry.chat_id for entry in entries)
        assert receipts.fees["0G"].units == sum(entry.fee for entry in entries)
        with chat.fault("body_changed"), pytest.raises(VerificationFailed):
            rag["ask"](index, llm, "What is the capital of France?")
