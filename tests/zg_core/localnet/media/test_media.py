"""What a local model paints and hears is real: PNG that decodes, WAV that the standard library reads."""

from __future__ import annotations

import io
import struct
import wave
import zlib

import pytest

from zg_core.localnet.media import forms, png, wav
from zg_core.localnet.media.speech import SpeechRequest, transcript, write_down, write_stream
from zg_core.localnet.model.values import InvalidRequestError


def pixels(image: bytes) -> tuple[int, int, bytes]:
    """Width, height and rows of a palette PNG, every checksum checked."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    place, found = 8, {}
    while place < len(image):
        length, name = struct.unpack(">I4s", image[place : place + 8])
        data = image[place + 8 : place + 8 + length]
        (crc,) = struct.unpack(">I", image[place + 8 + length : place + 12 + length])
        assert crc == zlib.crc32(name + data)
        found[name] = data
        place += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", found[b"IHDR"][:10])
    rows = zlib.decompress(found[b"IDAT"])
    assert (depth, colour, len(rows)) == (8, 3, height * (width + 1))
    assert max(rows) < len(found[b"PLTE"]) // 3
    return width, height, rows


def test_a_picture_decodes_and_depends_on_its_words_alone():
    assert pixels(png.draw("a fox", 40, 24))[:2] == png.size_of(png.draw("a fox", 40, 24)) == (40, 24)
    assert png.draw("a fox", 40, 24) == png.draw("a fox", 40, 24) != png.draw("a dog", 40, 24)
    assert len(png.draw("a fox", 1024, 1024)) < 20_000


def test_a_recording_is_read_with_the_standard_library_and_says_its_words():
    data = wav.speak("Verified inference, señor.", seconds=3.5)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16_000, 1, 56_000)
    assert wav.hear(data).text == "Verified inference, señor."
    assert wav.hear(data).seconds == 3.5


def test_words_of_any_recording_depend_on_its_content():
    def noise(level: int) -> bytes:
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(struct.pack("<hh", level, -level) * 16_000)
        return out.getvalue()

    assert wav.hear(noise(5)).seconds == 2.0
    assert transcript(wav.hear(noise(5))) == transcript(wav.hear(noise(5))) != transcript(wav.hear(noise(6)))
    assert len(transcript(wav.hear(noise(5))).split()) == 4


@pytest.mark.parametrize("data", [b"", b"a text", png.draw("x", 8, 8), b"RIFF\0\0\0\0WAVEfmt ", wav.speak("x")[:44]])
def test_what_is_no_sound_is_refused(data):
    with pytest.raises(ValueError, match=r"none of|broken|empty"):
        wav.hear(data)


def test_the_five_forms_hold_the_same_words():
    sound = wav.hear(wav.speak("one two three four five six seven eight nine", seconds=4))
    said = {
        form: write_down(SpeechRequest(sound, form, "en", ("word",), False)) for form in ("json", "text", "srt", "vtt")
    }
    assert said["json"][1].startswith(b'{"text":"one two')
    assert said["text"] == ("text/plain; charset=utf-8", b"one two three four five six seven eight nine\n")
    assert b"2\n00:00:03,556 --> 00:00:04,000\nnine\n" in said["srt"][1]
    assert said["vtt"][1].startswith(b"WEBVTT\n\n00:00:00.000 --> 00:00:03.556\none two")
    lines = list(write_stream(SpeechRequest(sound, "json", "en", (), True)))
    assert len(lines) == 10
    assert b'"usage":{"type":"duration","seconds":4.0}' in lines[-1]


def test_a_form_is_read_to_its_end_or_not_at_all():
    body = (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="n.wav"\r\nContent-Type: a/b\r\n\r\n'
        b"\r\n--y\r\n--x--\r\n"
    )
    form = forms.read_form(body)
    assert (form.fields, form.files) == ({"a": ["1"]}, {"f": [("n.wav", b"\r\n--y")]})
    for cut in (body[:-10], body[:20], b"{}", b""):
        with pytest.raises(InvalidRequestError):
            forms.read_form(cut)
    assert forms.boundary_in('multipart/form-data; boundary="x"') == b"x" == forms.boundary_of(body)
    assert forms.boundary_in("application/json") is None
