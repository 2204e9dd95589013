"""What is base64 of a picture is told without decoding it, and never where a decoder would refuse."""

from __future__ import annotations

import base64
import random

import pytest

from tests.effort import tries
from zg_core.errors import ConfigError
from zg_core.frameworks.images import _is_base64, data_url, image_part

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(90))


def test_what_is_taken_for_base64_can_be_decoded() -> None:
    chosen = random.Random(1)
    taken = refused = 0
    for _ in range(tries(200_000, 5_000)):
        text = base64.b64encode(chosen.randbytes(chosen.randrange(12))).decode()
        for _ in range(chosen.randrange(3)):
            place = chosen.randrange(len(text) + 1)
            text = (
                text[:place] + chosen.choice(["A", "=", "\n", "-", "Z", "é", " "]) + text[place + chosen.randrange(2) :]
            )
        if _is_base64(text):
            taken += 1
            assert base64.b64decode(text.replace("\n", ""), validate=True), text
        else:
            refused += 1
    assert min(taken, refused) > 100


@pytest.mark.parametrize("size", range(1, 12))
def test_base64_of_any_length_is_taken_in_lines_too(size: int) -> None:
    text = base64.b64encode(bytes(size)).decode()
    assert _is_base64(text)
    assert _is_base64("\r\n".join(text[at : at + 4] for at in range(0, len(text), 4)) + "\n")


@pytest.mark.parametrize("place", [0, 65_535, 65_536, 100_001, -1])
@pytest.mark.parametrize("odd", ["-", "=", " ", "\0", "é"])
def test_one_character_that_is_no_base64_is_found_anywhere_in_a_large_picture(place: int, odd: str) -> None:
    text = base64.b64encode(PNG + bytes(200_000)).decode().rstrip("=")
    text = "data:image/png;base64," + text[: len(text) // 4 * 4]
    start = len("data:image/png;base64,")
    assert image_part(text, "content[0]")["image_url"]["url"] == text
    at = len(text) - 1 if place < 0 else start + place
    with pytest.raises(ConfigError, match="no base64"):
        image_part(f"{text[:at]}{odd}{odd}{text[at + 1 :]}", "content[0]")


def test_line_breaks_behind_a_picture_are_no_part_of_it() -> None:
    picture = "data:image/png;base64," + base64.b64encode(PNG).decode() + "\r\n" * 70_000
    assert image_part(picture, "content[0]")["image_url"]["url"] == picture


def test_a_pictures_bytes_become_its_address_and_other_bytes_are_refused() -> None:
    part = image_part(data_url(PNG, None, "content[0]"), "content[0]")
    assert part["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    for data in (b"abc", base64.b64encode(PNG), b""):
        with pytest.raises(ConfigError) as caught:
            data_url(data, "image/png", "content[0]")
        assert caught.value.code == "bad_image"
