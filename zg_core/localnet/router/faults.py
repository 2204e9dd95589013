"""Ways in which a local Router can misbehave on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self


class RouterFault(StrEnum):
    """The public names. `router_fault_meanings` has one line on each, with its options."""

    REFUSED = "refused"
    COST_WRONG = "cost_wrong"
    COST_CONTRADICTS = "cost_contradicts"
    MODEL_SWAPPED = "model_swapped"
    ANSWER_CHANGED = "answer_changed"
    QUESTION_CHANGED = "question_changed"
    PLAINTEXT_ANSWER = "plaintext_answer"
    FORGED_ANSWER = "forged_answer"
    FRAME_DROPPED = "frame_dropped"
    FRAMES_REORDERED = "frames_reordered"
    FRAME_REPLAYED = "frame_replayed"
    FRAME_FROM_ANOTHER_CALL = "frame_from_another_call"
    CUT_BEFORE_FINAL = "cut_before_final"
    FIELD_CHANGED = "field_changed"
    PREVIEW_STRANGER = "preview_stranger"
    PREVIEW_OTHER_ENDPOINT = "preview_other_endpoint"
    PREVIEW_OTHER_MODEL = "preview_other_model"
    PREVIEW_REPEATS = "preview_repeats"
    ERROR_AT_THE_END = "error_at_the_end"
    CLAIM_WITHHELD = "claim_withheld"
    CLAIM_FAILED = "claim_failed"
    CLAIM_LATE = "claim_late"
    KEY_HIDDEN = "key_hidden"
    OTHER_PROVIDER_NAMED = "other_provider_named"


_MEANINGS: Mapping[RouterFault, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        RouterFault.REFUSED: (
            "the request is refused in the Router's own form; nothing is served",
            {"status": 503, "code": "vault_unavailable", "message": "refused", "headers": None, "body": None},
        ),
        RouterFault.COST_WRONG: ("the trace names `factor` times what was charged", {"factor": 1000}),
        RouterFault.COST_CONTRADICTS: ("the parts of the cost do not come to its total", {}),
        RouterFault.MODEL_SWAPPED: ("another provider's model answers under the name that was asked for", {}),
        RouterFault.ANSWER_CHANGED: ("a letter of the answer is changed", {}),
        RouterFault.QUESTION_CHANGED: ("a word is put into the question", {}),
        RouterFault.PLAINTEXT_ANSWER: ("a sealed question is answered in the clear, by the Router itself", {}),
        RouterFault.FORGED_ANSWER: ("an answer of the Router's own is sealed to the client's key", {}),
        RouterFault.FRAME_DROPPED: ("one frame of a sealed stream is left out", {"index": 1}),
        RouterFault.FRAMES_REORDERED: ("two frames of a sealed stream change places", {"index": 1}),
        RouterFault.FRAME_REPLAYED: ("a frame of a sealed stream is sent twice", {"index": 1}),
        RouterFault.FRAME_FROM_ANOTHER_CALL: ("the frames of an earlier sealed answer are sent", {}),
        RouterFault.CUT_BEFORE_FINAL: (
            "a sealed answer ends before its final frame, a stream in the clear at once",
            {},
        ),
        RouterFault.FIELD_CHANGED: ("a clear field of a sealed answer is changed", {"field": "created"}),
        RouterFault.PREVIEW_STRANGER: ("the preview names a provider that the chain does not know", {}),
        RouterFault.PREVIEW_OTHER_ENDPOINT: (
            "the preview sends the client for the key to another host",
            {"endpoint": "http://127.0.0.1:9"},
        ),
        RouterFault.PREVIEW_OTHER_MODEL: ("the preview names a provider of another model under the one asked for", {}),
        RouterFault.PREVIEW_REPEATS: ("the preview names each provider `copies` times, and strangers", {"copies": 500}),
        RouterFault.ERROR_AT_THE_END: ("a stream ends in a bare JSON error instead of [DONE]", {}),
        RouterFault.CLAIM_WITHHELD: ("the Router does not say whether it checked the signature", {}),
        RouterFault.CLAIM_FAILED: ("the Router says that the signature is wrong", {}),
        RouterFault.CLAIM_LATE: (
            "the Router takes its time to check the signature, and says nothing meanwhile",
            {"seconds": 1.0},
        ),
        RouterFault.KEY_HIDDEN: ("the provider's chat key is not passed on", {}),
        RouterFault.OTHER_PROVIDER_NAMED: ("the trace names another provider than the one that answered", {}),
    }
)


def router_fault_meanings() -> dict[str, dict[str, Any]]:
    """Every fault with what it does and its options with their defaults."""
    return {fault.value: {"meaning": text, "options": dict(options)} for fault, (text, options) in _MEANINGS.items()}


@dataclass(eq=False)
class ActiveRouterFault:
    """A fault that is set: leave its context to clear it."""

    plan: RouterFaultPlan
    fault: RouterFault
    remaining: int | None
    options: dict[str, Any]
    fired: int = field(default=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.plan.remove(self)


class RouterFaultPlan:
    """The faults that are set. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveRouterFault] = []

    def add(self, fault: RouterFault | str, times: int | None = 1, **options: Any) -> ActiveRouterFault:
        """Set a fault for the next `times` requests that it is about; None means until cleared.

        Raises:
            ValueError: unknown fault, or a count below 1.
            TypeError: an option the fault does not have.
        """
        known = RouterFault(fault)
        if times is not None and times < 1:
            raise ValueError("times is at least 1, or None")
        defaults = dict(_MEANINGS[known][1])
        if unknown := sorted(set(options) - set(defaults)):
            raise TypeError(f"fault {known.value} has no option {unknown[0]!r}")
        active = ActiveRouterFault(self, known, times, {**defaults, **options})
        with self._lock:
            self._active.append(active)
        return active

    def take(self, *faults: RouterFault) -> ActiveRouterFault | None:
        """The first of these that is set, used once more."""
        with self._lock:
            for active in self._active:
                if active.fault in faults:
                    active.fired += 1
                    if active.remaining is not None:
                        active.remaining -= 1
                        if not active.remaining:
                            self._active.remove(active)
                    return active
        return None

    def remove(self, active: ActiveRouterFault) -> None:
        """Take one back; no error if it is gone."""
        with self._lock:
            if active in self._active:
                self._active.remove(active)

    def clear(self) -> None:
        """Take all back."""
        with self._lock:
            self._active.clear()
