"""The model of the local network: a deterministic rule engine behind OpenAI's shapes, for every type of service.

It knows nothing about the world, but it behaves: it computes, repeats, answers from the context it is given, picks and
calls tools, fills JSON schemas, follows the ReAct text protocol, streams, stops, counts. The same request always gets
the same answer, so a test can say what it expects.
"""

import asyncio
import hashlib
import itertools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, Protocol

from zg_core.localnet.media.drawing import Draws, drawn
from zg_core.localnet.media.images import paint, read_edit, read_generation
from zg_core.localnet.media.speech import read_speech, write_down, write_stream
from zg_core.localnet.model.answer import answer_chat
from zg_core.localnet.model.embedding import embed
from zg_core.localnet.model.render import (
    Head,
    Output,
    limit_answer,
    render_chunks,
    render_completion,
    usage_of,
)
from zg_core.localnet.model.request import ChatRequest, read_chat_request
from zg_core.localnet.model.tokens import count_message, count_tokens
from zg_core.localnet.model.upstream import Upstream, UpstreamReply
from zg_core.localnet.model.values import InvalidRequestError

__all__ = ["RuleModel", "Upstream", "UpstreamReply", "count_tokens"]

_JSON: Final = {"content-type": "application/json"}
_CACHED_PROMPTS: Final = 1024

MINIMUM_CACHED_TOKENS: Final = 128
"""System prompts shorter than this are never reported as cached."""


class HasNow(Protocol):
    """A clock: `now()` in Unix seconds."""

    def now(self) -> float:
        """The time."""
        ...


