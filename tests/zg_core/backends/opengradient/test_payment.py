"""What is signed: the payloads of the shared vectors, made by x402's client and compared with what was approved."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.moments import this_threads
from zg_core.backends.opengradient import payment
from zg_core.backends.opengradient.challenge import read
from zg_core.errors import PaymentRequired
from zg_core.wallet import Wallet

VECTORS = json.loads(Path(__file__).with_name("x402.json").read_text(encoding="utf-8"))
WALLET = Wallet.from_key(VECTORS["payer_key"])


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time and the random numbers that the vectors were made with."""
    import x402.mechanisms.evm.exact.client as exact
    import x402.mechanisms.evm.exact.permit2_utils as permits
    import x402.mechanisms.evm.upto.client as upto

    nonce = VECTORS["upto_permit2"]["payment_payload"]["payload"]["permit2Authorization"]["nonce"]
    authorized = VECTORS["exact_eip3009"]["payment_payload"]["payload"]["authorization"]["nonce"]
    for module in (upto, permits, exact):
        if hasattr(module, "create_permit2_nonce"):
            monkeypatch.setattr(module, "create_permit2_nonce", lambda: nonce)
        if hasattr(module, "create_nonce"):
            monkeypatch.setattr(module, "create_nonce", lambda: authorized)
    this_threads(monkeypatch, float(VECTORS["now"]))


def permit_of(name: str) -> tuple[payment.Permit, dict[str, Any]]:
    challenge = read({"payment-required": VECTORS[name]["PAYMENT-REQUIRED"]})
    assert challenge is not None
    permit = payment.signed(challenge, challenge.terms[0], WALLET)
    return permit, json.loads(base64.b64decode(permit.header.reveal()))


@pytest.mark.usefixtures("fixed")
@pytest.mark.parametrize("name", ["upto_permit2", "exact_permit2", "exact_eip3009"])
def test_a_vector_s_challenge_gives_its_payload_and_signature(name):
    permit, payload = permit_of(name)
    wanted = VECTORS[name]["payment_payload"]
    assert payload["payload"]["signature"] == VECTORS[name]["signature"]
    if name == "exact_eip3009":  # x402 lets it begin a little earlier, as its clock may be behind
        payload["payload"]["authorization"].pop("validAfter", None)
        wanted = json.loads(json.dumps(wanted))
        wanted["payload"]["authorization"].pop("validAfter", None)
    assert payload == wanted
    assert permit.deadline == VECTORS["now"] + 300
    assert permit.facts["payer"] == VECTORS["payer"]
    assert VECTORS["payer_key"].removeprefix("0x") not in repr(permit)
    assert permit.header.reveal() not in repr(permit)


def test_a_payment_carries_an_id_only_where_the_gateway_offers_that():
    _, plain = permit_of("upto_permit2")
    assert "extensions" not in plain
    said = json.loads(json.dumps(VECTORS["upto_permit2"]["payment_required"]))
    said["extensions"] = {**VECTORS["payment_identifier"]["declared"], "erc20ApprovalGasSponsoring": {"info": {}}}
    challenge = read({"payment-required": base64.b64encode(json.dumps(said).encode()).decode()})
    assert challenge is not None
    permit = payment.signed(challenge, challenge.terms[0], WALLET)
    extensions = json.loads(base64.b64decode(permit.header.reveal()))["extensions"]
    assert list(extensions) == ["payment-identifier"]  # nothing that would sign an approval without a limit
    import re

    found = extensions["payment-identifier"]["info"]["id"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{16,128}", found)
    assert permit.facts["identifier"] == found


@pytest.mark.parametrize(
    "change",
    [
        lambda permit: permit["permitted"].update(amount="100000000000000001"),
        lambda permit: permit["permitted"].update(token="0x" + "11" * 20),
        lambda permit: permit["witness"].update(to="0x" + "11" * 20),
        lambda permit: permit["witness"].update(facilitator="0x" + "12" * 20),
        lambda permit: permit.update(spender="0x" + "11" * 20),
        lambda permit: permit.update({"from": "0x" + "11" * 20}),
        lambda permit: permit.update(deadline="99999999999"),
        lambda permit: permit.clear(),
    ],
)
def test_a_payment_that_is_not_what_was_approved_is_not_used(monkeypatch, change):
    import x402.mechanisms.evm.upto.client as upto

    honest = upto.UptoEvmScheme.create_payment_payload

    def altered(self, *arguments, **more):
        payload = honest(self, *arguments, **more)
        change(payload["permit2Authorization"])
        return payload

    monkeypatch.setattr(upto.UptoEvmScheme, "create_payment_payload", altered)
    with pytest.raises(PaymentRequired) as refused:
        permit_of("upto_permit2")
    assert refused.value.code == "payment_altered"
