"""Documents of Nitro enclaves under a root of the test's own: every part of them has to hold."""

from __future__ import annotations

import base64
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest

from tests.effort import tries
from zg_core.localnet.opengradient.enclave import Certificate, Enclave
from zg_core.localnet.opengradient.nitro import Hypervisor
from zg_core.verify.attestation.nitro import AWS_ROOT_SHA256, MalformedDocument, NitroDocument, examine
from zg_core.verify.attestation.report import Level, Outcome

NONCE = bytes(range(20))


@pytest.fixture(scope="module")
def hypervisor() -> Hypervisor:
    return Hypervisor(time.time())


@pytest.fixture(scope="module")
def enclave() -> Enclave:
    return Enclave()


def levels(hypervisor: Hypervisor, enclave: Enclave, body: bytes | None = None, **more: Any) -> dict[int, Outcome]:
    """How each level of a document ends."""
    now = datetime.now(UTC)
    body = document(hypervisor, enclave) if body is None else body
    given: dict[str, Any] = {
        "now": now,
        "nonce": NONCE,
        "certificate": enclave.certificate.der,
        "public_key": enclave.public_key,
        "pcr_hashes": ["0x" + hypervisor.pcr_hash.hex()],
        "root_sha256": hypervisor.root_sha256,
    }
    found = examine(NitroDocument.parse(body), **{**given, **more})
    return {int(each.level): each.outcome for each in found}


def document(hypervisor: Hypervisor, enclave: Enclave, **changes: Any) -> bytes:
    return hypervisor.document(enclave.certificate.der, enclave.public_key, NONCE, time.time(), **changes)


ALL_PASS = dict.fromkeys((1, 2, 3), Outcome.PASS)


def failing(level: Level) -> dict[int, Outcome]:
    return {**ALL_PASS, int(level): Outcome.FAIL}


def test_a_document_passes_as_cbor_and_as_base64(hypervisor, enclave):
    body = document(hypervisor, enclave)
    assert levels(hypervisor, enclave, body) == ALL_PASS
    assert levels(hypervisor, enclave, base64.b64encode(body) + b"\n") == ALL_PASS
    untagged = cbor2.dumps(cbor2.loads(body).value)
    assert levels(hypervisor, enclave, untagged) == ALL_PASS


def test_the_root_is_aws_s_unless_another_is_named(hypervisor, enclave):
    assert levels(hypervisor, enclave, root_sha256=AWS_ROOT_SHA256) == failing(Level.DCAP)


@pytest.mark.parametrize("days", [-2, 31])
def test_certificates_count_while_they_are_valid(hypervisor, enclave, days):
    assert levels(hypervisor, enclave, now=datetime.now(UTC) + timedelta(days=days), nonce=None)[2] is Outcome.FAIL


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": bytes(20)},
        {"nonce": None},
        {"user_data": bytes(68)},
        {"user_data": None},
        {"timestamp": int((time.time() - 3600) * 1000)},
        {"timestamp": int((time.time() + 3600) * 1000)},
    ],
)
def test_what_the_enclave_says_has_to_be_ours_and_of_now(hypervisor, enclave, change):
    assert levels(hypervisor, enclave, document(hypervisor, enclave, **change)) == failing(Level.BINDING)


def test_another_key_or_certificate_is_not_the_one_attested(hypervisor, enclave):
    assert levels(hypervisor, enclave, certificate=Certificate().der) == failing(Level.BINDING)
    assert levels(hypervisor, enclave, public_key=b"other") == failing(Level.BINDING)


def test_an_enclave_in_debug_mode_measures_nought(hypervisor, enclave):
    body = document(hypervisor, enclave, pcrs={index: bytes(48) for index in range(16)})
    assert levels(hypervisor, enclave, body)[1] is Outcome.FAIL


