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


def test_a_pictures_bytes_become_its_address_and_other_bytes_are_refused() -> None:
    part = image_part(data_url(PNG, None, "content[0]"), "content[0]")
    assert part["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    for data in (b"abc", base64.b64encode(PNG), b""):
        with pytest.raises(ConfigError) as caught:
            data_url(data, "image/png", "content[0]")
        assert caught.value.code == "bad_image"
