"""What an answer is billed by, decided from its bytes as the provider decides it (services §1.3, §2, §4.5, §5).

Each function is pure, so that a receipt which keeps its bytes can be measured again. Every case that the provider's own
program was run on is a test.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from zg_core.jsontext import parse_json
from zg_core.tasks.pictures import images_asked, images_in
from zg_core.tasks.sound import LONGEST_SECONDS
from zg_core.types import MOST_TOKENS, Usage

__all__ = [
    "ESTIMATED", "Measure", "measure_edits", "measure_embeddings", "measure_images", "measure_speech", "measured",
]  # fmt: skip

ESTIMATED = "usage_estimated"
"""The word among a receipt's flags where the answer says nothing that it is billed by."""

_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_STAMP = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")
_WORD = re.compile(rb"[^ \t\r\n]+")
_NO_WORDS = 100


@dataclass(frozen=True, slots=True)
class Measure:
    """What one answer is billed by.

    Attributes:
        usage: The counts; None where nobody can tell.
        estimated: Whether the answer states none, and a rule of thumb takes their place: the provider's own, so that
            the fee is what it bills all the same.
    """

    usage: Usage | None
    estimated: bool = False


def measured(task: str, request: Any, response: bytes, *, streamed: bool = False) -> Measure | None:
    """What an answer is billed by; None for chat, which is billed by its tokens.

    Args:
        task: Name of the task.
        request: The request, parsed; of a form its fields.
        response: The answer's bytes.
        streamed: Whether it came as events.
    """
    if task == "embeddings":
        try:
            said = parse_json(response)
        except (ValueError, RecursionError):
            said = None
        return measure_embeddings(said, request)
    if task == "images":
        return measure_images(response, images_asked(request))
    if task == "image_edits":
        return measure_edits(images_asked(request))
    return measure_speech(response, streamed=streamed) if task == "transcription" else None


def measure_images(body: bytes, asked: int) -> Measure:
    """Images delivered; those asked for, where they cannot be counted."""
    images = images_in(body, most=asked)
    return Measure(Usage(0, 0, images=asked if images is None else len(images)), estimated=images is None)


def measure_edits(asked: int) -> Measure:
    """Edits are billed as they were asked for, whatever is delivered."""
    return Measure(Usage(0, 0, images=asked))


def measure_embeddings(said: Any, request: Any) -> Measure:
    """Prompt tokens; else the total; else an estimate from the request.

    Args:
        said: The answer, parsed.
        request: The request, parsed.
    """
    usage = said.get("usage") if isinstance(said, dict) else None
    if isinstance(usage, dict):
        for name in ("prompt_tokens", "total_tokens"):
            if (count := _count(usage.get(name))) > 0:
                return Measure(Usage(count, 0))
    return Measure(Usage(_estimated(request), 0), estimated=True)


def _count(value: Any) -> int:
    return min(value, MOST_TOKENS) if isinstance(value, int) and not isinstance(value, bool) else 0


def _estimated(request: Any) -> int:
    """Tokens of an embedding request by the provider's rule of thumb (services §5)."""
    value = request.get("input") if isinstance(request, dict) else None
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        return 1
    if all(isinstance(one, str) for one in texts):
        joined = " ".join(texts)
        return max(1, 2 * len(joined.split()), len(joined) // 3)
    ids = texts if all(map(_is_number, texts)) else [n for one in texts if isinstance(one, list) for n in one]
    return max(1, len(ids)) if all(map(_is_number, ids)) else 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def measure_speech(body: bytes, *, streamed: bool = False) -> Measure:
    """Seconds, tokens, or words of a transcript, in the provider's order.

    Example:
        >>> measure_speech(b'{"text":"a","usage":{"type":"duration","seconds":12.5}}').usage.seconds
        13
    """
    found = _of_stream(body) if streamed else _of_document(body)
    if found is None or not any(found):
        found = (_last_stamp(body), 0, 0)
    seconds, heard, said = found
    if seconds > 0:
        return Measure(Usage(0, 0, seconds=max(1, math.floor(min(seconds, LONGEST_SECONDS) + 0.5))))
    if heard or said:
        return Measure(Usage(min(heard, MOST_TOKENS), min(said, MOST_TOKENS)))
    return Measure(Usage(0, 0, words=2 * len(_WORD.findall(body)) or _NO_WORDS), estimated=True)


class _Unfit(ValueError):
    """A value that the provider's program would not put into its field: it takes the whole body for no JSON then."""


class _Number(str):
    """A JSON number as it is written: whether it is an integer depends on that."""

    __slots__ = ()


Stated = tuple[float, int, int]
"""Seconds, tokens heard, tokens said."""


def _of_stream(body: bytes) -> Stated | None:
    for line in body.split(b"\n"):
        if line.startswith(b"{") and b"transcript.text.done" in line and (found := _of_document(line)) and any(found):
            return found
    return None


def _of_document(body: bytes) -> Stated | None:
    """What a JSON answer states; None where the provider could not read it."""
    try:
        document = _fields(parse_json(body.decode("utf-8", "replace"), numbers=_Number))
        _text(document.get("text"))
        duration = _flexible(document.get("duration"))
        stated = document.get("usage")
        usage = {} if stated is None else _fields(stated)
        kind = _text(usage.get("type"))
        seconds = _flexible(usage.get("seconds"))
        heard, said, total = (_whole(usage.get(name)) for name in _COUNTS)
    except (ValueError, RecursionError):
        return None
    counted = max(heard, said, total) > 0
    if not ((seconds > 0 and kind != "tokens") or (counted and kind != "duration")):
        return max(duration, 0.0), 0, 0
    if kind == "duration" or (kind != "tokens" and seconds > 0):
        return seconds, 0, 0
    return 0.0, max(heard, 0), max(said, 0)


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unfit
    return {name.lower(): one for name, one in value.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, _Number):
        raise _Unfit
    return value


def _flexible(value: Any) -> float:
    """A number, or a text that holds a finite one."""
    if value is None:
        return 0.0
    if not isinstance(value, str):
        raise _Unfit
    text = value if isinstance(value, _Number) else value.strip()
    number = float(text) if text else 0.0
    if not math.isfinite(number):
        raise _Unfit
    return number


def _whole(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, _Number) or not _INTEGER.fullmatch(value) or len(value) > 20:
        raise _Unfit
    return int(value)


def _last_stamp(body: bytes) -> float:
    """The latest end among the time stamps of subtitles, 0 without any."""
    latest = 0.0
    for line in body.decode("utf-8", "replace").split("\n"):
        start, arrow, rest = line.partition("-->")
        ends = rest.split()
        if arrow and ends and _stamp(start.strip()) is not None:
            latest = max(latest, _stamp(ends[0]) or 0.0)
    return latest


def _stamp(text: str) -> float | None:
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    minutes, seconds = int(found[2]), float(found[3].replace(",", "."))
    return int(found[1] or 0) * 3600 + minutes * 60 + seconds if minutes < 60 and seconds < 60 else None
