"""From the events of a streamed reply to LlamaIndex's responses, each of which holds the message so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse

from llama_index_zerog._messages import with_tool_calls
from zg_core.frameworks.tool_calls import ToolCallMerger
from zg_core.receipts.recent import KEY, metadata_of
from zg_core.tasks.replies import content_text, first_choice, reasoning_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.receipts.model import Receipt

__all__ = ["ResponseMaker"]


class ResponseMaker:
    """Makes the responses of one stream."""

    def __init__(self) -> None:
        self._reasoning: list[str] = []
        self._calls = ToolCallMerger()
        self._about: dict[str, Any] = {}  # id, model, usage, finish_reason: as said
        self._whole = ""

    def response(self, event: Mapping[str, Any]) -> ChatResponse | None:
        """The response for `event`; None when it adds nothing to the message by itself."""
        for name in ("id", "model", "usage"):
            if event.get(name) is not None:
                self._about[name] = event[name]
        if (choice := first_choice(event)) is None:
            return None
        if choice.get("finish_reason"):
            self._about["finish_reason"] = choice["finish_reason"]
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return None
        text = content_text(delta.get("content"))
        reasoning = reasoning_of(delta)
        fragments = self._calls.merge(delta.get("tool_calls"))
        if not (text or reasoning or fragments):
            return None
        self._whole += text
        if reasoning:
            self._reasoning.append(reasoning)
        return ChatResponse(message=self._message(), delta=text, raw=dict(event))

    def last(self, receipt: Receipt | None) -> ChatResponse:
        """The final response: the whole message again, since agents keep only this one, and what is said once."""
        assert receipt is not None  # noqa: S101 - a stream that was read to its end has one
        facts = metadata_of(receipt)
        return ChatResponse(
            message=self._message(), delta="", raw={**self._about, KEY: facts}, additional_kwargs={KEY: facts}
        )

    def _message(self) -> Any:
        return with_tool_calls(self._whole, self._calls.calls, "".join(self._reasoning))
