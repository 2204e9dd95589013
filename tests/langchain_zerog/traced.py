"""Calls of a `ChatZeroG` beside one instrumentation of LangChain, in a process of their own: some never let go.

    python -m tests.langchain_zerog.traced traceloop|openinference

Prints one JSON object: by way of calling, the spans that were made.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from langchain_zerog import ChatZeroG
from tests.zg_core.test_telemetry import Traces

QUESTION = "What is the capital of France?"


def instrumented(name: str, traces: Traces) -> None:
    """Have LangChain traced."""
    if name == "traceloop":
        from opentelemetry.instrumentation.langchain import LangchainInstrumentor

        LangchainInstrumentor().instrument(tracer_provider=traces.tracers, meter_provider=traces.meters)
    else:
        from openinference.instrumentation.langchain import LangChainInstrumentor

        LangChainInstrumentor().instrument(tracer_provider=traces.tracers)


async def streamed(model: ChatZeroG) -> None:
    """A stream in an event loop, read to its end."""
    async for _ in model.astream(QUESTION):
        continue


def main() -> None:
    """Call in every way."""
    traces = Traces()
    instrumented(sys.argv[1], traces)
    tracing = traces.start()
    said: dict[str, Any] = {}

    def spans() -> list[dict[str, Any]]:
        found = [
            {"scope": each.instrumentation_scope.name, **{k: v for k, v in each.attributes.items() if "zerog." in k}}
            for each in traces.spans
        ]
        traces.exporter.clear()
        return found

    with ChatZeroG() as model:
        model.invoke(QUESTION)
        said["invoke"] = spans()
        list(model.stream(QUESTION))
        said["stream"] = spans()
        asyncio.run(model.ainvoke(QUESTION))
        said["ainvoke"] = spans()
        asyncio.run(streamed(model))
        said["astream"] = spans()
        answers = model.batch([f"echo {number}" for number in range(6)])
        said["batch"] = spans()
        said["receipts"] = sorted(each.response_metadata["zerog"]["receipt_id"] for each in answers)
    tracing.stop()
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
