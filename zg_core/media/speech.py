"""`SpeechClient` and `AsyncSpeechClient`: recordings written down, whole or while they are heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from zg_core.calls.call import Slot
from zg_core.client import AsyncChatClient, AsyncReplyStream, ChatClient, ReplyStream, options_of
from zg_core.http.transport import run
from zg_core.shown.tracebacks import forgetful
from zg_core.tasks.base import TRANSCRIPTION
from zg_core.tasks.transcription import Transcript, payload_of, transcript_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from zg_core.calls.call import Options
    from zg_core.calls.path import Calls
    from zg_core.http.timeouts import Patience
    from zg_core.receipts.model import Receipt

__all__ = ["AsyncSpeechClient", "AsyncTranscriptStream", "SpeechClient", "TranscriptStream"]


async def transcribed(calls: Calls, payload: Mapping[str, Any], options: Options | None) -> Transcript:
    """Ask for a transcript."""
    reply = await calls.create(payload, TRANSCRIPTION.path, options)
    return transcript_of(reply.body, payload["response_format"], reply.receipt)


@forgetful
class SpeechClient(ChatClient):
    """Writes recordings down; blocking. Settings are those of `ChatClient`, as of `ImageClient`.

    Example:
        >>> client = SpeechClient(model="m", private_key="0x" + "22" * 32, environ={})
        >>> client.task.service_type
        'speech-to-text'
        >>> client.close()
    """

    _service_type: ClassVar[str] = TRANSCRIPTION.service_type

    def transcribe(
        self,
        file: Any,
        *,
        model: str | None = None,
        response_format: str = "json",
        language: str | None = None,
        prompt: str | None = None,
        temperature: float | None = None,
        timestamp_granularities: Sequence[str] = (),
        timeout: Patience = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Transcript:
        """Write a recording down.

        A file given by its path is read while it is sent, at constant memory. What it costs follows from the answer:
        seconds or tokens that it states, else its time stamps, else its words (docs/money.md).

        Args:
            file: A path, bytes, or a file opened in binary mode: flac, m4a, mp3, mp4, ogg, wav or webm.
            model: Instead of the client's.
            response_format: ``"json"``, ``"text"``, ``"srt"``, ``"verbose_json"`` (with segments) or ``"vtt"``.
            language: What is spoken, as ``"en"``.
            prompt: Words that are likely to occur.
            temperature: From 0.
            timestamp_granularities: ``"word"``, ``"segment"``; with ``verbose_json``.
            timeout: Instead of the client's.
            headers: Beside the client's.
            more: Further parameters of the model.

        Raises:
            ConfigError: nothing was sent; the file is no recording (code ``bad_audio``), is empty (``empty_file``),
                too large (``file_too_large``) or not to be read (``unreadable_file``); or it changed while it was sent
                (``file_changed``), and the request was broken off.
            ZeroGError: as `ChatClient.create`.
        """
        payload = payload_of(
            file,
            model,
            response_format,
            language=language,
            prompt=prompt,
            temperature=temperature,
            granularities=timestamp_granularities,
            more=more,
        )
        return run(transcribed(self.calls, payload, options_of(timeout, headers)))

    def transcribe_stream(
        self,
        file: Any,
        *,
        model: str | None = None,
        language: str | None = None,
        prompt: str | None = None,
        timeout: Patience = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> TranscriptStream:
        """Write a recording down and iterate over the words as they come; for the rest see `transcribe`."""
        slot = Slot()
        payload = payload_of(file, model, "json", language=language, prompt=prompt, stream=True, more=more)
        events = self.calls.events(payload, TRANSCRIPTION.path, slot, options_of(timeout, headers))
        return TranscriptStream(ReplyStream(events, slot))


@forgetful
class AsyncSpeechClient(AsyncChatClient):
    """Async twin of `SpeechClient`."""

    _service_type: ClassVar[str] = TRANSCRIPTION.service_type

    async def transcribe(
        self,
        file: Any,
        *,
        model: str | None = None,
        response_format: str = "json",
        language: str | None = None,
        prompt: str | None = None,
        temperature: float | None = None,
        timestamp_granularities: Sequence[str] = (),
        timeout: Patience = None,  # noqa: ASYNC109 - as of `SpeechClient`
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Transcript:
        """See `SpeechClient.transcribe`."""
        payload = payload_of(
            file,
            model,
            response_format,
            language=language,
            prompt=prompt,
            temperature=temperature,
            granularities=timestamp_granularities,
            more=more,
        )
        return await transcribed(self.calls, payload, options_of(timeout, headers))

    def transcribe_stream(
        self,
        file: Any,
        *,
        model: str | None = None,
        language: str | None = None,
        prompt: str | None = None,
        timeout: Patience = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> AsyncTranscriptStream:
        """See `SpeechClient.transcribe_stream`."""
        slot = Slot()
        payload = payload_of(file, model, "json", language=language, prompt=prompt, stream=True, more=more)
        events = self.calls.events(payload, TRANSCRIPTION.path, slot, options_of(timeout, headers))
        return AsyncTranscriptStream(AsyncReplyStream(events, slot))


class _Heard:
    """The words of a stream, as they come."""

    def __init__(self) -> None:
        self.text = ""
        """What was heard so far; at the end, what the provider gives as the whole."""

    def words(self, event: Mapping[str, Any]) -> str | None:
        """The words that an event adds; None where it adds none."""
        if event.get("type") == "transcript.text.delta" and isinstance(event.get("delta"), str):
            self.text += event["delta"]
            return str(event["delta"])
        if isinstance(event.get("text"), str):
            missing = event["text"][len(self.text) :] if event["text"].startswith(self.text) else ""
            self.text = event["text"]
            return missing or None
        return None


@forgetful
class TranscriptStream:
    """The words of a recording. Read it to its end, or close it: then `receipt` is there."""

    def __init__(self, events: ReplyStream) -> None:
        self._events = events
        self._heard = _Heard()

    @property
    def text(self) -> str:
        """What was heard so far."""
        return self._heard.text

    @property
    def receipt(self) -> Receipt | None:
        """The receipt; complete once the stream has ended, None if nothing was sent."""
        return self._events.receipt

    def __iter__(self) -> Iterator[str]:
        for event in self._events:
            if (words := self._heard.words(event)) is not None:
                yield words

    def close(self) -> None:
        """Break off; what was already heard may be billed all the same."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@forgetful
class AsyncTranscriptStream:
    """Async twin of `TranscriptStream`."""

    def __init__(self, events: AsyncReplyStream) -> None:
        self._events = events
        self._heard = _Heard()

    @property
    def text(self) -> str:
        """See `TranscriptStream.text`."""
        return self._heard.text

    @property
    def receipt(self) -> Receipt | None:
        """See `TranscriptStream.receipt`."""
        return self._events.receipt

    async def __aiter__(self) -> AsyncIterator[str]:
        async for event in self._events:
            if (words := self._heard.words(event)) is not None:
                yield words

    async def close(self) -> None:
        """See `TranscriptStream.close`."""
        await self._events.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
