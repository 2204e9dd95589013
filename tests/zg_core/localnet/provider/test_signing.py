"""Signed texts and the shelf, against the known answers (0g-direct §12.2)."""

import pytest

from zg_core.localnet.base.keys import Key, sha256_hex
from zg_core.localnet.provider.signing import (
    ChatSignature,
    SignatureShelf,
    certificate_fingerprint,
    chat_text,
    routing_text,
    sign_text,
)

KEY = Key("0x" + "11" * 32)
REQUEST = b'{"messages":[{"role":"user","content":"hi"}],"model":"m"}'
RESPONSE = b'{"id":"chatcmpl-x","choices":[]}'
STREAM = (
    'data: {"id":"chatcmpl-y","choices":[{"index":0,"delta":{"role":"assistant","content":"hé"}}]}\n\n'
    'data: {"id":"chatcmpl-y","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
).encode()
HASHES = (
    "a78282f7d97732ac040c8f5a489aee23953d19eda5d24b05e257cd1a12354cf7"
    ":432d11ef6b628d6cd701d132f3e54bd1f30f8a602c21084f72026e704de4e4a1"
)


STREAM_HASHES = (
    "a78282f7d97732ac040c8f5a489aee23953d19eda5d24b05e257cd1a12354cf7"
    ":3ee2fc6acdccd216f45886d5f28b76474e6eda90da711f09cce7437bac7c6b3c"
)
SIGNATURE = (
    "0xc4b0d4ed275ae60b781883dc67e0a53284a63ab6daa52e27e74d3a1a4871ddac"
    "00dc163c051a75bc92a088f01cb773b2eafce7bf7ed8466c75de1c62ad879c171c"
)
STREAM_SIGNATURE = (
    "0x152dca28123b817f24e0d6d6bc04646562ef673a09f2df0b79d154f0ff1c2137"
    "2b8cb42930bf43a3815a0289693b4db4a757791703428eeca585c19e4e7ec4281b"
)


@pytest.mark.parametrize(
    ("response", "text", "signature"), [(RESPONSE, HASHES, SIGNATURE), (STREAM, STREAM_HASHES, STREAM_SIGNATURE)]
)
def test_the_known_two_field_signatures(response, text, signature):
    signed = sign_text(KEY, chat_text(REQUEST, sha256_hex(response)))
    assert (signed.text, signed.signature) == (text, signature)


def test_the_known_five_field_signature():
    text = routing_text(REQUEST, sha256_hex(RESPONSE), "openrouter", "ab" * 32)
    signed = sign_text(KEY, text, identity="openrouter", fingerprint="ab" * 32)
    assert signed.text == f"{HASHES}:centralized:openrouter:{'ab' * 32}"
    assert signed.signature == (
        "0x62c423402e020f48c6111b84a55195111d36b31f7e1deb9af1d66fe794edf6b0"
        "6e63fa27ce54518a96f80f951dd832f95f3560dc97f928f8fdde6e8e53b72a311c"
    )
    assert signed.to_json() == {
        "text": text,
        "signature": signed.signature,
        "signing_address": KEY.address,
        "signing_algo": "ecdsa",
        "provider_type": "centralized",
        "provider_identity": "openrouter",
        "tls_cert_fingerprint": "ab" * 32,
    }


def test_two_field_json_has_no_routing_fields():
    assert set(sign_text(KEY, HASHES).to_json()) == {"text", "signature", "signing_address", "signing_algo"}


def test_an_identity_has_one_certificate():
    assert certificate_fingerprint("openrouter") == certificate_fingerprint("openrouter")
    assert certificate_fingerprint("openrouter") != certificate_fingerprint("bailian")
    assert len(bytes.fromhex(certificate_fingerprint("x"))) == 32


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def shelf(time):
    return SignatureShelf(time)


ENTRY = ChatSignature("t", "0x", "0x")


def test_keys_are_found_in_any_letter_case(shelf):
    shelf.put("AbC", ENTRY, ttl=10)
    assert shelf.get("aBc") is ENTRY
    assert shelf.get("abd") is None


def test_a_signature_expires(shelf, time):
    shelf.put("k", ENTRY, ttl=1200)
    time.now += 1199.9
    assert shelf.get("k") is ENTRY
    time.now += 0.1
    assert shelf.get("k") is None


def test_a_signature_may_come_late_in_time_and_in_lookups(shelf, time):
    shelf.put("k", ENTRY, ttl=10, delay=5, misses=2)
    assert shelf.get("k") is None
    time.now += 5
    assert [shelf.get("k") for _ in range(3)] == [None, None, ENTRY]


def test_a_saved_shelf_comes_back(shelf):
    shelf.put("a", ENTRY, ttl=10)
    saved = shelf.save()
    shelf.put("b", ENTRY, ttl=10)
    shelf.restore(saved)
    assert shelf.get("a") is ENTRY
    assert shelf.get("b") is None


def test_a_full_shelf_forgets_what_has_expired(shelf, time):
    for number in range(20_001):
        shelf.put(f"old{number}", ENTRY, ttl=1)
    time.now += 2
    shelf.put("new", ENTRY, ttl=1)
    assert set(shelf.save()) == {"new"}
