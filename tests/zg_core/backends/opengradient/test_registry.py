"""The registry of enclaves: both its forms, when it is read anew, and which entries nobody sends a prompt to."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from eth_abi.abi import encode

from tests.patience import PATIENCE
from tests.zg_core.backends.opengradient.conftest import QUESTION, options
from zg_core.backends.opengradient import registry as listing
from zg_core.backends.opengradient.registry import Registry, enclaves_of
from zg_core.errors import ConfigError, WrongChain, ZeroGError
from zg_core.http.transport import SyncTransport, run

ROW = ("0x" + "11" * 20, "0x" + "22" * 20, "https://1.2.3.4/", b"key", b"certificate", b"\x07" * 32, 0, True, 1, 9)
OLDER = "(address,address,string,bytes,bytes,bytes32,uint8,bool,uint256,uint256)"
NEWER = OLDER[:-1] + ",(uint8,uint16,uint16,uint16,bytes,bytes,uint256))"


@pytest.mark.parametrize(("kind", "row"), [(OLDER, ROW), (NEWER, (*ROW, (1, 32, 1, 3, b"key", b"config", 5)))])
def test_the_older_form_and_that_with_a_key_for_oblivious_requests_say_the_same(kind, row):
    (first, second) = enclaves_of(encode([f"{kind}[]"], [[row, row]]))
    assert first == second
    assert (first.endpoint, first.public_key, first.pcr_hash) == ("https://1.2.3.4", b"key", "0x" + "07" * 32)
    assert (first.enabled, first.heartbeat) == (True, 9)
    assert enclaves_of(encode([f"{kind}[]"], [[]])) == []


@pytest.fixture
def made(og):
    """A registry that counts its reads, and tells of one that was made aside."""
    chosen, transport = options(og), SyncTransport(None)
    found: Any = Registry(og.registry_rpc_url, chosen.registry, chosen.registry_chain_id, transport, age=100.0)
    found.reads, found.read_aside, honest = 0, threading.Event(), found._read

    async def read() -> None:
        await honest()
        found.reads += 1
        if found.reads > 1:
            found.read_aside.set()

    found._read = read
    yield found
    transport.close()


def test_what_is_young_is_used_and_what_is_older_is_read_again_beside_the_call(made):
    first = run(made.active())
    assert run(made.active()) is first
    assert made.reads == 1
    made._read_at -= 150.0
    assert run(made.active()) is first  # at once
    assert made.read_aside.wait(PATIENCE)
    assert made.reads == 2


def test_what_is_too_old_is_read_before_the_call(made):
    first = run(made.active())
    made._read_at -= 300.0
    assert run(made.active()) is not first
    assert made.reads == 2


@pytest.mark.parametrize("which", ["registry_rpc_url", "rpc_url"])
def test_an_endpoint_of_another_chain_is_refused_before_anything_is_signed(og, make, which):
    other = {"registry_rpc_url": og.rpc_url, "rpc_url": og.registry_rpc_url}[which]
    with pytest.raises(WrongChain):
        make(**{which: other}).create(QUESTION)
    assert not any(each.permit or each.session for gateway in og.gateways for each in gateway.seen)


def der(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"public_key": der(rsa.generate_private_key(65537, 1024))}, "unfit_key"),
        ({"public_key": der(ec.generate_private_key(ec.SECP256R1()))}, "unfit_key"),
        ({"public_key": b"no key"}, "unfit_key"),
        ({"certificate": b"none"}, "certificate_unfit"),
        ({"endpoint": "http://203.0.113.7"}, "insecure_url"),
        ({"endpoint": "https://user:word@203.0.113.7"}, "bad_url"),
        ({"endpoint": "https://[::1"}, "bad_url"),
    ],
)
def test_an_entry_that_cannot_be_trusted_gets_no_byte(og, make, monkeypatch, change, code):
    honest = listing.enclaves_of
    monkeypatch.setattr(listing, "enclaves_of", lambda data: [replace(honest(data)[0], **change)])
    with pytest.raises(ZeroGError) as refused:
        make().create(QUESTION)
    assert code in str(refused.value.details) + refused.value.code + refused.value.message, refused.value
    assert not [each for gateway in og.gateways for each in gateway.seen]
    (tee_id,) = [each.tee_id for each in run(make().backend.registry.active()).values()]
    with pytest.raises(ConfigError) as refused:
        make(provider=tee_id).create(QUESTION)
    assert refused.value.code == code
