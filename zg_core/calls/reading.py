"""How a response is read: bytes are hashed as they pass, understood in one place, and the end is decided. No I/O.

Every face shows what this has understood, and nothing else: the core and the frameworks get the events or the body,
others' clients get bytes (`Form.TIDY`, `Form.RAW`), and none of them a byte that was not hashed and understood before.
"""

from __future__ import annotations

import re
import time
from enum import Enum
from typing import TYPE_CHECKING, Any

from zg_core.calls.alike import Pattern, Words
from zg_core.errors import RequestError, VerificationFailed
from zg_core.http.bodies import BodyBroken
from zg_core.jsontext import encode_body, parse_json
from zg_core.shown.redaction import blot
from zg_core.sse import DONE, SSEDecoder
from zg_core.tasks.base import EMBEDDINGS
from zg_core.tasks.chat import text_of
from zg_core.tasks.context import too_long
from zg_core.tasks.measuring import ESTIMATED, measure_embeddings
from zg_core.tasks.overflow import overflow_in
from zg_core.tasks.replies import as_delta, content_text, error_in
from zg_core.types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zg_core.calls.call import Call

__all__ = ["MAX_REPLY_BYTES", "TAIL_BYTES", "TAIL_SECONDS", "Form", "Reading"]

MAX_REPLY_BYTES = 64 * 1024 * 1024
TAIL_BYTES = 64 * 1024
"""What may follow the end of a stream: a server that talks on is not listened to, and its bytes cannot be compared."""
TAIL_SECONDS = 2.0

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t"
_SPACE = b" \t\r\n"
_EVENT_LINE = re.compile(rb"(?:\A|[\r\n])(?:(?:data|event|id|retry)(?:[:\r\n]|\Z)|:)")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)")
_MOST_SHOWN = 10_000
_LESSONS = 8  # so many patterns are learnt of a stream without one event that is like the last
# Half of a character, written as JSON writes characters beyond the first plane.
_HALF = re.compile(
    rb"\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89aAbB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


class Form(Enum):
    """What `Reading` makes of a response for its caller."""

    EVENTS = "events"
    """Events as objects; a whole body as one."""
    TIDY = "tidy"
    """Bytes as every client of the official form reads them: one ``data`` line an event, ended by ``[DONE]``."""
    RAW = "raw"
    """The bytes as they came, cut between events; a whole body in place of a stream is tidied."""


class Reading:
    """Reads one response.

    Args:
        call: The call; what its receipt needs is noted there.
        form: In which form its caller gets what was understood. What opens a sealed reply shows none of its bytes:
            those who ask for them get what was in them, tidy.
        hear: The backend's ear: what an event, or the body, says beside its answer is noted, and what its caller shall
            see is given back.
        alike: Whether events that differ from one before in nothing but their text may come as `Words`, or as their
            bytes in one piece; the ear is not told of them.
    """

    def __init__(
        self,
        call: Call,
        form: Form = Form.EVENTS,
        hear: Callable[[Call, dict[str, Any]], dict[str, Any] | None] | None = None,
        *,
        alike: bool = False,
    ) -> None:
        self._call = call
        sealed = call.body is not None and call.body.key is not None
        self._form = Form.TIDY if sealed and form is Form.RAW else form
        self._ear = hear
        self._pattern: Pattern | None = None
        self._lessons = _LESSONS if alike and self._form is not Form.TIDY else 0
        self._trouble: Exception | None = None  # met after what may be seen, and raised once that was
        self._decoder = SSEDecoder() if call.streamed else None
        self._begun = not call.streamed
        self._blank = False  # nothing but blanks has come
        self._opening: bytes | None = b""  # what came as long as no event was complete
        self._whole: list[bytes] = []  # the body where it is no stream, else what came before the first event
        self._raw: list[bytes] = []  # what was not shown yet, in the raw form
        self._end = 0  # where the stream has ended
        self.done = False
        """Whether the end has come: ``[DONE]``, or that of a body which is whole."""

    @property
    def whole(self) -> bool:
        """Whether the response is one body and no stream; of a stream asked for this is known once it has begun."""
        return self._decoder is None

    def text(self) -> str:
        """What came, for an error: the text of a stream, the body of anything else."""
        if self._decoder is not None:
            return blot(self._no_stream.decode("utf-8", "replace")) or "".join(self._call.text)
        return blot(b"".join(self._whole)[:_MOST_SHOWN].decode("utf-8", "replace"))

    def feed(self, chunk: bytes) -> list[Any]:
        """Take the next bytes; what its caller may see now. Of an error behind that `check` tells.

        Raises:
            BodyBroken: the response, one event, or what follows the end is too large.
            RequestError: an event is no JSON object, carries the provider's error, or follows the end.
        """
        return self._up_to_trouble(self._fed(chunk))

    def close(self) -> list[Any]:
        """The body has ended; what its caller may see yet, but for the end itself. Of an error behind `check` tells.

        Raises:
            BodyBroken: it ended before its end.
            RequestError: as in `feed`; or a body that is no stream is no JSON object, or carries the provider's error.
        """
        self.check()
        return self._up_to_trouble(self._closed())

    def read(self, response: bytes) -> list[Any]:
        """All that its caller may see of a response that is in hand.

        Raises:
            BodyBroken: as `feed` and `close`.
            RequestError: as they do; an error behind something that may be seen, too.
        """
        seen = [*self.feed(response), *self.close()]
        self.check()
        return seen

    def check(self) -> None:
        """Raise what was met behind that which was given last."""
        if self._trouble is not None:
            raise self._trouble

    def _up_to_trouble(self, steps: Iterator[Any]) -> list[Any]:
        seen: list[Any] = []
        try:
            seen.extend(steps)
        except (BodyBroken, RequestError, VerificationFailed) as error:
            if not seen:
                raise
            self._trouble = error
        return seen

    def _fed(self, chunk: bytes) -> Iterator[Any]:
        self._take(chunk)
        if not self._begun:
            chunk = self._begin(chunk)
        if self._opening is not None:
            self._opening += chunk[: _MOST_SHOWN - len(self._opening)]
        if self._decoder is None:
            self._whole.append(chunk)
        elif self._form is Form.RAW:
            yield from self._raw_parts(chunk)
        elif self._lessons:
            yield from self._alike(chunk)
        else:
            for data in self._cut(chunk):
                if (seen := self._hear(data)) is not None:
                    yield seen

    def _alike(self, chunk: bytes) -> Iterator[Any]:
        """The events in `chunk`; those that are like one before are neither cut nor parsed."""
        at = 0
        while at < len(chunk):
            texts, at = self._known(chunk, at)
            if texts and self._pattern is not None:
                yield Words(self._pattern, texts)
                continue
            end = chunk.find(b"\n\n", at) + 2
            if end < 2 or not self._lessons:
                end = len(chunk)
            for data in self._cut(chunk[at:end]):
                if (seen := self._hear(data)) is not None:
                    yield seen
            at = end

    def _known(self, chunk: bytes, at: int) -> tuple[list[str], int]:
        """What the events say that follow one another from `at` and are like one before, and where they end."""
        decoder, pattern = self._decoder, self._pattern
        if pattern is None or decoder is None or self.done or not decoder.idle:
            return [], at
        texts, end = pattern.texts(chunk, at)
        if texts:
            self._call.text += texts
            self._lessons = _LESSONS
        return texts, end

    def _closed(self) -> Iterator[Any]:
        if self._decoder is None:
            self.done = True
            yield self._body()
            return
        for data in self._cut(b"\n\n"):
            if (seen := self._hear(data)) is not None and self._form is not Form.RAW:
                yield seen
        if self._no_stream:
            raise RequestError(
                f"provider {self._call.receipt.provider} answered {self._call.exchange.status} with what is no stream",
                code="malformed_reply",
                hint="choose another provider; error.text holds the body",
            )
        if not self.done:
            yield from self._released()
        if not (self.done or self._call.finished):
            raise BodyBroken("the stream ended without its end")

    def last(self) -> list[Any]:
        """The end itself, for those who read bytes: shown once the verdict is made."""
        if self._form is Form.RAW and not self.whole:
            return self._released()
        return [b"data: [DONE]\n\n"] if self._form is not Form.EVENTS and self._call.streamed and self.done else []

    @property
    def _no_stream(self) -> bytes:
        """The beginning of a response in which there is neither an event nor a comment: a web page, a text."""
        opening = self._opening or b""
        return b"" if not opening.strip() or _EVENT_LINE.search(opening) else opening

    # bytes

    def _take(self, chunk: bytes) -> None:
        call, exchange = self._call, self._call.exchange
        if exchange.size == 0:
            call.receipt.first_byte_seconds = time.monotonic() - call.started
        exchange.feed(chunk)
        if call.kept is not None:
            call.kept.append(chunk)
        if exchange.size > MAX_REPLY_BYTES:
            raise BodyBroken(f"the reply is larger than {MAX_REPLY_BYTES} bytes")
        if self.done and exchange.size - self._end > TAIL_BYTES:
            raise BodyBroken("the provider talks on after the end of the stream")

    def _begin(self, chunk: bytes) -> bytes:
        """What the response begins with, once that shows whether it is a stream: servers ignore what was asked for."""
        self._whole.append(chunk)
        if not self._blank:
            head = b"".join(self._whole)
            if _BOM.startswith(head):
                return b""
            self._blank = not head.removeprefix(_BOM).strip(_SPACE)
        elif chunk.strip(_SPACE):
            self._blank = False
        if self._blank:
            return b""
        head, self._whole, self._begun = b"".join(self._whole), [], True
        bare = head.removeprefix(_BOM)
        if bare.lstrip(_SPACE)[:1] in (b"{", b"["):
            self._decoder = None
            return head
        if self._form is Form.RAW:
            self._raw.append(head[: len(head) - len(bare)])
        return bare

    def _cut(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes."""
        decoder = self._decoder
        assert decoder is not None  # noqa: S101 - the callers have looked
        try:
            return decoder.feed(chunk)
        except ValueError as error:
            raise BodyBroken(str(error)) from error

    def _raw_parts(self, chunk: bytes) -> Iterator[bytes]:
        """What of the bytes belongs to events that were understood; the end, and what follows it, is kept."""
        at = 0
        while (begin := at) < len(chunk):
            texts, at = self._known(chunk, at)
            if not texts:
                blank = _BLANK_LINE.search(chunk, at)
                at = blank.end() if blank else len(chunk)
                for data in self._cut(chunk[begin:at]):
                    self._hear(data)
            self._raw.append(chunk[begin:at])
            if not self.done and self._decoder is not None and self._decoder.idle:
                yield from self._released()

    def _released(self) -> list[bytes]:
        raw, self._raw = b"".join(self._raw), []
        return [raw] if raw else []

    # meaning: the one place where an event, or a body, is understood

    def _hear(self, data: bytes) -> Any:
        """What the caller may see of one event; None if it says nothing, or is the end. Events come by the hundred."""
        if data[:1] != b"{" and self._says_nothing(data.strip(_BLANKS)):
            return None
        if self.done:
            raise RequestError("the stream goes on after its end", code="malformed_reply")
        if self._pattern is not None and (text := self._pattern.text(data)) is not None:
            self._call.text.append(text)
            self._lessons = _LESSONS
            return Words(self._pattern, [text])
        said, mended = _parsed(data)
        if not isinstance(said, dict):
            raise RequestError("the stream holds an event that is no JSON object", code="malformed_reply")
        call, self._opening = self._call, None
        if self._ear is not None and (heard := self._ear(call, said)) is not said:
            if heard is None:
                return None
            said, mended = heard, True
        if not call.exchange.body_id:
            call.exchange.body_id = _id_of(said)
        if said.get("usage") is not None:
            call.odd_usage = Usage.is_odd(said["usage"]) or call.odd_usage
            call.usage = Usage.parse(said["usage"]) or call.usage
        choices = said.get("choices")
        odd = "error" in said or not choices
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            delta = choice.get("delta")
            if not delta and isinstance(choice.get("message"), dict):
                delta, mended = as_delta(choice), True
            content = delta.get("content") if isinstance(delta, dict) else None
            if content:
                call.text.append(content if isinstance(content, str) else content_text(content))
            if choice.get("finish_reason"):
                call.finished = odd = True
            odd = odd or "error" in choice
        if odd and (words := error_in(said)):
            raise _error(f"the provider broke off with an error: {blot(words)[:2000]}", words, "error_in_stream")
        if self._lessons and not mended:
            self._pattern = Pattern.of(data, said)
            self._lessons -= 1
        if self._form is not Form.TIDY:
            return said
        return _tidy(encode_body(said, nan=True) if mended else data)

    def _counted(self, said: dict[str, Any]) -> None:
        """Embeddings that state no prompt tokens are billed all the same, by a rule that is known (services §5)."""
        call = self._call
        measure = measure_embeddings(said, _request_of(call))
        call.usage = measure.usage
        if measure.estimated:
            call.receipt.flags = (*call.receipt.flags, ESTIMATED)

    def _says_nothing(self, data: bytes) -> bool:
        """Whether an event is the end, a heartbeat, or a comment that a gateway has wrapped."""
        if data == DONE:
            self._end = self._end or self._call.exchange.size
            self.done = True
            return True
        return not data or data[:1] == b":"

    def _body(self) -> Any:
        """What the caller may see of a body that came whole."""
        call, raw = self._call, b"".join(self._whole)
        said, mended = _parsed(raw)
        if not isinstance(said, dict):
            raise RequestError(
                f"provider {call.receipt.provider} answered {call.exchange.status} with a body that is no JSON object",
                code="malformed_reply",
                hint="choose another provider; error.text holds the body",
            )
        if self._ear is not None and (heard := self._ear(call, said)) is not said:
            said, mended = heard or {}, True
        call.usage, call.odd_usage = Usage.parse(said.get("usage")), Usage.is_odd(said.get("usage"))
        if call.usage is None and call.task.name == EMBEDDINGS.name:
            self._counted(said)
        call.exchange.body_id = _id_of(said)
        call.text.append(text_of(said))
        if words := error_in(said):
            said_so = f"provider {call.receipt.provider} answered with an error: {blot(words)[:2000]}"
            raise _error(said_so, words, "error_in_reply")
        if call.streamed:  # a stream was asked for, and whoever reads bytes reads nothing else: it is one event
            for choice in said["choices"] if isinstance(said.get("choices"), list) else ():
                if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
                    as_delta(choice)
            return said if self._form is Form.EVENTS else _tidy(encode_body(said, nan=True))
        if self._form is Form.EVENTS:
            return said
        return encode_body(said, nan=True) if mended and self._form is Form.TIDY else raw


def _request_of(call: Call) -> Any:
    try:
        return parse_json(call.exchange.request)
    except (ValueError, RecursionError):
        return {}


def _error(message: str, words: str, code: str) -> RequestError:
    """The error for `words` of a provider inside what looks like a success."""
    if (overflow := overflow_in(words)) is not None:
        return too_long(message, *overflow)
    return RequestError(message, code=code)


def _parsed(data: bytes) -> tuple[Any, bool]:
    """What `data` says, None where it is no JSON; and whether half a character was replaced in it."""
    mended = False
    try:
        said = parse_json(data)
    except (ValueError, RecursionError):
        said, mended = _mended(data), True
    if b"\\" in data and b"\\u" in data and _HALF.search(data):  # one letter is found much faster than two
        said, mended = _whole_characters(said), True
    return said, mended


def _mended(data: bytes) -> Any:
    """What `data` is with its half characters replaced; None where that does not help."""
    try:
        return parse_json(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _whole_characters(said: Any) -> Any:
    """`said` with U+FFFD for each half of a character, which no text can hold that is written anywhere."""
    if isinstance(said, str):
        return said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(said, list):
        return [_whole_characters(entry) for entry in said]
    if isinstance(said, dict):
        return {_whole_characters(name): _whole_characters(value) for name, value in said.items()}
    return said


def _tidy(data: bytes) -> bytes:
    return b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"


def _id_of(said: dict[str, Any]) -> str:
    value = said.get("id")
    return value if isinstance(value, str) else ""
