"""Secrets that strangers repeat are found whatever stands around them, and nothing else is blotted out."""

from __future__ import annotations

import base64
import json
import secrets as random
import threading
from collections import OrderedDict
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.errors import RequestError
from zg_core.shown import redaction
from zg_core.shown.redaction import blot, learn, learn_key, learn_url
from zg_core.wallet import Wallet

CLAIMS = json.dumps({"address": "0x" + "ab" * 20, "provider": "0x" + "cd" * 20, "nonce": "0123456789abcdef"})


def token() -> str:
    """A session token as the providers take it."""
    signed = f"{CLAIMS}|0x{random.token_hex(65)}"
    return "app-sk-" + base64.b64encode(signed.encode()).decode()


SECRET = token()


@pytest.fixture(scope="module", autouse=True)
def _own_memory() -> Iterator[None]:
    """What other tests of this process have learnt does not push ours out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_known", OrderedDict())
        patch.setattr(redaction, "_blocks", {})
        patch.setattr(redaction, "_keys", OrderedDict())
        learn(SECRET)
        yield


@given(st.integers(0, len(SECRET) - 16), st.integers(16, len(SECRET)), st.text(max_size=20), st.text(max_size=20))
def test_every_piece_of_sixteen_characters_goes(start: int, length: int, before: str, after: str) -> None:
    piece = SECRET[start : start + length]
    shown = blot(f"{before} {piece} {after}")
    assert piece not in shown
    assert not any(SECRET[i : i + 16] in shown for i in range(len(SECRET) - 15))


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.lower,
        lambda text: text.removeprefix("app-sk-"),
        lambda text: f"Bearer {text}",
        lambda text: repr(text.encode()),
        json.dumps,
        lambda text: text[:-40],
        lambda text: text[40:],
        lambda text: " ".join(text[at : at + 40] for at in range(0, len(text), 40)),
        lambda text: text * 3,
    ],
)
def test_it_goes_in_other_forms(change: object) -> None:
    shown = blot(f"you sent: {change(SECRET)}!")  # type: ignore[operator]
    folded = SECRET.lower()
    assert not any(folded[at : at + 16] in shown.lower() for at in range(len(folded) - 15))
    assert shown.startswith("you sent: ")


def test_the_signature_goes_where_a_token_is_decoded_and_its_claims_stay() -> None:
    decoded = base64.b64decode(SECRET.removeprefix("app-sk-")).decode()
    shown = blot(f"cannot verify {decoded}")
    assert CLAIMS in shown
    assert decoded.rpartition("0x")[2][:16] not in shown


@given(st.text(max_size=200))
def test_what_is_no_secret_stays(text: str) -> None:
    if "app-sk-" not in text:
        assert blot(text) == text


def test_blotting_twice_is_blotting_once() -> None:
    for text in (f"a {SECRET} b", "ZEROG_API_KEY (app-sk-…)", "begins with app-sk-", SECRET[30:]):
        assert blot(blot(text)) == blot(text)


def test_keys_in_a_url_are_learnt_and_words_are_not() -> None:
    key, other = "a1" + random.token_hex(15), random.token_urlsafe(32)
    learn_url(f"https://rpc.example/ethereum-mainnet/v2/{key}?apikey={other}&mode=fast")
    shown = blot(f"invalid key {key} for ethereum-mainnet ({other}), mode=fast")
    assert key not in shown
    assert other not in shown
    assert "for ethereum-mainnet (" in shown
    assert shown.endswith("mode=fast")


def test_errors_hold_no_secret_wherever_it_comes_from() -> None:
    error = RequestError(f"said {SECRET[20:]}", hint=f"not {SECRET[9:80]}", text=f"<html>{SECRET}</html>")
    for text in (str(error), repr(error), error.text, error.message, error.hint, repr(error.args)):
        assert SECRET[20:36] not in text
        assert "\x1b" not in RequestError("\x1b[2J").message


def test_the_newest_secrets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_MOST", 40)
    first = random.token_hex(32)
    learn(first)
    assert blot(first) == "…"
    later = [random.token_hex(32) for _ in range(60)]
    for each in later:
        learn(each)
    assert blot(first) == first
    assert blot(later[-1]) == "…"
    assert len(redaction._known) <= 60
    learn(SECRET)


def test_text_that_was_made_to_be_slow_is_not() -> None:
    """What many tokens begin with, again and again: the work does not grow with the number of tokens."""
    for _ in range(50):
        learn(token())
    counted = 0
    genuine = redaction._run

    def counting(*arguments: object) -> tuple[int, int]:
        nonlocal counted
        counted += 1
        return genuine(*arguments)  # type: ignore[arg-type]

    redaction._run = counting  # type: ignore[assignment]
    try:
        blot(SECRET[8:16] * 5000)
    finally:
        redaction._run = genuine
    assert counted <= redaction._SHARED * 8 * 5000
    assert counted > 0


def test_threads_learn_at_the_same_time() -> None:
    made = [[random.token_hex(24) for _ in range(20)] for _ in range(8)]
    threads = [threading.Thread(target=lambda own=own: [learn(each) for each in own]) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(blot(each) == "…" for own in made for each in own)


def test_the_key_of_a_wallet_is_blotted_and_what_looks_like_one_is_not() -> None:
    key, hashed = random.token_hex(32), random.token_hex(32)
    assert blot(f"model '{key}'") == f"model '{key}'"
    Wallet.from_key(key)
    said = f"0x{key} {key.upper()}, {hashed}{key}{key} {hashed}"
    assert blot(said) == f"0x… …, {hashed}…… {hashed}"
    assert key not in str(RequestError(f"no model {key}", hint=key, text=key).__dict__)


def test_the_keys_that_are_remembered_are_few_and_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_MOST", 2)
    first, *others = (random.token_hex(32) for _ in range(3))
    for key in (first, *others):
        learn_key(key)
    assert [blot(key) for key in (first, *others)] == [first, "…", "…"]
    assert others[0] not in repr(redaction._keys)
