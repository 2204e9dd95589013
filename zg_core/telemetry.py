"""OpenTelemetry spans and metrics of calls, with the GenAI names; needs the API only (extra ``otel``).

Nothing is traced unless asked: `instrument` watches every call of the process, whichever client or framework makes it,
and hands spans and metrics to the providers that the program has set up. Prompts and answers are left out unless asked
for; keys, tokens and the words of errors always.

Where the span under way is already that of this call, because a framework's instrumentation has made it current, our
facts are added to it, and no second span is made.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from zg_core.calls import observing
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.money import Amount
from zg_core.shown.redaction import blot
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.calls.call import Call
    from zg_core.receipts.model import Receipt

__all__ = ["Instrumentation", "continue_trace", "instrument"]

_OPERATIONS = {"chat": "chat", "embeddings": "embeddings"}
_GENERATING = frozenset({"chat", "text_completion", "generate_content", "embeddings", "completion"})
_OTHERS = {
    "gen_ai.operation.name": _GENERATING,
    "openinference.span.kind": frozenset({"LLM", "EMBEDDING"}),
    "llm.request.type": _GENERATING,
}
"""By which attributes a span says that it stands for one call of a model (names of the instrumentations in use)."""
_METHODS = frozenset(
    {"chat", "achat", "complete", "acomplete", "stream_chat", "astream_chat", "stream_complete", "astream_complete"}
    | {"get_query_embedding", "aget_query_embedding", "get_text_embedding", "aget_text_embedding"}
    | {"get_text_embeddings", "aget_text_embeddings", "get_text_embedding_batch", "aget_text_embedding_batch"}
)
_LONGEST = 20_000
_WAITING = 10_000  # calls under way that are remembered; more are none
Attributes = dict[str, Any]
Spans = Literal["auto", "always", "never"]


@dataclass(slots=True)
class _UnderWay:
    """A call that was sent and has not ended."""

    call: Call
    span: Any
    own: bool


class Instrumentation:
    """What `instrument` has set up; `stop` ends it."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def stop(self) -> None:
        """Trace no further call; again has no effect."""
        self._stop()


def instrument(
    *, tracer_provider: Any = None, meter_provider: Any = None, spans: Spans = "auto", messages: bool = False
) -> Instrumentation:
    """Trace every call of this process from now on.

    Args:
        tracer_provider: Instead of the global one.
        meter_provider: Instead of the global one.
        spans: ``"auto"`` makes a span for a call, unless the span under way stands for it already, and adds to that one
            then; ``"always"`` makes one; ``"never"`` only adds, and counts.
        messages: Put prompts and answers into spans, cut after 20,000 characters.

    Returns:
        What ends it.

    Raises:
        ConfigError: the API is not installed (code ``missing_extra``), or `spans` is no such word.

    Example:
        >>> tracing = instrument()
        >>> tracing.stop()
    """
    if spans not in ("auto", "always", "never"):
        raise ConfigError(f"spans is {spans!r}", code="bad_telemetry", hint='spans= takes "auto", "always", "never"')
    try:
        observer = _Tracing(tracer_provider, meter_provider, spans, messages=messages)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"telemetry needs {error.name}", code="missing_extra", hint="pip install 'zerog-integrations[otel]'"
        ) from None
    return Instrumentation(observing.watch(observer))


def continue_trace(headers: Mapping[str, str]) -> None:
    """Let calls that are made from here on, in this task or thread, belong to the trace that a request names.

    Args:
        headers: Of the request, names in lower case (``traceparent``, ``tracestate``).
    """
    from opentelemetry import context, propagate

    context.attach(propagate.extract(headers))


