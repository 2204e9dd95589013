"""Keys, addresses, hashes: against the protocol's known answers and eth_account."""

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from zg_core.localnet.base.keys import (
    BadSignatureError,
    Key,
    checksum_address,
    eip191_digest,
    keccak256,
    recover_address,
    sha256_hex,
)

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


def test_hashes_are_keccak_and_sha256():
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_public_test_key_has_its_address():
    assert Key(KEY).address == ADDRESS
    assert Key(bytes.fromhex(KEY[2:])).address == ADDRESS
    assert Key(KEY).hex == KEY


def test_a_broker_made_signature_is_reproduced():
    # 0g-direct §12.2: made by the provider's own Go code
    text = "zg-sig-v1/e2ee-ct:" + "a" * 64 + ":" + "b" * 64
    assert "0x" + Key(KEY).sign_message(text.encode()).hex() == (
        "0xbd8367999ec7d94c979edeb5538ae98e8cc565b30d3e9be41fdc27675180892a"
        "7a2a2273ce88e3f5d1a2422b7326b14ab1ccf4acc6c05375463b4cda85a9b1c31b"
    )


def test_signatures_agree_with_eth_account():
    key, message = Key.random(), b"some text \xff"
    signed = Account.sign_message(encode_defunct(primitive=message), key.hex)
    assert key.sign_message(message) == bytes(signed.signature)
    assert recover_address(eip191_digest(message), bytes(signed.signature)) == key.address


@pytest.mark.parametrize("form", [ADDRESS, ADDRESS.lower(), ADDRESS[2:].upper(), bytes.fromhex(ADDRESS[2:])])
def test_any_form_of_an_address_gets_its_checksum(form):
    assert checksum_address(form) == ADDRESS


@pytest.mark.parametrize("bad", ["", "0x", "0x12", ADDRESS + "0", "0x" + "g" * 40, b"123"])
def test_what_is_no_address_is_refused(bad):
    with pytest.raises(ValueError, match="not a 20-byte address"):
        checksum_address(bad)


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (bytes(64), "length"),
        (bytes(66), "length"),
        (bytes(64) + b"\x1d", "recovery id"),
        (bytes(64) + b"\x00", "recovery id"),
        (bytes(64) + b"\x1b", "recovery failed"),
    ],
)
def test_unusable_signatures_are_refused(signature, reason):
    with pytest.raises(BadSignatureError, match=reason):
        recover_address(keccak256(b"x"), signature)


def test_random_keys_differ_and_hide_themselves():
    one, other = Key.random(), Key.random()
    assert one.address != other.address
    assert one.hex[2:] not in repr(one)
    assert one.address in repr(one)
