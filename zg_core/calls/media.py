"""How answers are read that are no chat: images, and transcripts whole, as lines of JSON or as events. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.calls.reading import Form, Reading
from zg_core.crypto import sha256_hex
from zg_core.errors import RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.jsontext import parse_json
from zg_core.shown.redaction import blot
from zg_core.tasks.base import IMAGE_EDITS, IMAGES, TRANSCRIPTION
from zg_core.tasks.measuring import ESTIMATED, Measure, measure_edits, measure_images, measure_speech
from zg_core.tasks.pictures import images_in, urls_in
from zg_core.tasks.replies import error_in
from zg_core.types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zg_core.calls.call import Call

__all__ = ["MediaReading", "reading_of"]

_DONE = "transcript.text.done"
_DELTA = "transcript.text.delta"
_MOST_LINE = 4 * 1024 * 1024


def reading_of(
    call: Call,
    form: Form,
    hear: Callable[[Call, dict[str, Any]], dict[str, Any] | None] | None = None,
    *,
    alike: bool = False,
) -> Reading:
    """What reads the response of `call`; for the arguments see `Reading`."""
    media = call.task.name in (IMAGES.name, IMAGE_EDITS.name, TRANSCRIPTION.name)
    return MediaReading(call, form, hear) if media else Reading(call, form, hear, alike=alike)


class MediaReading(Reading):
    """Reads one response with images or a transcript; the rest is as `Reading` says."""

    def __init__(
        self,
        call: Call,
        form: Form = Form.EVENTS,
        hear: Callable[[Call, dict[str, Any]], dict[str, Any] | None] | None = None,
    ) -> None:
        super().__init__(call, form, hear)
        self._streamed = call.streamed
        self._line = b""
        self._kept_back: list[bytes] = []  # the end of a stream: who reads bytes gets it once the verdict is made

    @property
    def whole(self) -> bool:
        """Whether the response is one body."""
        return not self._streamed

    def text(self) -> str:
        """What came, for an error."""
        if self._call.text or self._call.task.name != TRANSCRIPTION.name:
            return "".join(self._call.text)
        return blot(b"".join(self._whole)[:10_000].decode("utf-8", "replace"))

    def _fed(self, chunk: bytes) -> Iterator[Any]:
        self._take(chunk)
        self._whole.append(chunk)
        if not self._streamed:
            return
        *lines, self._line = (self._line + chunk).split(b"\n")
        if len(self._line) > _MOST_LINE:
            raise BodyBroken("one event is too large")
        for line in lines:
            yield from self._shown(line + b"\n")

    def _shown(self, line: bytes) -> Iterator[Any]:
        seen = self._event(line)
        if self._form is not Form.EVENTS:
            if self.done:
                self._kept_back.append(line)
            else:
                yield line
        elif seen is not None:
            yield seen

    def _closed(self) -> Iterator[Any]:
        if self._streamed and self._line:
            line, self._line = self._line, b""
            yield from self._shown(line)
        raw = b"".join(self._whole)
        if not self._streamed:
            self.done = True
            yield self._answer(raw)
            return
        if not self.done and not self._is_transcript(raw):
            raise BodyBroken("the transcript ended without its end")
        self._measured(measure_speech(raw, streamed=True))

    def last(self) -> list[Any]:
        """See `Reading.last`."""
        return self._kept_back

    def _event(self, line: bytes) -> dict[str, Any] | None:
        """What one line says: bare JSON, or the data of an event; None where it says nothing (services §4.3)."""
        data = line.strip().removeprefix(b"data:").strip()
        if not data.startswith(b"{"):
            return None
        try:
            said = parse_json(data)
        except (ValueError, RecursionError):
            raise RequestError("the stream holds an event that is no JSON object", code="malformed_reply") from None
        if words := error_in(said):
            message = f"the provider broke off with an error: {blot(words)[:2000]}"
            raise RequestError(message, code="error_in_stream")
        if self.done:
            raise RequestError("the stream goes on after its end", code="malformed_reply")
        call = self._call
        if said.get("type") == _DONE:
            self.done = call.finished = True
            self._end = call.exchange.size
        elif said.get("type") == _DELTA and isinstance(said.get("delta"), str):
            call.text.append(said["delta"])
        heard: dict[str, Any] | None = said
        return heard

    def _is_transcript(self, raw: bytes) -> bool:
        """Whether a whole answer came where a stream was asked for."""
        try:
            said = parse_json(raw)
        except (ValueError, RecursionError):
            return False
        found = isinstance(said, dict) and isinstance(said.get("text"), str) and "type" not in said
        if found:
            self.done = True
            self._call.text[:] = [said["text"]]
        return found

    def _answer(self, raw: bytes) -> Any:
        """What the caller may see of a body that came whole."""
        call = self._call
        speech = call.task.name == TRANSCRIPTION.name
        try:
            said = parse_json(raw)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            if not speech or "json" in call.exchange.headers.get("content-type", ""):
                raise RequestError(
                    f"provider {call.receipt.provider} answered {call.exchange.status} with a body that is no JSON "
                    "object",
                    code="malformed_reply",
                    hint="choose another provider; error.text holds the body",
                )
            said = {"text": raw.decode("utf-8", "replace")}  # text, srt, vtt
        if words := error_in(said):
            raise RequestError(
                f"provider {call.receipt.provider} answered with an error: {blot(words)[:2000]}", code="error_in_reply"
            )
        shown = said if self._ear is None else self._ear(call, said) or {}
        if speech:
            call.text.append(said["text"] if isinstance(said.get("text"), str) else "")
            self._measured(measure_speech(raw))
        else:
            self._images(raw, said)
        return shown if self._form is Form.EVENTS else raw

    def _images(self, raw: bytes, said: dict[str, Any]) -> None:
        call, asked = self._call, self._call.asked.images
        if urls := urls_in(said):
            call.heard["image_urls"] = urls
            edits = call.task.name == IMAGE_EDITS.name
            call.usage = Usage(0, 0, images=asked if edits else len(urls))
            return
        images = images_in(raw, most=asked)
        call.exchange.images = tuple(map(sha256_hex, images or ()))
        edits = call.task.name == IMAGE_EDITS.name
        self._measured(measure_edits(asked) if edits else measure_images(raw, asked))

    def _measured(self, measure: Measure) -> None:
        call = self._call
        call.usage = measure.usage
        if measure.estimated and ESTIMATED not in call.receipt.flags:
            call.receipt.flags = (*call.receipt.flags, ESTIMATED)
