"""WAV files: how long they are, and words in them that a local model can hear."""

from __future__ import annotations

import hashlib
import io
import struct
import wave
from dataclasses import dataclass
from typing import Final

RATE: Final = 16_000
"""Samples a second of what `speak` makes: 16 bits, one channel."""
_LETTER: Final = 800
"""Samples of one letter: 50 ms."""
_STEP: Final = 96
_OPENING: Final = (0x55, 0x2A)
"""The two letters that tell that words follow."""


@dataclass(frozen=True)
class Sound:
    """A recording: its seconds, its words where it has any, and the hash of its samples or bytes."""

    seconds: float
    text: str | None
    digest: bytes


def speak(text: str, *, seconds: float = 0.0) -> bytes:
    """A WAV file of `text`: every byte is a tone of 50 ms whose height is its value; silence up to `seconds`.

    Example:
        >>> hear(speak("hello")).text
        'hello'
    """
    letters = bytes(_OPENING) + text.encode()
    frames = b"".join(struct.pack("<hh", value * _STEP, -value * _STEP) * (_LETTER // 2) for value in letters)
    missing = max(0, round(seconds * RATE) - len(letters) * _LETTER)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(frames + bytes(2 * missing))
    return out.getvalue()


def hear(data: bytes) -> Sound:
    """What a WAV file holds; of another format, a second for every 4,000 bytes.

    Raises:
        ValueError: It is no sound at all (text, an image, nothing), or a broken WAV file.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        try:
            with wave.open(io.BytesIO(data), "rb") as file:
                frames = file.readframes(file.getnframes())
                width = file.getsampwidth() * file.getnchannels()
                rate = file.getframerate()
        except (wave.Error, EOFError, ZeroDivisionError) as error:
            raise ValueError(f"a broken WAV file: {error}") from None
        if not rate or not frames:
            raise ValueError("the recording is empty")
        seconds = len(frames) // width / rate
        return Sound(seconds, _words(frames) if width == 2 and rate == RATE else None, hashlib.sha256(frames).digest())
    if data[:4] in (b"OggS", b"fLaC", b"\x1aE\xdf\xa3") or data[:3] == b"ID3" or data[4:8] == b"ftyp" or _is_mp3(data):
        return Sound(max(1.0, len(data) / 4_000), None, hashlib.sha256(data).digest())
    raise ValueError("the file is none of flac, m4a, mp3, mp4, ogg, wav and webm")


def _is_mp3(data: bytes) -> bool:
    return len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0


def _words(frames: bytes) -> str | None:
    letters = bytearray()
    for start in range(0, len(frames) - 1, 2 * _LETTER):
        value, rest = divmod(struct.unpack_from("<h", frames, start)[0], _STEP)
        if rest or not 0 < value < 256:
            break
        letters.append(value)
    if tuple(letters[:2]) != _OPENING:
        return None
    return letters[2:].decode("utf-8", "replace")
