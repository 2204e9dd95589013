"""What a recording is, by its bytes: its format, and how long it can be at most. No decoder, no dependency."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zg_core.tasks.forms import FilePart

__all__ = ["FORMATS", "LONGEST_SECONDS", "most_seconds", "sound_type"]

LONGEST_SECONDS = 356_400
"""Seconds that are billed at most: 99 hours (services §4.5)."""
_LEAST_BYTES = 250
"""Bytes of one second at the least: 2 kbit/s, below what any codec of speech in these formats is used at."""
FORMATS = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")


def sound_type(head: bytes) -> str:
    """The content type of a recording by its first bytes; "" if it is none that can be transcribed.

    Example:
        >>> sound_type(b"OggS"), sound_type(b"a text")
        ('audio/ogg', '')
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return "audio/mpeg"
    return {b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"\x1aE\xdf\xa3": "audio/webm"}.get(head[:4], "")


def most_seconds(part: FilePart) -> int:
    """Seconds that a recording lasts at the most, rounded up: of a WAV file what its header says, else by its size.

    Example:
        >>> from zg_core.tasks.forms import part_of
        >>> most_seconds(part_of(b"OggS" + bytes(996), what="a recording", most=9999))
        4
    """
    seconds = _wav_seconds(part)
    if seconds is None:
        seconds = part.size / _LEAST_BYTES
    return max(1, min(LONGEST_SECONDS, -int(-seconds // 1)))


def _wav_seconds(part: FilePart) -> float | None:
    """From the byte rate of the ``fmt`` chunk: the samples are no more than the file."""
    if sound_type(part.head) != "audio/wav":
        return None
    place = 12
    while place + 8 <= len(part.head):
        name, size = struct.unpack_from("<4sI", part.head, place)
        if name == b"fmt " and place + 20 <= len(part.head):
            (rate,) = struct.unpack_from("<I", part.head, place + 16)
            return part.size / rate if rate >= _LEAST_BYTES else None
        place += 8 + size + size % 2
    return None
