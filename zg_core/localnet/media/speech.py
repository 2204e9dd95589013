"""Transcription by rule: the words of a recording, in each of the five forms, whole or as a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from zg_core.localnet.media.forms import read_form
from zg_core.localnet.media.wav import Sound, hear
from zg_core.localnet.model.json import compact_json
from zg_core.localnet.model.tokens import count_tokens
from zg_core.localnet.model.values import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
_WORDS: Final = [
    "river",
    "stone",
    "lantern",
    "morning",
    "window",
    "garden",
    "paper",
    "copper",
    "harbour",
    "silver",
    "winter",
    "letter",
    "bridge",
    "meadow",
    "candle",
    "orchard",
]
_SEGMENT: Final = 8
"""Words of one segment."""


@dataclass(frozen=True)
class SpeechRequest:
    """A request for a transcript."""

    sound: Sound
    response_format: str
    language: str
    granularities: tuple[str, ...]
    streams: bool


def read_speech(body: bytes) -> SpeechRequest:
    """A request to `/audio/transcriptions`.

    Raises:
        InvalidRequestError: What a server would refuse.
    """
    form = read_form(body)
    files = form.files.get("file", [])
    if len(files) != 1:
        raise InvalidRequestError("Missing required parameter: 'file'.", "file", "missing_required_parameter")
    wanted = form.one("response_format") or "json"
    if wanted not in FORMATS:
        raise InvalidRequestError(
            f"Invalid value: '{wanted}'. Supported values are: {', '.join(map(repr, FORMATS))}.",
            "response_format",
            "invalid_value",
        )
    try:
        sound = hear(files[0][1])
    except ValueError as error:
        raise InvalidRequestError(f"Invalid file format: {error}.", "file", "invalid_audio") from None
    kinds = tuple(form.fields.get("timestamp_granularities[]", ()))
    return SpeechRequest(sound, wanted, form.one("language") or "english", kinds, form.one("stream") == "true")


def transcript(sound: Sound) -> str:
    """The words of a recording: those spoken, else some that depend on its content, two a second."""
    if sound.text:
        return sound.text
    count = max(1, min(round(sound.seconds * 2), 2_000))
    return " ".join(_WORDS[(sound.digest[n % 32] + n) % len(_WORDS)] for n in range(count))


def write_down(request: SpeechRequest, *, usage: str = "duration") -> tuple[str, bytes]:
    """The answer in one piece: its content type and its bytes.

    Args:
        request: What is asked for.
        usage: ``"duration"``, ``"tokens"`` or ``"none"``: how ``json`` says what it cost.
    """
    text = transcript(request.sound)
    segments = list(_segments(text, request.sound.seconds))
    form = request.response_format
    if form == "text":
        return "text/plain; charset=utf-8", f"{text}\n".encode()
    if form == "srt":
        lines = [
            f"{n}\n{_stamp(a, ',')} --> {_stamp(b, ',')}\n{words}\n" for n, (a, b, words) in enumerate(segments, 1)
        ]
        return "text/plain; charset=utf-8", ("\n".join(lines) + "\n").encode()
    if form == "vtt":
        lines = [f"{_stamp(a, '.')} --> {_stamp(b, '.')}\n{words}\n" for a, b, words in segments]
        return "text/vtt; charset=utf-8", ("WEBVTT\n\n" + "\n".join(lines) + "\n").encode()
    document: dict[str, Any] = {"text": text}
    if form == "verbose_json":
        document = {
            "task": "transcribe",
            "language": request.language,
            "duration": round(request.sound.seconds, 3),
            "text": text,
            "segments": [{"id": n, "start": a, "end": b, "text": words} for n, (a, b, words) in enumerate(segments)],
        }
        if "word" in request.granularities:
            document["words"] = list(_words(text, request.sound.seconds))
    document |= _usage(request.sound, text, usage)
    return "application/json", compact_json(document).encode()


def write_stream(request: SpeechRequest, *, usage: str = "duration", sse: bool = False) -> Iterator[bytes]:
    """The answer as lines of JSON, a word in each, or the same as server-sent events."""
    text = transcript(request.sound)
    words = text.split(" ")
    events: list[dict[str, Any]] = [
        {"type": "transcript.text.delta", "delta": word if n == 0 else f" {word}"} for n, word in enumerate(words)
    ]
    events.append({"type": "transcript.text.done", "text": text, **_usage(request.sound, text, usage)})
    for event in events:
        line = compact_json(event).encode()
        yield b"data: " + line + b"\n\n" if sse else line + b"\n"
    if sse:
        yield b"data: [DONE]\n\n"


def _usage(sound: Sound, text: str, form: str) -> dict[str, Any]:
    if form == "none":
        return {}
    if form == "tokens":
        heard, said = max(1, round(sound.seconds * 25)), count_tokens(text)
        return {"usage": {"type": "tokens", "input_tokens": heard, "output_tokens": said, "total_tokens": heard + said}}
    return {"usage": {"type": "duration", "seconds": round(sound.seconds, 3)}}


def _segments(text: str, seconds: float) -> Iterator[tuple[float, float, str]]:
    words = text.split(" ")
    for start in range(0, len(words), _SEGMENT):
        end = min(start + _SEGMENT, len(words))
        yield round(seconds * start / len(words), 3), round(seconds * end / len(words), 3), " ".join(words[start:end])


def _words(text: str, seconds: float) -> Iterator[dict[str, Any]]:
    words = text.split(" ")
    for n, word in enumerate(words):
        step = seconds / len(words)
        yield {"word": word, "start": round(n * step, 3), "end": round((n + 1) * step, 3)}


def _stamp(seconds: float, mark: str) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}{mark}{whole % 1000:03}"
