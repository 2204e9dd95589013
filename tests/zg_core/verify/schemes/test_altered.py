"""Whatever bit is turned between the enclave and us, the verdict is never one that proves the reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zg_core.verify.scene import ANSWER, REQUEST, SIGNING, Scene
from zg_core.types import Kind
from zg_core.verify.verdict import Reason, Status


@pytest.mark.parametrize("kind", SIGNING)
class TestNothingAlteredPasses:
    """Whatever bit is turned, by whoever stands in between, the reply is never proven."""

    @given(bit=st.integers(0))
    @settings(max_examples=80, deadline=None)
    def test_a_bit_of_the_signed_text(self, kind: Kind, bit: int) -> None:
        scene = Scene(kind)
        document = json.loads(scene.signature_body())
        text = bytearray(document["text"].encode())
        text[bit // 8 % len(text)] ^= 1 << bit % 8
        scene.body = json.dumps(document | {"text": text.decode("latin-1")}).encode()
        assert scene.verdict().status is Status.FAILED

    @given(bit=st.integers(0))
    @settings(max_examples=80, deadline=None)
    def test_a_bit_of_the_signature(self, kind: Kind, bit: int) -> None:
        scene = Scene(kind)
        document = json.loads(scene.signature_body())
        signature = bytearray.fromhex(document["signature"][2:])
        signature[bit // 8 % 65] ^= 1 << bit % 8
        scene.body = json.dumps(document | {"signature": "0x" + signature.hex()}).encode()
        assert scene.verdict().status is Status.FAILED

    @given(bit=st.integers(0))
    @settings(max_examples=40, deadline=None)
    def test_a_bit_of_the_answer(self, kind: Kind, bit: int) -> None:
        answer = bytearray(ANSWER)
        answer[bit // 8 % len(answer)] ^= 1 << bit % 8
        assert Scene(kind, received=bytes(answer)).verdict().reason is Reason.CONTENT_MISMATCH

    @given(bit=st.integers(0))
    @settings(max_examples=40, deadline=None)
    def test_a_bit_of_the_request(self, kind: Kind, bit: int) -> None:
        sent = bytearray(REQUEST)
        sent[bit // 8 % len(sent)] ^= 1 << bit % 8
        assert Scene(kind, sent=bytes(sent)).verdict().status is Status.RESPONSE_BOUND

    @given(text=st.text(max_size=200), signature=st.text(max_size=140) | st.binary(min_size=65, max_size=65).map(
        lambda b: "0x" + b.hex()))  # fmt: skip
    @settings(max_examples=60, deadline=None)
    def test_a_made_up_document(self, kind: Kind, text: str, signature: str) -> None:
        scene = Scene(kind, body=json.dumps({"text": text, "signature": signature}).encode())
        assert scene.verdict().status is (Status.FAILED if text else Status.UNAVAILABLE)

    @given(body=st.binary(max_size=200))
    @settings(max_examples=60, deadline=None)
    def test_any_bytes_for_a_document(self, kind: Kind, body: bytes) -> None:
        assert Scene(kind, body=body).verdict().status is Status.UNAVAILABLE
