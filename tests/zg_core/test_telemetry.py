"""Spans and metrics of calls, read back from the SDK's memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.zg_core.conftest import Caller, ask
from zg_core import AsyncChatClient, Budget, ChatClient, neuron
from zg_core.calls import observing
from zg_core.errors import BudgetExceeded, ConfigError, ZeroGError
from zg_core.localnet import LocalProvider
from zg_core.telemetry import instrument

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="the SDK of OpenTelemetry is not installed")

QUESTION = "What is the capital of France?"


class Traces:
    """A tracer and a meter that keep what they are given."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.exporter = InMemorySpanExporter()
        self.tracers = sdk.TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracers.get_tracer("of the test")

    def start(self, **more: Any) -> Any:
        return instrument(tracer_provider=self.tracers, meter_provider=self.meters, **more)

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        every = (m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics)
        return [point for metric in every if metric.name == name for point in metric.data.data_points]


@pytest.fixture
def traces() -> Iterator[Traces]:
    made = Traces()
    yield made
    assert observing._observers == (), "what a test starts it stops"


def test_a_call_is_a_span_with_the_names_of_genai_and_ours(
    traces: Traces, caller: Caller, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()
    done = caller.call({**options, "provider": provider.address}, ask(QUESTION))
    tracing.stop()
    (span,) = traces.spans
    said, receipt = dict(span.attributes), done.receipt
    assert (span.name, span.kind.name) == ("chat chat-ml", "CLIENT")
    assert span.status.status_code.name == "UNSET"
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "0g"
    assert said["gen_ai.request.model"] == "chat-ml"
    assert said["gen_ai.response.id"] == receipt.chat_id
    assert said["gen_ai.usage.input_tokens"] == receipt.usage.prompt_tokens
    assert said["gen_ai.usage.output_tokens"] == receipt.usage.completion_tokens
    assert said["gen_ai.response.time_to_first_chunk"] == receipt.first_byte_seconds
    assert (said["zerog.verdict"], said["zerog.receipt"], said["zerog.provider"]) == (
        "verified",
        receipt.id,
        receipt.provider,
    )
    assert (said["zerog.fee"], said["zerog.fee.exact"]) == (str(receipt.fee.amount.units), True)
    assert said["server.address"] == "127.0.0.1"


def test_metrics_count_calls_tokens_times_and_fees(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()
    with ChatClient(**options, provider=provider.address) as client:
        receipts = [client.create(ask(QUESTION)).receipt for _ in range(2)]
    tracing.stop()
    (calls,) = traces.points("zerog.client.calls")
    assert (calls.value, calls.attributes["zerog.verdict"]) == (2, "verified")
    tokens = {each.attributes["gen_ai.token.type"]: each.sum for each in traces.points("gen_ai.client.token.usage")}
    assert tokens == {
        "input": sum(each.usage.prompt_tokens for each in receipts),
        "output": sum(each.usage.completion_tokens for each in receipts),
    }
    (fee,) = traces.points("zerog.client.fee")
    assert fee.value == pytest.approx(sum(each.fee.amount.units for each in receipts) / 10**18)
    for name in ("gen_ai.client.operation.duration", "gen_ai.client.operation.time_to_first_chunk"):
        (times,) = traces.points(name)
        assert times.count == 2


def test_no_word_of_prompt_answer_key_or_error_is_in_a_span(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()
    with ChatClient(**options, provider=provider.address) as client:
        client.create(ask("a secret of mine"))
        token = client.token().reveal()
        provider.fault("session_rejected", times=9)
        with pytest.raises(ZeroGError):
            client.create(ask("a secret of mine"))
    tracing.stop()
    assert len(traces.spans) >= 2
    text = "".join(span.to_json() for span in traces.spans) + str(traces.reader.get_metrics_data())
    for secret in ("a secret of mine", token, options["private_key"].removeprefix("0x"), "revoked"):
        assert secret not in text


def test_messages_are_there_where_they_are_asked_for(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start(messages=True)
    with ChatClient(**options, provider=provider.address) as client:
        text = client.create(ask(QUESTION)).text
    tracing.stop()
    (span,) = traces.spans
    assert QUESTION in span.attributes["gen_ai.input.messages"]
    assert text in span.attributes["gen_ai.output.messages"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("body_changed", "content_mismatch"), ("cut_before_first_byte", "unknown"), ("unavailable", "refused")],
)
def test_what_went_wrong_is_an_error_by_its_kind(
    traces: Traces, options: dict[str, Any], provider: LocalProvider, fault: str, kind: str
) -> None:
    tracing = traces.start()
    provider.fault(fault)
    with (
        ChatClient(**options, provider=provider.address, verify="require", max_retries=0) as client,
        pytest.raises(ZeroGError),
    ):
        client.create(ask(QUESTION))
    tracing.stop()
    (span,) = traces.spans
    assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", kind)
    assert span.status.description is None


def test_a_provider_that_is_not_there_is_an_error_and_no_call(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()
    with ChatClient(**options, provider=provider.address, max_retries=0) as client:
        client.service()
        provider.kill()
        try:
            with pytest.raises(ZeroGError):
                client.create(ask(QUESTION))
        finally:
            provider.restart()
    tracing.stop()
    assert [span.attributes["error.type"] for span in traces.spans] == ["unsent"]
    assert traces.points("zerog.client.calls") == []


def test_a_call_that_a_budget_refuses_leaves_no_span(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()
    budget = Budget(per_call=neuron(1))
    with ChatClient(**options, provider=provider.address, budget=budget) as client, pytest.raises(BudgetExceeded):
        client.create(ask(QUESTION))
    tracing.stop()
    assert traces.spans == []


def test_a_span_is_a_child_of_what_it_was_made_in(
    traces: Traces, caller: Caller, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()
    with traces.tracer.start_as_current_span("an agent"):
        caller.call({**options, "provider": provider.address}, ask(QUESTION))
    tracing.stop()
    ours, agent = traces.spans
    assert ours.parent.span_id == agent.context.span_id


@pytest.mark.parametrize(
    "mark", [{"gen_ai.operation.name": "chat"}, {"openinference.span.kind": "LLM"}, {"llm.request.type": "chat"}]
)
def test_a_span_that_stands_for_the_call_already_is_not_doubled(
    traces: Traces, options: dict[str, Any], provider: LocalProvider, mark: dict[str, str]
) -> None:
    tracing = traces.start()
    with (
        ChatClient(**options, provider=provider.address) as client,
        traces.tracer.start_as_current_span("theirs", attributes=mark),
    ):
        receipt = client.create(ask(QUESTION)).receipt
    tracing.stop()
    (span,) = traces.spans
    assert (span.name, span.attributes["zerog.receipt"]) == ("theirs", receipt.id)
    assert "gen_ai.usage.input_tokens" not in span.attributes, "that is theirs to say"


def test_spans_are_made_always_or_never_where_that_is_asked_for(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    with ChatClient(**options, provider=provider.address) as client:
        tracing = traces.start(spans="always")
        with traces.tracer.start_as_current_span("theirs", attributes={"gen_ai.operation.name": "chat"}):
            client.create(ask(QUESTION))
        tracing.stop()
        assert [span.name for span in traces.spans] == ["chat chat-ml", "theirs"]
        traces.exporter.clear()
        tracing = traces.start(spans="never")
        client.create(ask(QUESTION))
        tracing.stop()
    assert traces.spans == []
    assert sum(each.value for each in traces.points("zerog.client.calls")) == 2
    with pytest.raises(ConfigError):
        instrument(spans="sometimes")  # type: ignore[arg-type]


async def test_a_reader_that_leaves_ends_the_span(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()
    async with AsyncChatClient(**options, provider=provider.address) as client:
        stream = client.stream(ask(QUESTION))
        await stream.__anext__()
        await stream.close()
    tracing.stop()
    (span,) = traces.spans
    assert span.attributes["error.type"] == "abandoned"


def test_calls_beside_each_other_keep_their_spans_apart(
    traces: Traces, options: dict[str, Any], provider: LocalProvider
) -> None:
    tracing = traces.start()

    async def work() -> list[Any]:
        async with AsyncChatClient(**options, provider=provider.address) as client:

            async def one(number: int) -> Any:
                with traces.tracer.start_as_current_span(f"agent {number}"):
                    return (await client.create(ask(f"echo {number}"))).receipt

            return await asyncio.gather(*map(one, range(8)))

    receipts = asyncio.run(work())
    tracing.stop()
    agents = {span.context.span_id: span.name for span in traces.spans if span.name.startswith("agent")}
    found = {agents[span.parent.span_id]: span.attributes["zerog.receipt"] for span in traces.spans if span.parent}
    assert found == {f"agent {number}": receipt.id for number, receipt in enumerate(receipts)}


def test_an_observer_that_fails_costs_nobody_an_answer(
    options: dict[str, Any], provider: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    leave = observing.watch(object())  # type: ignore[arg-type]
    try:
        with ChatClient(**options, provider=provider.address) as client:
            assert client.create(ask(QUESTION)).text
    finally:
        leave()
    assert "an observer of calls failed" in caplog.text