class RuleModel:
    """Answers requests by rules: chat, embeddings, images, edits, transcripts.

    Args:
        model: The name published by `models()`. Answers echo the name in the request, whatever it is.
        context_length: Tokens of prompt and answer together; a longer prompt is refused with `context_length_exceeded`.
        max_completion_tokens: Tokens of an answer whose request sets no limit.
        first_token_delay: Seconds before the first token.
        token_delay: Seconds for every further token, streamed or not.
        clock: Where `created` comes from; the machine's clock if not given.
        created: A fixed `created` instead, in Unix seconds.
        most_images: Images in one answer at most, however many are asked for.
        draws: Where the answers of a chat hold pictures, if the model draws any (`Draws`); None: it answers in text.
        speech_usage: How a transcript says what it cost: ``duration``, ``tokens`` or ``none``.
        speech_sse: Whether streamed transcripts are server-sent events instead of lines of JSON.
        cached_prefix: Report a long system prompt (from `MINIMUM_CACHED_TOKENS`) as cached when it comes again.
    """

    def __init__(
        self,
        *,
        model: str,
        context_length: int = 32768,
        max_completion_tokens: int = 8192,
        first_token_delay: float = 0.0,
        token_delay: float = 0.0,
        clock: HasNow | None = None,
        created: int | None = None,
        cached_prefix: bool = False,
        most_images: int | None = None,
        draws: Draws | None = None,
        speech_usage: str = "duration",
        speech_sse: bool = False,
    ) -> None:
        self.model = model
        self.context_length = context_length
        self.max_completion_tokens = min(max_completion_tokens, context_length)
        self.first_token_delay = first_token_delay
        self.token_delay = token_delay
        self._clock = clock
        self._created = created
        self._cached_prefix = cached_prefix
        self._most_images = most_images
        self._draws = draws
        self._speech_usage = speech_usage
        self._speech_sse = speech_sse
        self._system_prompts: OrderedDict[bytes, None] = OrderedDict()
        self._counter = itertools.count()
        self._since = self._now()

    def __repr__(self) -> str:
        return f"RuleModel(model={self.model!r}, context_length={self.context_length})"

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        """Answer `body` as one JSON document, with OpenAI's error body and status if it is refused.

        Whether the request says `stream` does not matter here: the caller chose this method.
        """
        try:
            if path == "/embeddings":
                return UpstreamReply(200, _JSON, embed(body))
            if path in ("/images/generations", "/images/edits"):
                return await self._images(path, body)
            if path == "/audio/transcriptions":
                kind, text = write_down(read_speech(body), usage=self._speech_usage)
                await self._delay(self.first_token_delay)
                return UpstreamReply(200, {"content-type": kind}, text)
            request, output, head = self._answer(path, body)
        except InvalidRequestError as error:
            return UpstreamReply(error.status, _JSON, error.body())
        await self._delay(self.first_token_delay + self.token_delay * max(output.completion_tokens - 1, 0))
        return UpstreamReply(200, _JSON, render_completion(output, head, request))

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes | UpstreamReply]:
        """Answer `body` as server-sent events, one per item; a refused request is a single `UpstreamReply`."""
        try:
            if path == "/audio/transcriptions":
                for line in write_stream(read_speech(body), usage=self._speech_usage, sse=self._speech_sse):
                    await self._delay(self.token_delay)
                    yield line
                return
            request, output, head = self._answer(path, body)
        except InvalidRequestError as error:
            yield UpstreamReply(error.status, _JSON, error.body())
            return
        events = render_chunks(output, head, request)
        yield next(events)
        # The events between the role and the end are the tokens: only these take time.
        timed = len(output.text) + len(output.reasoning) + sum(len(call.arguments) + 1 for call in output.calls)
        for index, event in enumerate(events):
            if index < timed:
                await self._delay(self.token_delay if index else self.first_token_delay)
            yield event

    async def models(self) -> list[dict[str, Any]]:
        """The `/v1/models` entry: everything a model knows of itself, without prices (`0g-direct §4.8`)."""
        made = ["text"] if self._draws is None else ["text", "image"]
        return [
            {
                "id": self.model,
                "object": "model",
                "created": self._since,
                "owned_by": "local",
                "name": self.model,
                "description": "Deterministic rule engine of the local network.",
                "type": "chatbot",
                "context_length": self.context_length,
                "max_completion_tokens": self.max_completion_tokens,
                "architecture": {
                    "modality": f"text+image+audio+file->{'+'.join(made)}",
                    "input_modalities": ["text", "image", "audio", "file"],
                    "output_modalities": made,
                    "instruct_type": None,
                    "tokenizer": "Other",
                },
                "supported_parameters": [
                    "frequency_penalty",
                    "logprobs",
                    "max_completion_tokens",
                    "max_tokens",
                    "parallel_tool_calls",
                    "presence_penalty",
                    "reasoning_effort",
                    "response_format",
                    "seed",
                    "stop",
                    "structured_outputs",
                    "temperature",
                    "tool_choice",
                    "tools",
                    "top_logprobs",
                    "top_p",
                ],
                "default_parameters": {},
            }
        ]

    def _answer(self, path: str, body: bytes) -> tuple[ChatRequest, Output, Head]:
        if path != "/chat/completions":
            raise InvalidRequestError(f"Invalid URL (POST /v1{path})", status=404)
        request = read_chat_request(body, draws=self._draws is not None)
        room = self.context_length - request.prompt_tokens
        if room < 1:
            raise InvalidRequestError(
                f"This model's maximum context length is {self.context_length} tokens. However, your messages "
                f"resulted in {request.prompt_tokens} tokens. Please reduce the length of the messages.",
                "messages",
                "context_length_exceeded",
            )
        limit = min(request.max_tokens or self.max_completion_tokens, self.max_completion_tokens, room)
        answer = answer_chat(request)
        if self._draws is not None and not answer.calls and request.format == "text":
            answer = replace(answer, images=drawn(request.messages, request.modalities, self.model))
        output = limit_answer(answer, request.stop, limit, as_parts=self._draws == "parts")
        usage = usage_of(request.prompt_tokens, output, self._cached_tokens(request))
        created = self._now()
        # Two equal requests get the same answer but not the same id.
        seed = f"{self.model}|{next(self._counter)}|{created}|".encode() + body
        head = Head(f"chatcmpl-{hashlib.sha256(seed).hexdigest()[:32]}", request.model, created, usage)
        return request, output, head

    async def _images(self, path: str, body: bytes) -> UpstreamReply:
        request = read_generation(body) if path == "/images/generations" else read_edit(body)
        if self._most_images is not None:
            request = replace(request, count=min(request.count, self._most_images))
        await self._delay(self.first_token_delay)
        return UpstreamReply(200, _JSON, paint(request, model=self.model, created=self._now()))

    def _cached_tokens(self, request: ChatRequest) -> int:
        system = request.messages[0]
        if not self._cached_prefix or system.role != "system":
            return 0
        tokens = count_message(system)
        if tokens < MINIMUM_CACHED_TOKENS:
            return 0
        key = hashlib.sha256(f"{request.model}|{system.text}".encode()).digest()
        seen = key in self._system_prompts
        self._system_prompts[key] = None
        self._system_prompts.move_to_end(key)
        if len(self._system_prompts) > _CACHED_PROMPTS:
            self._system_prompts.popitem(last=False)
        return tokens if seen else 0

    def _now(self) -> int:
        if self._created is not None:
            return self._created
        return int(self._clock.now() if self._clock else time.time())

    @staticmethod
    async def _delay(seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)