def test_another_image_is_not_accepted(hypervisor, enclave):
    other = Hypervisor(time.time(), b"other image")
    assert levels(hypervisor, enclave, pcr_hashes=["0x" + other.pcr_hash.hex()]) == failing(Level.CONFIG)
    assert levels(hypervisor, enclave, pcr_hashes=[]) == failing(Level.CONFIG)
    short = document(hypervisor, enclave, pcrs={0: b"x" * 48, 1: b"y" * 48})
    assert levels(hypervisor, enclave, short) == failing(Level.CONFIG)


def test_certificates_have_to_sign_one_another(hypervisor, enclave):
    other = Hypervisor(time.time())
    chain = cbor2.loads(cbor2.loads(document(other, enclave)).value[2])["cabundle"]
    own = cbor2.loads(cbor2.loads(document(hypervisor, enclave)).value[2])["cabundle"]
    mixed = document(hypervisor, enclave, cabundle=[own[0], chain[1]])
    assert levels(hypervisor, enclave, mixed)[2] is Outcome.FAIL
    leafless = document(hypervisor, enclave, cabundle=[own[0]])
    assert levels(hypervisor, enclave, leafless)[2] is Outcome.FAIL
    leaf = cbor2.loads(cbor2.loads(document(hypervisor, enclave)).value[2])["certificate"]
    longer = document(hypervisor, enclave, cabundle=[*own, leaf])  # a leaf that is no authority has "signed" another
    assert levels(hypervisor, enclave, longer)[2] is Outcome.FAIL


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"not base64 !",
        b"\xff" * 40,
        cbor2.dumps([1, 2]),
        cbor2.dumps([b"", {}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: -7}), {}, b"", bytes(96)]),
        cbor2.dumps([cbor2.dumps({1: -35}), {}, cbor2.dumps([]), bytes(96)]),
        cbor2.dumps([cbor2.dumps({1: -35}), {}, cbor2.dumps({"pcrs": {}}), bytes(96)]),
        b"\xd2" * 70_000,
        b"\x9f" * 3000,
    ],
)
def test_other_bytes_are_no_document(body):
    with pytest.raises(MalformedDocument):
        NitroDocument.parse(body)


@pytest.mark.fuzz
@pytest.mark.parametrize(
    "odd",
    [
        lambda parts, body: body + b"\x00",
        lambda parts, body: cbor2.dumps(cbor2.CBORTag(98, parts)),
        lambda parts, body: cbor2.dumps(cbor2.CBORTag(18, cbor2.CBORTag(18, parts))),
        lambda parts, body: cbor2.dumps([b"", {1: -35}, *parts[2:]]),
        lambda parts, body: cbor2.dumps([cbor2.dumps({1: -7}), *parts[1:]]),
        lambda parts, body: cbor2.dumps([parts[0], {}, None, parts[3]]),
        lambda parts, body: cbor2.dumps([*parts[:3], parts[3][:95]]),
        lambda parts, body: b"\x81" * 60_000,
        lambda parts, body: b"\x9b" + b"\xff" * 8,
        lambda parts, body: b"\xc4\x82\x1b" + b"\x7f" * 8 + b"\x01",
        lambda parts, body: b"\xd8\x1c\x81\xd8\x1d\x00",
    ],
)
def test_an_odd_encoding_is_no_document(hypervisor, enclave, odd):
    body = document(hypervisor, enclave)
    parts = cbor2.loads(body)
    with pytest.raises(MalformedDocument):
        NitroDocument.parse(odd(list(getattr(parts, "value", parts)), body))


def test_no_flipped_bit_passes(hypervisor, enclave):
    body, picked = document(hypervisor, enclave), random.Random(7)
    for _ in range(tries(2000, 60)):
        flipped = bytearray(body)
        flipped[picked.randrange(len(body))] ^= 1 << picked.randrange(8)
        try:
            found = levels(hypervisor, enclave, bytes(flipped))
        except MalformedDocument:
            continue
        # What no signature covers: the tag, and the header that is not protected.
        if found == ALL_PASS:
            same, own = NitroDocument.parse(bytes(flipped)), NitroDocument.parse(body)
            assert (same.payload, same.protected) == (own.payload, own.protected)
