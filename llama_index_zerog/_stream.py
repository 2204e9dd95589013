"""From the events of a streamed reply to LlamaIndex's responses, each of which holds the message so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse, LogProb

from llama_index_zerog._messages import Thought, message_of
from zg_core.frameworks.tool_calls import ToolCallMerger
from zg_core.receipts.recent import KEY, metadata_of
from zg_core.tasks.replies import (
    Beside,
    Chosen,
    beside_of,
    content_text,
    images_in_content,
    reasoning_name,
    reasoning_of,
    usage_in,
)
from zg_core.types import count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.receipts.model import Receipt

__all__ = ["ResponseMaker", "logprobs_of", "token_counts"]


class ResponseMaker:
    """Makes the responses of one stream."""

    def __init__(self) -> None:
        self._thoughts: list[str] = []
        self._thought = ""  # the server's name for them
        self._calls = ToolCallMerger()
        self._chosen, self._beside = Chosen(), Beside()
        self._about: dict[str, Any] = {}  # what events say beside choices: as first said, finish_reason and usage last
        self._whole = ""
        self._in_content = False  # whether images stand there
        self._logprobs: list[list[LogProb]] = []

    def response(self, event: Mapping[str, Any]) -> ChatResponse | None:
        """The response for `event`; None when it adds nothing to the message by itself."""
        for name, value in event.items():
            if value is not None and name not in self._about and name not in _CHANGING:
                self._about[name] = value
        if ("usage" in event or "x_groq" in event) and (usage := usage_in(event)) is not None:
            self._about["usage"] = usage
        if (choice := self._chosen.of(event)) is None:
            return None
        if choice.get("finish_reason"):
            self._about["finish_reason"] = choice["finish_reason"]
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return None
        text = content_text(delta.get("content"))
        if logprobs := logprobs_of(choice):
            self._logprobs += logprobs
        if len(delta) == 1 and type(delta.get("content")) is str:  # what nearly all of them are
            thought, fragments = "", []
        else:
            if thought := reasoning_of(delta, named=bool(self._thought)):
                self._thought = self._thought or reasoning_name(delta)
                self._thoughts.append(thought)
            fragments = self._calls.take(delta)
            self._beside.take(beside_of(delta))
            self._in_content = self._in_content or images_in_content(delta)
        if not (text or thought or fragments or logprobs):
            return None
        self._whole += text
        return ChatResponse(
            message=self._message(),
            delta=text,
            raw=dict(event),
            logprobs=logprobs,
            additional_kwargs={"thinking_delta": thought} if thought else {},
        )

    def last(self, receipt: Receipt | None) -> ChatResponse:
        """The final response: the whole message again, since agents keep only this one, and what is said once."""
        assert receipt is not None  # noqa: S101 - a stream that was read to its end has one
        facts = metadata_of(receipt)
        return ChatResponse(
            message=self._message(self._beside.whole),
            delta="",
            raw={**self._about, KEY: facts},
            logprobs=self._logprobs or None,
            additional_kwargs={KEY: facts, **token_counts(self._about.get("usage"))},
        )

    def _message(self, beside: Mapping[str, Any] | None = None) -> Any:
        thought = Thought("".join(self._thoughts), self._thought) if self._thoughts else None
        return message_of(self._whole, self._calls.calls, thought, beside, in_content=self._in_content)


_CHANGING = frozenset({"choices", "finish_reason", "usage", "x_groq"})


def token_counts(usage: Any) -> dict[str, int]:
    """The counts of an OpenAI ``usage`` object, under the names that LlamaIndex's token counter reads."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: count for name in names if (count := count_of(usage, name)) is not None}
    if counts:  # one that was not said counts as none, as in the receipt
        read, written = counts.setdefault("prompt_tokens", 0), counts.setdefault("completion_tokens", 0)
        counts.setdefault("total_tokens", read + written)
    return counts


def logprobs_of(choice: Mapping[str, Any]) -> list[list[LogProb]] | None:
    """The log probabilities of a choice, as LlamaIndex has them: for each token its likeliest ones, else itself.

    What is no number is left out.
    """
    said = choice.get("logprobs")
    tokens = said.get("content") if isinstance(said, dict) else None
    if not isinstance(tokens, list):
        return None
    made: list[list[LogProb]] = []
    for token in tokens:
        if isinstance(token, dict):
            likeliest = token.get("top_logprobs")
            entries = likeliest if isinstance(likeliest, list) and likeliest else [token]
            made.append([one for entry in entries if (one := _logprob(entry)) is not None])
    return made or None


def _logprob(entry: Any) -> LogProb | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    number, data = entry.get("logprob"), entry.get("bytes")
    if not isinstance(number, int | float):
        return None
    whole = data if isinstance(data, list) and all(isinstance(one, int) for one in data) else []
    return LogProb(token=entry["token"], logprob=float(number), bytes=whole)
