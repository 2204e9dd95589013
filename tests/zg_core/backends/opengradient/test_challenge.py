"""What a 402 may ask for: every check refuses before anything is signed, and names both sides."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from zg_core.backends.opengradient.challenge import approved, read
from zg_core.backends.opengradient.options import OpenGradient
from zg_core.config import Environment
from zg_core.errors import ConfigError, PaymentRequired
from zg_core.money import Amount

VECTORS = json.loads(Path(__file__).with_name("x402.json").read_text(encoding="utf-8"))
PAYEE = VECTORS["upto_permit2"]["payment_required"]["accepts"][0]["payTo"]


def challenge_of(value: Any) -> Any:
    return read({"payment-required": base64.b64encode(json.dumps(value).encode()).decode()})


def changed(**fields: Any) -> Any:
    """The vector's challenge with one field changed; keys of ``extra`` are given as ``extra_…``."""
    said = json.loads(json.dumps(VECTORS["upto_permit2"]["payment_required"]))
    for name, value in fields.items():
        into, key = said["accepts"][0], name.removeprefix("extra_")
        if key != name:
            into = into["extra"]
        if value is None:
            del into[key]
        else:
            into[key] = value
    return challenge_of(said)


@pytest.mark.parametrize("name", ["upto_permit2", "exact_permit2", "exact_eip3009"])
def test_the_header_of_a_vector_says_what_its_json_says(name):
    vector = VECTORS[name]
    challenge = read({"payment-required": vector["PAYMENT-REQUIRED"]})
    assert challenge is not None
    (terms,) = challenge.terms
    said = vector["payment_required"]["accepts"][0]
    assert (terms.scheme, terms.amount, terms.pay_to) == (said["scheme"], int(said["amount"]), said["payTo"])
    assert terms.said == said
    assert challenge.error == "Payment required"
    assert terms.permit2 is (name != "exact_eip3009")


def test_a_session_that_is_over_has_no_challenge():
    assert read({"content-type": "application/json"}) is None


@pytest.mark.parametrize(
    "header",
    ["", "%%%", "AAAA", base64.b64encode(b"[]").decode(), base64.b64encode(b"{").decode(), "A" * 100_000],
)
def test_a_header_that_is_no_challenge_is_refused(header):
    with pytest.raises(PaymentRequired) as refused:
        read({"payment-required": header})
    assert refused.value.code in ("payment_malformed", "payment_version")


def test_another_version_of_the_protocol_is_named():
    with pytest.raises(PaymentRequired, match="version 1") as refused:
        challenge_of({"x402Version": 1, "accepts": [{}]})
    assert refused.value.code == "payment_version"


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": "-5"},
        {"amount": 5},
        {"amount": "5.0"},
        {"amount": "0x10"},
        {"amount": "1e18"},
        {"amount": "007"},
        {"amount": " 5"},
        {"amount": "1_000"},
        {"amount": "\u0665"},
        {"amount": "9" * 79},
        {"amount": None},
        {"payTo": None},
        {"scheme": 7},
        {"maxTimeoutSeconds": 0},
        {"maxTimeoutSeconds": True},
        {"maxTimeoutSeconds": "300"},
    ],
)
def test_terms_with_a_field_that_is_none_are_refused(fields):
    with pytest.raises(PaymentRequired) as refused:
        changed(**fields)
    assert refused.value.code == "payment_malformed"


def test_what_the_vector_asks_is_approved_where_the_registry_names_its_payee():
    challenge = changed()
    assert approved(challenge, OpenGradient(), PAYEE.lower()) is challenge.terms[0]


OTHER = "0x" + "ab" * 20


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"scheme": "batch-settlement"}, "payment_scheme", ["batch-settlement", "upto or exact"]),
        ({"extra_facilitatorAddress": None}, "payment_scheme", ["without a facilitator"]),
        ({"network": "eip155:1"}, "payment_network", ["eip155:1", "eip155:8453"]),
        ({"network": "eip155:84532"}, "payment_network", ["eip155:84532", "eip155:8453"]),
        ({"asset": OTHER}, "payment_asset", [OTHER, "0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB"]),
        ({"payTo": OTHER}, "payment_recipient", [OTHER, PAYEE]),
        ({"payTo": "0x12"}, "payment_recipient", ["0x12", PAYEE]),
        ({"amount": str(5 * 10**18 + 1)}, "payment_amount", ["5.000000000000000001 OPG", "5 OPG"]),
        ({"maxTimeoutSeconds": 3601}, "payment_lifetime", ["3601 s", "3600 s"]),
    ],
)
def test_each_check_refuses_by_name_and_shows_what_was_asked_and_what_is_allowed(fields, code, words):
    with pytest.raises(PaymentRequired) as refused:
        approved(changed(**fields), OpenGradient(), PAYEE)
    assert refused.value.code == code
    assert all(word in refused.value.message for word in words)
    assert "nothing was signed" in refused.value.message
    assert refused.value.hint


def test_a_payee_beside_the_registry_s_can_be_allowed():
    challenge = changed(payTo=OTHER)
    assert approved(challenge, OpenGradient(pay_to=[OTHER]), PAYEE) is challenge.terms[0]


def test_of_several_offers_the_first_that_passes_is_taken():
    said = json.loads(json.dumps(VECTORS["upto_permit2"]["payment_required"]))
    said["accepts"] = [{**said["accepts"][0], "scheme": "batch-settlement"}, said["accepts"][0]]
    challenge = challenge_of(said)
    assert approved(challenge, OpenGradient(), PAYEE) is challenge.terms[1]


def test_of_several_refusals_the_one_that_came_furthest_is_told():
    said = json.loads(json.dumps(VECTORS["upto_permit2"]["payment_required"]))
    said["accepts"] = [{**said["accepts"][0], "amount": str(10**20)}, {**said["accepts"][0], "scheme": "other"}]
    with pytest.raises(PaymentRequired) as refused:
        approved(challenge_of(said), OpenGradient(), PAYEE)
    assert refused.value.code == "payment_amount"


@pytest.mark.parametrize(
    "wrong",
    [
        {"cap": 5.0},
        {"cap": Amount("1", "0G")},
        {"cap": Amount(0, "OPG")},
        {"pay_to": OTHER},
        {"pay_to": ["0x12"]},
        {"settlement": "all"},
        {"schemes": ["batch-settlement"]},
        {"longest": 0},
        {"skew": True},
        {"registry": "0x1"},
        {"pcrs": ["12"]},
        {"nitro_root": "12"},
    ],
)
def test_a_malformed_option_is_refused_when_it_is_made(wrong):
    with pytest.raises(ConfigError) as refused:
        OpenGradient(**wrong)
    assert refused.value.code == "bad_opengradient"
    assert refused.value.hint


def test_a_local_network_says_where_blobs_are_and_who_attests_and_nobody_else_does():
    said = {"ZEROG_OPENGRADIENT_BLOBS_URL": "http://127.0.0.1:9/v1", "ZEROG_OPENGRADIENT_NITRO_ROOT": "12" * 32}
    local = OpenGradient(registry_rpc_url="http://127.0.0.1:9").placed(Environment(said))
    assert (str(local.blobs_url), local.nitro_root) == ("http://127.0.0.1:9/v1", "12" * 32)
    far = OpenGradient(registry_rpc_url="https://rpc.example.org").placed(Environment(said))
    assert (far.blobs_url, far.nitro_root) == (OpenGradient().blobs_url, OpenGradient().nitro_root)
    given = OpenGradient(registry_rpc_url="http://127.0.0.1:9", nitro_root="34" * 32).placed(Environment(said))
    assert given.nitro_root == "34" * 32