class _Tracing:
    """The observer."""

    def __init__(self, tracers: Any, meters: Any, spans: Spans, *, messages: bool) -> None:
        from opentelemetry import metrics, trace

        from zg_core import __version__

        self._trace = trace
        self._tracer = trace.get_tracer("zg_core", __version__, tracer_provider=tracers)
        meter = metrics.get_meter("zg_core", __version__, meter_provider=meters)
        self._duration = meter.create_histogram("gen_ai.client.operation.duration", "s", "Time of a call")
        self._first = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", "Time until the first byte of a reply"
        )
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens that were used")
        self._fees = meter.create_counter("zerog.client.fee", "1", "What calls cost, in whole units of the currency")
        self._calls = meter.create_counter("zerog.client.calls", "{call}", "Calls, by outcome and verdict")
        self._verdicts = meter.create_counter("zerog.client.late_verdicts", "{call}", "Verdicts that came late")
        self._spans = spans
        self._messages = messages
        self._guard = threading.Lock()
        self._under_way: dict[str, _UnderWay] = {}

    def sent(self, call: Call) -> None:
        receipt = call.receipt
        if len(self._under_way) >= _WAITING:
            return
        span, own = observing.found(), False
        if span is None or not span.is_recording():
            span = self._trace.get_current_span()
            stands_for_it = span.is_recording() and _is_of_a_call(span)
        else:
            stands_for_it = True
        if self._spans == "always" or (self._spans == "auto" and not stands_for_it):
            operation = _operation(receipt)
            span = self._tracer.start_span(
                f"{operation} {receipt.model}"[:200],
                kind=self._trace.SpanKind.CLIENT,
                attributes={"gen_ai.operation.name": operation, **_facts_before(receipt)},
            )
            own = True
        elif not stands_for_it:
            span = self._trace.INVALID_SPAN
        with self._guard:
            self._under_way[receipt.id] = _UnderWay(call, span, own)

    def unsent(self, receipt: Receipt) -> None:
        known = self._take(receipt)
        if known is None or not known.own:
            return
        known.span.set_attribute("error.type", "unsent")
        known.span.set_status(self._trace.StatusCode.ERROR)
        known.span.end()

    def ended(self, receipt: Receipt) -> None:
        known = self._take(receipt)
        self._count(receipt, _operation(receipt))
        if known is None:
            return
        span = known.span
        if span.is_recording():
            span.set_attributes(_facts_after(receipt, own=known.own))
            if self._messages:
                span.set_attributes(_messages_of(known.call))
            if known.own and (kind := _failure(receipt)):
                span.set_attribute("error.type", kind)
                span.set_status(self._trace.StatusCode.ERROR)
        if known.own:
            span.end()

    def judged(self, receipt: Receipt) -> None:
        self._verdicts.add(1, {"zerog.verdict": str(receipt.verdict.status), "zerog.provider": receipt.provider})

    def _take(self, receipt: Receipt) -> _UnderWay | None:
        with self._guard:
            return self._under_way.pop(receipt.id, None)

    def _count(self, receipt: Receipt, operation: str) -> None:
        common: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _provider_name(receipt),
            "gen_ai.request.model": receipt.model,
        }
        failure = _failure(receipt)
        self._duration.record(receipt.seconds, {**common, **({"error.type": failure} if failure else {})})
        if receipt.first_byte_seconds is not None:
            self._first.record(receipt.first_byte_seconds, common)
        if receipt.usage is not None:
            self._tokens.record(receipt.usage.prompt_tokens, {**common, "gen_ai.token.type": "input"})
            self._tokens.record(receipt.usage.completion_tokens, {**common, "gen_ai.token.type": "output"})
        ours = {**common, "zerog.provider": receipt.provider}
        verdict = {"zerog.outcome": receipt.outcome, "zerog.verdict": str(receipt.verdict.status)}
        self._calls.add(1, {**ours, **verdict})
        amount = receipt.fee.amount
        self._fees.add(amount.units / Amount("1", amount.currency).units, {**ours, "zerog.currency": amount.currency})


def _facts_before(receipt: Receipt) -> Attributes:
    facts: Attributes = {
        "gen_ai.provider.name": _provider_name(receipt),
        "gen_ai.request.model": receipt.model,
        "zerog.attempt": receipt.attempts,
    }
    url = getattr(receipt.service, "url", "")
    parts = urlsplit(url)
    if parts.hostname:
        facts["server.address"] = parts.hostname
        facts["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    return facts


def _facts_after(receipt: Receipt, *, own: bool) -> Attributes:
    """What is known at the end; into others' spans go our own names only."""
    fee, usage = receipt.fee, receipt.usage
    facts: Attributes = {
        "zerog.receipt": receipt.id,
        "zerog.backend": receipt.backend,
        "zerog.provider": receipt.provider,
        "zerog.kind": str(receipt.kind),
        "zerog.outcome": receipt.outcome,
        "zerog.verdict": str(receipt.verdict.status),
        "zerog.verdict.reason": str(receipt.verdict.reason),
        "zerog.fee": str(fee.amount.units),
        "zerog.fee.unit": fee.amount.unit,
        "zerog.fee.exact": fee.exact,
    }
    if not own:
        return facts
    if receipt.chat_id:
        facts["gen_ai.response.id"] = receipt.chat_id
    if receipt.first_byte_seconds is not None:
        facts["gen_ai.response.time_to_first_chunk"] = receipt.first_byte_seconds
    if usage is not None:
        facts["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        facts["gen_ai.usage.output_tokens"] = usage.completion_tokens
    return facts


def _messages_of(call: Call) -> Attributes:
    try:
        asked = parse_json(call.exchange.request)
    except (ValueError, RecursionError):
        asked = None
    messages = asked.get("messages", asked.get("input")) if isinstance(asked, dict) else None
    said = [{"role": "assistant", "parts": [{"type": "text", "content": "".join(call.text)}]}]
    return {"gen_ai.input.messages": _text(messages), "gen_ai.output.messages": _text(said)}


def _text(value: Any) -> str:
    return blot(json.dumps(value, ensure_ascii=False)[:_LONGEST]).encode("utf-8", "replace").decode()


def _failure(receipt: Receipt) -> str:
    """The kind of error that a call ended with, "" if it ended well."""
    if receipt.verdict.status is Status.FAILED:
        return str(receipt.verdict.reason)
    return "" if receipt.outcome == "answered" else receipt.outcome


def _provider_name(receipt: Receipt) -> str:
    return {"direct": "0g", "router": "0g.router", "opengradient": "opengradient"}.get(receipt.backend, receipt.backend)


def _operation(receipt: Receipt) -> str:
    return _OPERATIONS.get(receipt.task, receipt.task)


def _is_of_a_call(span: Any) -> bool:
    """Whether a span of somebody else stands for one call of a model."""
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    if any(attributes.get(name) in values for name, values in _OTHERS.items()):
        return True
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", "").replace("_", "")
    method = (
        str(getattr(span, "name", "")).rpartition(".")[2].lstrip("_")
    )  # some say what a span stands for when it ends
    return "llamaindex" in scope and method in _METHODS
