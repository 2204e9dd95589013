"""Speech to text: requests checked before they are sent, answers in five forms, events of a stream (services §4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.tasks.forms import part_of
from zg_core.tasks.sound import FORMATS, sound_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.receipts.model import Receipt

__all__ = ["MOST_BYTES", "Transcript", "payload_of", "transcript_of"]

MOST_BYTES = 1024 * 1024 * 1024
"""Bytes of a recording; providers set lower bounds of their own, and say so."""
ANSWERS = ("json", "text", "srt", "verbose_json", "vtt")
_GRANULARITIES = ("word", "segment")


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        text: The words; of subtitles the whole file.
        receipt: The record of the call, verdict included.
        response_format: The form that was asked for.
        language: As the provider heard it, "" if it does not say.
        duration: Seconds, None if it does not say.
        segments: Parts with their times, where they were asked for (``verbose_json``).
        words: Words with their times, where they were asked for.
        body: The answer as it came, parsed; of plain text ``{"text": …}``.
    """

    text: str
    receipt: Receipt
    response_format: str = "json"
    language: str = ""
    duration: float | None = None
    segments: Sequence[Mapping[str, Any]] = ()
    words: Sequence[Mapping[str, Any]] = ()
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


def payload_of(
    file: Any,
    model: str | None,
    response_format: str,
    *,
    language: str | None = None,
    prompt: str | None = None,
    temperature: float | None = None,
    granularities: Sequence[str] = (),
    stream: bool = False,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The form of a request.

    Raises:
        ConfigError: nothing was sent; the file is no recording (code ``bad_audio``), empty, too large or not to be
            read; or what is asked for is no form of an answer (``bad_format``).
    """
    if response_format not in ANSWERS:
        raise ConfigError(
            f"response_format is {response_format!r}; nothing was sent",
            code="bad_format",
            hint=f"one of {', '.join(ANSWERS)}",
        )
    if unknown := [one for one in granularities if one not in _GRANULARITIES]:
        raise ConfigError(
            f"timestamp_granularities holds {unknown[0]!r}",
            code="bad_format",
            hint=f"of {' and '.join(_GRANULARITIES)}",
        )
    if granularities and response_format != "verbose_json":
        message = "times of words and segments come with response_format='verbose_json' only"
        raise ConfigError(message, code="bad_format", hint="pass response_format='verbose_json'")
    part = part_of(file, what="a recording", most=MOST_BYTES)
    kind = sound_type(part.head)
    if not kind:
        raise ConfigError(
            f"{part.name} is no recording by its first bytes; nothing was sent",
            code="bad_audio",
            hint=f"one of {', '.join(FORMATS)}",
        )
    name = part.name if "." in part.name else f"audio.{kind.partition('/')[2]}"
    payload: dict[str, Any] = {} if model is None else {"model": model}
    payload["response_format"] = response_format
    payload |= {"language": language, "prompt": prompt, "temperature": temperature}
    payload["timestamp_granularities[]"] = list(granularities) or None
    if stream:
        payload["stream"] = True
    payload |= more or {}
    kept = {name: value for name, value in payload.items() if value is not None}
    return {**kept, "file": replace(part, content_type=kind, name=name)}


def transcript_of(body: Mapping[str, Any], response_format: str, receipt: Receipt) -> Transcript:
    """The transcript that an answer is; whatever is not of its form is left out."""
    text, language, duration = body.get("text"), body.get("language"), body.get("duration")
    return Transcript(
        text if isinstance(text, str) else "",
        receipt,
        response_format,
        language if isinstance(language, str) else "",
        _seconds(duration),
        _entries(body.get("segments")),
        _entries(body.get("words")),
        body,
    )


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _entries(value: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()
