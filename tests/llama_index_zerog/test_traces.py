"""Beside the OpenTelemetry instrumentation of LlamaIndex, a call is one span: theirs, with our facts on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

from llama_index_zerog import ZeroG, ZeroGEmbedding
from tests.zg_core.test_telemetry import Traces

pytest.importorskip("opentelemetry.sdk.trace", reason="the SDK of OpenTelemetry is not installed")

QUESTION = "What is the capital of France?"


@pytest.fixture
def traces() -> Iterator[Traces]:
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    made = Traces()
    theirs = LlamaIndexInstrumentor()
    theirs.instrument(tracer_provider=made.tracers)
    ours = made.start()
    yield made
    ours.stop()
    theirs.uninstrument()


def ours(traces: Traces) -> list[Any]:
    return [span for span in traces.spans if span.instrumentation_scope.name == "zg_core"]


def test_a_chat_is_one_span_with_our_facts(traces: Traces, llm: ZeroG) -> None:
    llm.chat([ChatMessage(role="user", content=QUESTION)])
    (span,) = [each for each in traces.spans if "zerog.receipt" in each.attributes]
    assert span.attributes["zerog.verdict"] == "verified"
    assert ours(traces) == []


def test_a_stream_is_one_span_with_our_facts(traces: Traces, llm: ZeroG) -> None:
    assert list(llm.stream_chat([ChatMessage(role="user", content=QUESTION)]))
    assert len([each for each in traces.spans if "zerog.receipt" in each.attributes]) == 1


async def test_an_async_chat_is_one_span_with_our_facts(traces: Traces, llm: ZeroG) -> None:
    await llm.achat([ChatMessage(role="user", content=QUESTION)])
    (span,) = [each for each in traces.spans if "zerog.receipt" in each.attributes]
    assert span.attributes["zerog.verdict"] == "verified"
    assert ours(traces) == []


def test_embeddings_are_one_span_with_our_facts(traces: Traces, embedding: ZeroGEmbedding) -> None:
    embedding.get_text_embedding("a")
    assert len([each for each in traces.spans if "zerog.receipt" in each.attributes]) == 1
    assert ours(traces) == []
