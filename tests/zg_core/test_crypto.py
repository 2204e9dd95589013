"""Hashes and signatures against known answers and against eth_account; everything that is not canonical is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from zg_core.crypto import (
    CURVE_ORDER,
    SignatureError,
    checksum_address,
    is_address,
    keccak256,
    personal_hash,
    recover,
    recover_personal,
    recover_personal_bytes,
    same_address,
    sha256_hex,
    sign_digest,
    typed_address,
)

# 0g-direct §12.2: the key is 32 bytes of 0x11.
KEY = bytes([0x11]) * 32
SIGNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
REQUEST = b'{"messages":[{"role":"user","content":"hi"}],"model":"m"}'
RESPONSE = b'{"id":"chatcmpl-x","choices":[]}'
TEXT = (
    "a78282f7d97732ac040c8f5a489aee23953d19eda5d24b05e257cd1a12354cf7"
    ":432d11ef6b628d6cd701d132f3e54bd1f30f8a602c21084f72026e704de4e4a1"
)
SIGNATURE = (
    "0xc4b0d4ed275ae60b781883dc67e0a53284a63ab6daa52e27e74d3a1a4871ddac"
    "00dc163c051a75bc92a088f01cb773b2eafce7bf7ed8466c75de1c62ad879c171c"
)
# Made by the provider's own Go code.
SEALED_TEXT = "zg-sig-v1/e2ee-ct:" + "a" * 64 + ":" + "b" * 64
SEALED_SIGNATURE = (
    "0xbd8367999ec7d94c979edeb5538ae98e8cc565b30d3e9be41fdc27675180892a"
    "7a2a2273ce88e3f5d1a2422b7326b14ab1ccf4acc6c05375463b4cda85a9b1c31b"
)
keys = st.integers(1, CURVE_ORDER - 1).map(lambda n: n.to_bytes(32))


def raw(signature: str) -> bytes:
    return bytes.fromhex(signature[2:])


class TestKnownAnswers:
    def test_the_signed_text_is_made_of_the_hashes_of_both_bodies(self) -> None:
        assert f"{sha256_hex(REQUEST)}:{sha256_hex(RESPONSE)}" == TEXT

    def test_a_provider_signature_names_its_signer(self) -> None:
        assert recover_personal(TEXT, SIGNATURE) == SIGNER

    def test_a_signature_by_go_ethereum_names_its_signer_and_is_reproduced(self) -> None:
        signer = recover_personal(SEALED_TEXT, SEALED_SIGNATURE)
        assert signer == Account.recover_message(encode_defunct(text=SEALED_TEXT), signature=SEALED_SIGNATURE)

    def test_signing_reproduces_the_signature(self) -> None:
        assert "0x" + sign_digest(KEY, personal_hash(TEXT.encode())).hex() == SIGNATURE

    def test_keccak(self) -> None:
        assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"

    def test_every_case_of_the_shared_vectors(self, shared: Path) -> None:
        vectors = json.loads((shared / "vectors" / "response_signature.json").read_text())
        for name, case in vectors["cases"].items():
            found = recover_personal(case["text"], case["signature"])
            expected = Account.recover_message(encode_defunct(text=case["text"]), signature=case["signature"])
            assert found == expected, name
            if "request_body" in case:
                assert found == vectors["signer"], name
                hashes = [sha256_hex(case[body].encode()) for body in ("request_body", "response_body")]
                assert case["text"].split(":")[:2] == hashes, name


class TestAgainstEthAccount:
    @given(key=keys, message=st.binary(max_size=200))
    @settings(max_examples=60, deadline=None)
    def test_both_make_and_read_the_same_signature(self, key: bytes, message: bytes) -> None:
        theirs = Account.sign_message(encode_defunct(message), key)
        ours = sign_digest(key, personal_hash(message))
        assert ours == bytes(theirs.signature)
        address = Account.from_key(key).address
        assert recover(personal_hash(message), ours) == address
        assert recover_personal_bytes(message, "0x" + ours.hex()) == address

    @given(text=st.text(st.characters(codec="utf-8"), max_size=60))
    @settings(max_examples=30, deadline=None)
    def test_texts_are_signed_as_utf8(self, text: str) -> None:
        signed = Account.sign_message(encode_defunct(text=text), KEY)
        assert recover_personal(text, "0x" + bytes(signed.signature).hex()) == SIGNER

    @given(address=st.binary(min_size=20, max_size=20))
    def test_addresses_are_capitalised_alike(self, address: bytes) -> None:
        text = "0x" + address.hex()
        assert checksum_address(text) == to_checksum_address(text)
        assert same_address(text, checksum_address(text))


class TestRefusals:
    def test_the_upper_half_of_s(self) -> None:
        good = raw(SIGNATURE)
        high = CURVE_ORDER - int.from_bytes(good[32:64])
        twin = good[:32] + high.to_bytes(32) + bytes([27 + 28 - good[64]])
        # The twin is a valid signature of the same key for lax verifiers: that is why it must be refused.
        assert Account.recover_message(encode_defunct(text=TEXT), signature=twin) == SIGNER
        with pytest.raises(SignatureError, match="lower half"):
            recover(personal_hash(TEXT.encode()), twin)

    def test_any_v_but_27_and_28(self) -> None:
        for v in {*range(256)} - {27, 28}:
            with pytest.raises(SignatureError, match=f"v is {v},"):
                recover(personal_hash(TEXT.encode()), raw(SIGNATURE)[:64] + bytes([v]))

    @pytest.mark.parametrize("length", [0, 1, 64, 66, 130])
    def test_any_length_but_65(self, length: int) -> None:
        with pytest.raises(SignatureError, match="65 bytes"):
            recover(bytes(32), (raw(SIGNATURE) * 3)[:length])

    @pytest.mark.parametrize(
        ("r", "s"),
        [(0, 1), (1, 0), (0, 0), (CURVE_ORDER, 1), (1, CURVE_ORDER), (2**256 - 1, 1), (1, CURVE_ORDER // 2 + 1)],
    )
    def test_numbers_out_of_range(self, r: int, s: int) -> None:
        with pytest.raises(SignatureError, match="out of range"):
            recover(bytes(32), r.to_bytes(32) + s.to_bytes(32) + b"\x1b")

    def test_an_r_that_is_no_point(self) -> None:
        with pytest.raises(SignatureError, match="no public key"):
            recover(bytes(32), (5).to_bytes(32) + (1).to_bytes(32) + b"\x1b")

    @pytest.mark.parametrize(
        "signature",
        [
            "",
            "0x",
            SIGNATURE[2:],
            SIGNATURE[:-1],
            SIGNATURE + "00",
            "0X" + SIGNATURE[2:],
            SIGNATURE[:-2] + "zz",
            " " + SIGNATURE,
            SIGNATURE + "\n",
            SIGNATURE.replace("1", "\u0661", 1),
        ],
    )
    def test_texts_that_are_no_signature(self, signature: str) -> None:
        with pytest.raises(SignatureError):
            recover_personal(TEXT, signature)

    def test_a_text_with_half_a_character(self) -> None:
        with pytest.raises(SignatureError, match="half a character"):
            recover_personal("\ud800", SIGNATURE)

    @pytest.mark.parametrize("length", [0, 31, 33])
    def test_a_digest_of_another_length(self, length: int) -> None:
        with pytest.raises(SignatureError):
            recover(bytes(length), raw(SIGNATURE))

    @given(bit=st.integers(0, 65 * 8 - 1))
    @settings(deadline=None)
    def test_a_changed_bit_of_the_signature_is_never_the_signer(self, bit: int) -> None:
        changed = bytearray(raw(SIGNATURE))
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert recover(personal_hash(TEXT.encode()), bytes(changed)) != SIGNER
        except SignatureError:
            return

    @given(bit=st.integers(0, len(TEXT) * 8 - 1))
    @settings(deadline=None)
    def test_a_changed_bit_of_the_text_is_never_the_signer(self, bit: int) -> None:
        changed = bytearray(TEXT.encode())
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert recover_personal_bytes(bytes(changed), SIGNATURE) != SIGNER
        except SignatureError:
            return


class TestAddresses:
    @pytest.mark.parametrize(
        "text",
        ["", "0x", SIGNER[2:], SIGNER[:-1], SIGNER + "0", "0X" + SIGNER[2:], SIGNER + "\n", "0x" + "g" * 40, None],
    )
    def test_anything_else_is_none(self, text: str) -> None:
        assert not is_address(text)
        with pytest.raises(ValueError, match="not an address"):
            checksum_address(text)

    @pytest.mark.parametrize("place", range(2, 42))
    def test_a_digit_mistyped_in_an_address_with_capitals_is_seen(self, place: int) -> None:
        other = "0x" + SIGNER[2:place] + ("1" if SIGNER[place] != "1" else "2") + SIGNER[place + 1 :]
        with pytest.raises(ValueError, match=r"is mistyped.*EIP-55"):
            typed_address(other)

    def test_what_a_person_gives_is_taken_in_one_case_or_in_the_right_capitals(self) -> None:
        for text in (SIGNER, SIGNER.lower(), "0x" + SIGNER[2:].upper()):
            assert typed_address(text) == SIGNER
        assert typed_address("0x" + "12" * 20) == "0x" + "12" * 20

    @pytest.mark.parametrize("value", [None, b"\x00" * 20, 5, "alice.eth", SIGNER[2:], " " + SIGNER, "0X" + SIGNER[2:]])
    def test_what_is_no_address_is_told_so(self, value: object) -> None:
        with pytest.raises(ValueError, match="is not an address"):
            typed_address(value)

    def test_case_does_not_matter(self) -> None:
        assert is_address(SIGNER.lower())
        assert checksum_address("0x" + SIGNER[2:].upper()) == SIGNER
        assert same_address(SIGNER, SIGNER.lower())
        assert not same_address(SIGNER, "0x" + "00" * 20)
