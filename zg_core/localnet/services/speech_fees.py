"""What a transcript costs, decided from its bytes as the provider's Go program reads them (services §4.5)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

from zg_core.localnet.provider.gojson import NumberText, loads_keeping_numbers

LONGEST: Final = 356_400
"""Seconds that are billed at most: 99 hours."""
_INTEGER: Final = re.compile(r"-?(0|[1-9]\d*)")
_STAMP: Final = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")
_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")


class _WrongType(ValueError):
    """A value that Go would not put into its field."""


@dataclass(frozen=True)
class SpeechFee:
    """What a transcript is billed as: `how` is ``seconds``, ``tokens`` or ``estimate``. Fees in neuron."""

    how: str
    units: int
    input_fee: int
    output_fee: int


def speech_fee(body: bytes, input_price: int, output_price: int, *, stream: bool = False) -> SpeechFee:
    """The bill of an answer, whole or streamed."""
    found = _of_stream(body) if stream else _of_document(body)
    if found is None or not any(found):
        found = (_last_stamp(body), 0, 0)
    seconds, heard, said = found
    if seconds > 0:
        units = max(1, math.floor(min(seconds, LONGEST) + 0.5))
        return SpeechFee("seconds", units, input_price * units, 0)
    if heard or said:
        return SpeechFee("tokens", heard + said, input_price * heard, output_price * said)
    words = 2 * len(re.findall(rb"[^ \t\r\n]+", body)) or 100
    return SpeechFee("estimate", words, 0, output_price * words)


def _of_stream(body: bytes) -> tuple[float, int, int] | None:
    for line in body.split(b"\n"):
        if b"transcript.text.done" in line and line.startswith(b"{"):
            found = _of_document(line)
            if found is not None and any(found):
                return found
    return None


def _of_document(body: bytes) -> tuple[float, int, int] | None:
    """Seconds, or tokens in and out, that a JSON answer states; None where Go could not read it."""
    try:
        document = _fields(loads_keeping_numbers(body))
        _text(document.get("text"))
        duration = _flexible(document.get("duration"))
        stated = document.get("usage")
        usage = _fields(stated) if stated is not None else {}
        kind = _text(usage.get("type"))
        seconds = _flexible(usage.get("seconds"))
        heard, said, total = (_whole(usage.get(name)) for name in _COUNTS)
    except (ValueError, RecursionError):
        return None
    counted = heard > 0 or said > 0 or total > 0
    if kind == "duration":
        billable = seconds > 0
    elif kind == "tokens":
        billable = counted
    else:
        billable = counted or seconds > 0
    if not billable:
        return (duration, 0, 0) if duration > 0 else (0.0, 0, 0)
    if kind == "duration" or (kind != "tokens" and seconds > 0):
        return seconds, 0, 0
    return 0.0, heard, said


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _WrongType
    return {name.lower(): one for name, one in value.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise _WrongType
    return value


def _flexible(value: Any) -> float:
    if value is None:
        return 0.0
    if not isinstance(value, str):
        raise _WrongType
    text = value if isinstance(value, NumberText) else value.strip()
    if not text:
        return 0.0
    number = float(text)
    if not math.isfinite(number):
        raise _WrongType
    return number


def _whole(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, NumberText) or not _INTEGER.fullmatch(value):
        raise _WrongType
    return int(value)


def _last_stamp(body: bytes) -> float:
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
    hours, minutes, seconds = int(found[1] or 0), int(found[2]), float(found[3].replace(",", "."))
    return hours * 3600 + minutes * 60 + seconds if minutes < 60 and seconds < 60 else None
