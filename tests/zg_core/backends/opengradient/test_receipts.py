"""A receipt of OpenGradient, field by field made to say something else: the check fails, or names the field."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.zg_core.backends.opengradient.conftest import QUESTION
from tests.zg_core.receipts.test_vouching import alike, at, changed, field_of, leaves, others
from zg_core.backends.opengradient import places
from zg_core.backends.opengradient.anchors import registry_anchor
from zg_core.backends.opengradient.registry import Registry
from zg_core.errors import ConfigError
from zg_core.http.transport import SyncTransport
from zg_core.http.transport import run as drive
from zg_core.receipts import Anchor, check


@pytest.fixture
def made(og, make) -> tuple[dict[str, Any], Anchor]:
    """An honest receipt with its bytes, and the registry's word."""
    receipt = make(verify="require", keep_bytes=True).create(QUESTION).receipt
    return json.loads(json.dumps(receipt.to_dict())), Anchor("the registry", signers=(receipt.provider,))


def test_an_honest_receipt_passes_offline(made):
    document, anchor = made
    found = check(document, anchor)
    assert found.result == "passed", found.reason
    assert check(document).result == "unproven"  # nobody says whose key it is
    assert check(document, Anchor("pins", signers=("0x" + "12" * 32,))).result == "failed"


def test_without_its_bytes_it_proves_the_signer_only(made):
    document, anchor = made
    document["request"]["body"] = document["response"]["body"] = None
    assert check(document, anchor).result == "unproven"


def test_nothing_that_matters_can_be_changed_unseen(made):
    document, anchor = made
    accepted = []
    for path in leaves(document):
        old = at(document, path)
        for new in list(others(old))[:6]:
            if alike(path, old, new):
                continue
            try:
                found = check(changed(document, path, new), anchor)
            except ConfigError as error:
                assert error.code == "bad_receipt"  # noqa: PT017 - anything else is a traceback
                continue
            if found.result == "passed" and not field_of(path) & set(found.unvouched):
                accepted.append((path, old if len(str(old)) < 60 else "…", new if len(str(new)) < 60 else "…"))
    assert accepted == []


def test_the_registry_says_whose_key_it_is_and_what_it_does_not_know(zerog_opengradient, make):
    """An enclave that was switched off since is no liar, and one that the registry does not know proves nothing."""
    reply = make(verify="require", keep_bytes=True).create(QUESTION)
    (own,) = [each for each in zerog_opengradient.gateways if each.tee_id == reply.receipt.provider]
    transport = SyncTransport()
    try:
        listed = zerog_opengradient.registry_rpc_url
        enclaves = Registry(listed, places.REGISTRY, places.REGISTRY_CHAIN_ID, transport)

        def told(receipt: Any) -> Any:
            return check(receipt.to_dict(), drive(registry_anchor(receipt, enclaves)))

        assert (told(reply.receipt).result, told(reply.receipt).anchor) == ("passed", "the registry")
        own.retire()
        assert (told(reply.receipt).result, "switched off" in told(reply.receipt).anchor) == ("passed", True)
        unknown = drive(registry_anchor(replace(reply.receipt, provider="0x" + "5" * 64), enclaves))
        assert unknown.signers == ()
        assert check(reply.receipt.to_dict(), unknown).result == "unproven"
        with pytest.raises(ConfigError) as refused:
            drive(registry_anchor(replace(reply.receipt, backend="direct"), enclaves))
        assert refused.value.code == "other_network"
    finally:
        transport.close()
