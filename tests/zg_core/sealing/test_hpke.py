"""HPKE by RFC 9180: what one side seals only the other opens, in order, with the same clear part."""

from __future__ import annotations

import pickle

import pytest

from tests.zg_core.sealing.known import client, vectors
from zg_core.sealing.canonical import decode
from zg_core.sealing.hpke import NotSealed, PrivateKey, receive, send


def test_the_known_request_opens_with_the_enclaves_key() -> None:
    chat = vectors("chat")
    request, key = chat["request"], PrivateKey(bytes.fromhex(chat["recipient"]["enc_priv"]))
    context = receive(key, decode(request["envelope"]["_e2ee"]["enc"]), b"0g-pc/v1/seal")
    opened = context.open(bytes.fromhex(request["ciphertext_hex"]), request["aad"].encode())
    assert opened.decode() == request["sealed_plaintext_utf8"]


def test_the_known_frames_open_in_their_order_and_in_no_other() -> None:
    frames = vectors("chat")["stream"]["frames"]
    enc = decode(frames[0]["envelope"]["_e2ee"]["enc"])
    context = receive(client(), enc, b"0g-pc/v1/resp")
    for index, frame in enumerate(frames):
        later = frames[(index + 1) % len(frames)]
        with pytest.raises(NotSealed):
            context.open(bytes.fromhex(later["ciphertext_hex"]), later["aad"].encode())
        context.open(bytes.fromhex(frame["ciphertext_hex"]), frame["aad"].encode())


@pytest.mark.parametrize("part", ["cipher", "aad", "enc", "info", "key"])
def test_one_changed_bit_of_anything_opens_nothing(part: str) -> None:
    key = PrivateKey()
    enc, context = send(key.public, b"info")
    given = {"cipher": context.seal(b"secret", b"clear"), "aad": b"clear", "enc": enc, "info": b"info"}
    if part == "key":
        key = PrivateKey()
    else:
        given[part] = bytes([given[part][0] ^ 1]) + given[part][1:]
    with pytest.raises(NotSealed):
        receive(key, given["enc"], given["info"]).open(given["cipher"], given["aad"])


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), b"short"])
def test_a_key_with_which_everybody_shares_the_same_secret_is_refused(public: bytes) -> None:
    with pytest.raises(NotSealed):
        send(public, b"info")


def test_a_key_shows_itself_nowhere() -> None:
    key = PrivateKey(bytes(range(32)))
    assert repr(key) == "PrivateKey(***)"
    with pytest.raises(TypeError):
        pickle.dumps(key)
