"""How attestations are judged: lists in any spelling, and what is no list is said to be none."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.errors import ConfigError
from zg_core.verify.attestation import AttestationOptions

HASH = "37bf800efc7228d56aaa270d051bb6bf8206ba28f92d5a1940c30d1255c2cd23"
IMAGE = ("ab" * 48, "cd" * 48, "ef" * 48)


@pytest.mark.parametrize("spelled", [HASH, HASH.upper(), "0x" + HASH, "0X" + HASH.upper(), f" {HASH}\n"])
@pytest.mark.parametrize("kind", [frozenset, set, list, tuple, iter])
def test_a_hash_counts_in_any_spelling_and_any_kind_of_list(kind: Any, spelled: str) -> None:
    assert AttestationOptions(compose_hashes=kind([spelled])).compose_hashes == {HASH}


@pytest.mark.parametrize(
    "image",
    [IMAGE, list(IMAGE), tuple("0x" + part.upper() for part in IMAGE), ":".join(IMAGE), ":".join(IMAGE).upper()],
    ids=["tuple", "list", "0x", "as it is printed", "capitals"],
)
def test_an_image_counts_in_any_spelling(image: Any) -> None:
    assert AttestationOptions(os_images=[image]).os_images == {IMAGE}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"compose_hashes": HASH}, "takes a tuple"),
        ({"compose_hashes": HASH.encode()}, "takes a tuple"),
        ({"compose_hashes": 7}, "takes a tuple"),
        ({"compose_hashes": ["37bf…"]}, "no hex"),
        ({"compose_hashes": [""]}, "no hex"),
        ({"compose_hashes": [None]}, "no hex"),
        ({"compose_hashes": [b"\x37"]}, "no hex"),
        ({"os_images": ":".join(IMAGE)}, "takes a tuple"),
        ({"os_images": IMAGE}, "no image"),
        ({"os_images": [IMAGE[:2]]}, "no image"),
        ({"os_images": [7]}, "no image"),
        ({"os_images": [("a", "b", "zz")]}, "no hex"),
        ({"os_images": ["a:b"]}, "no image"),
        ({"os_images": {IMAGE: 1, "x": 2}}, "no image"),
        ({"statuses": "UpToDate"}, "takes a tuple"),
        ({"statuses": None}, "takes a tuple"),
        ({"statuses": ("uptodate",)}, "no TCB status"),
        ({"statuses": (7,)}, "no TCB status"),
    ],
)
def test_what_is_no_list_of_them_is_said_to_be_none(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        AttestationOptions(**wrong)
    assert caught.value.code == "bad_attestation_options"
    assert caught.value.hint
    assert len(str(caught.value)) < 600


def test_nothing_is_on_a_list_that_is_empty() -> None:
    assert AttestationOptions(os_images=()).os_images == frozenset()
