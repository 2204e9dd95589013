"""Calls of the server belong to the traces that requests name."""

from __future__ import annotations

from typing import Any

from tests.zg_core.serve.serving import QUESTION, running, settings_of
from tests.zg_core.test_telemetry import Traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_call_belongs_to_the_trace_of_its_request(reach: dict[str, Any]) -> None:
    traces = Traces()
    tracing = traces.start()
    try:
        for traced in (True, False):
            with running(settings_of(reach, traced=traced)) as server:
                server.chat({"model": "chat-ml", **QUESTION}, traceparent=f"00-{TRACE}-{PARENT}-01")
    finally:
        tracing.stop()
    ours, others = traces.spans
    assert (f"{ours.context.trace_id:032x}", f"{ours.parent.span_id:016x}") == (TRACE, PARENT)
    assert others.parent is None
