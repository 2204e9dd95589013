"""What the Router makes of a provider's answer: renamed, traced, and changed where a fault says so."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.localnet.router.faults import RouterFault, RouterFaultPlan
from zg_core.localnet.sealing.enclave import Answering
from zg_core.localnet.sealing.jcs import to_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_F = RouterFault
SHAPES = ("bare", "empty", "null", "folded", "comment", "none")
"""Where the trace of a stream is put (0g-router §4.2)."""


def compact(value: Any) -> bytes:
    """JSON as the Router writes it anew: names in order, whatever the client or provider wrote."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass
class Answer:
    """What is made of one answer.

    Attributes:
        asked: The model's name, as the client knows it.
        shape: Where the trace goes.
        trace: Makes the trace, once usage is known.
        faults: What goes wrong.
        kept: Frames of earlier sealed answers.
        request: The question.
        late: Seconds before the trace of a stream is there.
    """

    asked: str
    shape: str
    trace: Callable[[dict[str, Any] | None], dict[str, Any] | None]
    faults: RouterFaultPlan
    kept: dict[bool, list[bytes]]
    request: dict[str, Any]
    late: float = 0.0
    usage: dict[str, Any] | None = None
    frames: list[bytes] = field(default_factory=list)

    @property
    def sealed(self) -> bool:
        """Whether the question was."""
        return "_e2ee" in self.request

    def whole(self, body: bytes) -> bytes:
        """An answer in one piece."""
        said = json.loads(body)
        if isinstance(said, dict):
            self.usage = said.get("usage")
            said = self._renamed(said)
        if self.sealed:
            said = self._altered_frame(said)
            if self.faults.take(_F.FRAME_FROM_ANOTHER_CALL) and self.kept.get(False):
                said = json.loads(self.kept[False][0])
            self.kept.setdefault(False, [compact(said)])
            if self.faults.take(_F.CUT_BEFORE_FINAL):
                said["_e2ee"] = {**said["_e2ee"], "final": False}
        elif self.faults.take(_F.ANSWER_CHANGED):
            said = _changed(said)
        if isinstance(said, dict) and (trace := self.trace(self.usage)) is not None:
            said["x_0g_trace"] = trace
        return compact(said)

    async def stream(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """An answer in events, as they come; what is sealed is held back where a fault has to choose among frames."""
        held: list[dict[str, Any]] = []
        chooses = self.sealed and self._chosen()
        last: dict[str, Any] | None = None
        error_at_end = self.faults.take(_F.ERROR_AT_THE_END)
        cut = not self.sealed and self.faults.take(_F.CUT_BEFORE_FINAL)
        async for event in events:
            if event.startswith(b":") or not event.startswith(b"data:"):
                yield event
                continue
            data = event[5:].strip()
            if data == b"[DONE]":
                break
            said = self._renamed(json.loads(data))
            if isinstance(said.get("usage"), dict):
                self.usage = said["usage"]
            if chooses:
                held.append(said)
                continue
            if not self.sealed and said.get("choices") and self.faults.take(_F.ANSWER_CHANGED):
                said = _changed(said)
            if self.sealed:
                said = self._altered_frame(said)
                self.frames.append(compact(said))
            if last is not None:
                yield _event(last)
                if cut and last.get("choices"):
                    return
            last = said
        if chooses:
            for said in self._arranged(held):
                yield _event(said)
            yield b"data: [DONE]\n\n"
            return
        if self.sealed:
            self.kept.setdefault(True, list(self.frames))
        await asyncio.sleep(self.late)
        trace = self.trace(self.usage)
        folded = self.sealed or self.shape == "folded"
        if last is not None:
            if folded and trace is not None:
                last["x_0g_trace"] = trace
            yield _event(last)
        if error_at_end:
            yield b'{"error":{"message":"the provider went away","type":"server_error","code":"provider_error"}}\n'
            return
        if trace is not None and not folded:
            for made in self._trace_events(trace):
                yield made
        yield b"data: [DONE]\n\n"

    def _trace_events(self, trace: dict[str, Any]) -> list[bytes]:
        if self.shape == "comment":
            return [b": x_0g_trace " + compact(trace) + b"\n\n"]
        if self.shape == "none":
            return []
        shapes: dict[str, dict[str, Any]] = {"bare": {}, "empty": {"choices": []}, "null": {"choices": None}}
        beside = shapes[self.shape]
        return [_event({**beside, "x_0g_trace": trace})]

    def _renamed(self, said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "model": self.asked} if isinstance(said, dict) and "model" in said else said

    # what may happen to sealed frames

    def _altered_frame(self, said: dict[str, Any]) -> dict[str, Any]:
        changed = self.faults.take(_F.FIELD_CHANGED)
        if changed is not None:
            return {**said, changed.options["field"]: 1}
        return said

    def _chosen(self) -> bool:
        self._plan = self.faults.take(
            _F.FRAME_DROPPED, _F.FRAMES_REORDERED, _F.FRAME_REPLAYED, _F.FRAME_FROM_ANOTHER_CALL, _F.CUT_BEFORE_FINAL
        )
        return self._plan is not None

    def _arranged(self, frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
        plan = self._plan
        assert plan is not None  # noqa: S101 - the caller has looked
        at = min(int(plan.options.get("index", 1)), len(frames) - 1)
        if plan.fault is _F.FRAME_DROPPED:
            return [*frames[:at], *frames[at + 1 :]]
        if plan.fault is _F.FRAMES_REORDERED:
            return [*frames[: at - 1], frames[at], frames[at - 1], *frames[at + 1 :]]
        if plan.fault is _F.FRAME_REPLAYED:
            return [*frames[: at + 1], frames[at], *frames[at + 1 :]]
        if plan.fault is _F.CUT_BEFORE_FINAL:
            return frames[:-1]
        return [json.loads(frame) for frame in self.kept.get(True, [])] or frames[1:]


def own_answer(request: dict[str, Any], *, stream: bool, sealed: bool) -> list[dict[str, Any]]:
    """An answer that no provider has given: in the clear, or sealed to the client's key, which anybody can do."""
    number = f"chatcmpl-{secrets.token_hex(16)}"
    head: dict[str, Any] = {"id": number, "created": 1_790_000_000, "model": request.get("model")}
    text = {"role": "assistant", "content": "the Router's own words"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    if stream:
        head["object"] = "chat.completion.chunk"
        parts = [
            {**head, "choices": [{"index": 0, "delta": text, "finish_reason": "stop"}]},
            {**head, "choices": [], "usage": usage},
        ]
    else:
        head["object"] = "chat.completion"
        parts = [{**head, "choices": [{"index": 0, "message": text, "finish_reason": "stop"}], "usage": usage}]
    if not sealed:
        return parts
    answering = Answering("/chat/completions", to_bytes(request["_e2ee"]["client_eph_pub"]), b"", stream)
    frames = [answering.frame(part, final=not stream) for part in parts]
    if stream:
        frames.append(answering.frame({**head, "choices": []}, final=True))
    return [json.loads(frame) for frame in frames]


def _changed(said: dict[str, Any]) -> dict[str, Any]:
    """The same with a letter of its text changed."""
    for choice in said.get("choices") or []:
        part = choice.get("message") or choice.get("delta") or {}
        if isinstance(part.get("content"), str) and part["content"]:
            part["content"] = "X" + part["content"][1:]
    return said


def _event(said: dict[str, Any]) -> bytes:
    return b"data: " + compact(said) + b"\n\n"
