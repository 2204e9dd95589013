"""The enclave's side of sealing, written a second time: it agrees with what is published, and with the client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.zg_core.sealing.known import client, enclave, opener, profile, vectors
from zg_core.localnet.base.keys import Key
from zg_core.localnet.sealing.enclave import SealRefusedError, encryption_public, open_request
from zg_core.localnet.sealing.hpke import CannotOpenError, inward, outward
from zg_core.localnet.sealing.jcs import bound, clear_part, jcs, to_bytes
from zg_core.sealing.canonical import canonical
from zg_core.sealing.envelopes import EnclaveKey, SealedRequest

CHAT, PROFILES = vectors("chat"), vectors("profiles")
PAIRS = [
    CHAT["request"],
    CHAT["response"],
    *CHAT["stream"]["frames"],
    *(each[side] for each in PROFILES["profiles"].values() for side in ("request", "response")),
]
PATHS = {"chat": "/chat/completions", "image": "/images/generations", "speech": "/audio/transcriptions"}
PATHS["embedding"] = "/embeddings"


@pytest.mark.parametrize("pair", PAIRS)
def test_every_published_envelope_is_bound_as_published(pair: dict[str, Any]) -> None:
    clear = clear_part(pair["envelope"])
    assert clear.decode() == pair["aad"]
    assert bound(clear, bytes.fromhex(pair["ciphertext_hex"])).hex() == pair["binding"]


def test_the_published_request_opens_and_a_changed_one_does_not() -> None:
    request, private = CHAT["request"], bytes.fromhex(CHAT["recipient"]["enc_priv"])
    enc = to_bytes(request["envelope"]["_e2ee"]["enc"])
    locked = bytes.fromhex(request["ciphertext_hex"])
    opened = inward(private, enc, b"0g-pc/v1/seal").unlock(locked, request["aad"].encode())
    assert opened.decode() == request["sealed_plaintext_utf8"]
    with pytest.raises(CannotOpenError):
        inward(private, enc, b"0g-pc/v1/seal").unlock(locked, request["aad"].encode() + b" ")


def test_the_published_answer_is_sealed_byte_for_byte() -> None:
    frames, ephemeral = CHAT["stream"]["frames"], None
    enc, channel = outward(client().public, b"0g-pc/v1/resp", ephemeral)
    assert len(enc) == 32
    first = channel.lock(b"a", frames[0]["aad"].encode())
    assert channel.lock(b"a", frames[0]["aad"].encode()) != first


@pytest.mark.parametrize(
    "value", [0.1, 1e-6, 1e-7, 123456.75, 1e20, 1e21, 1.5e300, 5e-324, -1e-9, 2**53 + 1, 100.0, {"😀": 1, "\ufb33": 2}]
)
def test_both_writings_of_canonical_json_agree(value: Any) -> None:
    assert jcs(value).encode() == canonical(value)


KEY = Key.random()
RIGHT = EnclaveKey(encryption_public(KEY), KEY.address)
PAYLOADS: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "€"}], "tools": [], "temperature": 0.7},
    "image": {"model": "m", "prompt": "p", "response_format": "b64_json", "n": 1},
    "speech": {"model": "m", "file_base64": "AAEC", "filename": "a.wav", "response_format": "verbose_json"},
    "embedding": {"model": "m", "input": ["a", "b"]},
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_the_client_seals_the_enclave_opens(name: str) -> None:
    made = SealedRequest.seal(PAYLOADS[name], profile(name), RIGHT)
    sent = {**json.loads(made.data), "model": "what the Router makes of it"}
    opened = open_request(sent, PATHS[name], KEY)
    assert {**opened.document, "model": "m"} == PAYLOADS[name]
    assert opened.answering.request == made.binding
    if name == "speech":
        assert b'filename="a.wav"' in opened.body


def test_what_the_enclave_answers_the_client_opens() -> None:
    made = SealedRequest.seal(PAYLOADS["chat"], profile("chat"), RIGHT)
    answering = open_request(json.loads(made.data), PATHS["chat"], KEY).answering
    first = answering.frame({"id": "1", "choices": [{"index": 0}]}, final=False)
    last = answering.frame({"id": "1", "usage": {"prompt_tokens": 1}, "choices": []}, final=True)
    assert made.opener.open(json.loads(first)) == {"id": "1", "choices": [{"index": 0}]}
    assert made.opener.open(json.loads(last))["usage"] == {"prompt_tokens": 1}
    assert made.opener.final
    assert list(made.opener.bindings) == answering.bindings


def test_another_key_is_a_mismatch_that_says_so() -> None:
    made = SealedRequest.seal(PAYLOADS["chat"], profile("chat"), RIGHT)
    with pytest.raises(SealRefusedError, match=r"^e2ee_key_mismatch") as caught:
        open_request(json.loads(made.data), PATHS["chat"], Key.random())
    assert caught.value.status == 409


@pytest.mark.parametrize("case", PROFILES["must_refuse"], ids=[each["why"] for each in PROFILES["must_refuse"]])
def test_the_enclave_refuses_what_must_be_refused(case: dict[str, Any]) -> None:
    name = case["profile"]
    envelope = dict(case["envelope_without_ciphertext"])
    seal = {**envelope["_e2ee"], "key_id": RIGHT.key_id, "signer_addr": KEY.address, "ciphertext": "AAAA"}
    with pytest.raises(SealRefusedError) as caught:
        open_request({**envelope, "_e2ee": seal}, PATHS[name], KEY)
    assert caught.value.status == 400
    assert "authentication" not in str(caught.value)  # refused by the rule, before anything is opened


def test_the_vectors_key_is_no_key_of_ours() -> None:
    assert enclave().public != RIGHT.public
    assert opener("chat").final is False
