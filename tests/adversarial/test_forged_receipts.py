"""Receipts that say more than their evidence, given to ``zerog receipts verify``: it fails, or names the field.

All begin as honest receipts of a local network; nobody here holds an enclave's key.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.conftest import settings_for
from tests.zg_core.cli.running import Ran, Zerog, zerog_of
from zg_core import ChatClient
from zg_core.localnet import LocalNet

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def honest(net: LocalNet) -> dict[str, Document]:
    """One verified receipt for each kind, bytes kept."""
    made = {}
    for provider in net.providers:
        given = settings_for(net, net.wallet, provider.address)
        with ChatClient(**given, verify="require", keep_bytes=True, environ={}) as client:
            made[provider.kind] = client.create(QUESTION).receipt.to_dict()
    return made


@pytest.fixture
def verifying(net: LocalNet, tmp_path: Path) -> Callable[..., tuple[Ran, Document]]:
    """Hands one receipt to the command; what it says, and its document."""
    zerog: Zerog = zerog_of(net, tmp_path, None)

    def verify(document: Document, *anchor: str) -> tuple[Ran, Document]:
        path = tmp_path / "receipt.json"
        path.write_text(json.dumps(document))
        ran = zerog("receipts", "verify", str(path), *anchor, ok=None)
        said = zerog("receipts", "verify", str(path), *anchor, "--json", ok=None)
        found: Document = said.document["results"][0] if said.out else {}
        assert said.code == ran.code
        return ran, found

    return verify


def edited(document: Document, **changes: Any) -> Document:
    """A copy with some fields changed: ``verdict__status`` is the status of the verdict."""
    copied = copy.deepcopy(document)
    for name, value in changes.items():
        *places, last = name.split("__")
        target = copied
        for place in places:
            target = target[place]
        target[last] = value
    return copied


OTHER = json.dumps(
    {"model": "chat-ml", "messages": [{"role": "user", "content": "Do you admit the crime?"}]}, separators=(",", ":")
).encode()
ANOTHER_QUESTION = {
    "request__sha256": hashlib.sha256(OTHER).hexdigest(),
    "request__size": len(OTHER),
    "verdict__request_sha256": hashlib.sha256(OTHER).hexdigest(),
}
KEPT = {"request__body": base64.b64encode(OTHER).decode()}
NO_BYTES = {"request__body": None, "response__body": None}
BOUND = {"verdict__status": "response_bound", "verdict__reason": "request_unknown", "verdict__binding": "unknown"}
USAGE = {"prompt_tokens": 10**6, "completion_tokens": 10**6, "cached_tokens": 0, "reasoning_tokens": 0}
PRICES = {"input": str(10**14), "output": str(4 * 10**14)}


def fee_of(units: str) -> Document:
    """Another exact fee, in all its fields."""
    return {f"payment__{name}": units for name in ("fee", "lower", "upper")}


DEARER = {"payment__prices": PRICES} | {f"service__record__{name}_price": price for name, price in PRICES.items()}

# Each: what is changed, the exit code, and the fields that have to be named where it is 0.
FORGED: dict[str, tuple[Document, int, set[str]]] = {
    "another model": ({"model": "gpt-9-huge"}, 1, set()),
    "another model, on chain too": (
        {"model": "gpt-9-huge", "service__model": "gpt-9-huge", "service__record__model": "gpt-9-huge"},
        1,
        set(),
    ),
    "prices and the fee that follows": ({**DEARER, **fee_of("1000")}, 1, set()),
    "a fee of one neuron more": (fee_of("ONE MORE"), 1, set()),
    "another URL": ({"service__url": "https://evil.example", "service__record__url": "https://evil.example"}, 1, set()),
    "another key": ({"service__record__tee_signer": "0x" + "11" * 20}, 1, set()),
    "not acknowledged": ({"service__record__acknowledged": False}, 1, set()),
    "abandoned": ({"outcome": "abandoned"}, 1, set()),
    "not complete": ({"response__complete": False}, 1, set()),
    "replayed": ({"response__replayed": True}, 1, set()),
    "another status on top": ({"status": "failed"}, 1, set()),
    "another kind": ({"kind": "TeeTLS"}, 1, set()),
    "another prompt": ({"prompt": "sealed"}, 1, set()),
    "sealed, which nothing shows": ({"prompt": "sealed", "evidence__scheme": "sealed"}, 1, set()),
    "another backend": ({"backend": "router"}, 1, set()),
    "paid in another way": ({"payment__scheme": "x402"}, 1, set()),
    "another task": ({"task": "embeddings"}, 1, set()),
    "another task, hashes only": ({**NO_BYTES, "task": "embeddings"}, 0, {"usage"}),
    "a run": ({"run": "nightly"}, 0, {"run"}),
    "a grant": ({"payment__grant": {"permit": "1"}}, 0, {"payment.grant"}),
    "a time of the evidence": ({"evidence__time": 1_700_000_000}, 0, {"evidence.time"}),
    "facts of the evidence": ({"evidence__facts": {"key": "x"}}, 0, {"evidence.facts.key"}),
    "no scheme": ({"evidence__scheme": ""}, 3, set()),
    "a scheme of nobody's": ({"evidence__scheme": "trust_me"}, 1, set()),
    "another contract": ({"contracts__ledger": "0x" + "11" * 20}, 1, set()),
    "other tokens": ({"usage": USAGE}, 1, set()),
    "the flag of tokens that cannot be": ({"flags": ["usage_implausible"]}, 1, set()),
    "another question, bytes kept": ({**ANOTHER_QUESTION, **KEPT}, 1, set()),
    "another question, bytes kept, claimed": ({**ANOTHER_QUESTION, **KEPT, "verdict__binding": "rewritten"}, 1, set()),
    "another question, bytes kept, told": ({**ANOTHER_QUESTION, **KEPT, **BOUND, "status": "response_bound"}, 3, set()),
    "another question, hashes only, claimed": (
        {**ANOTHER_QUESTION, **NO_BYTES, "verdict__binding": "rewritten"},
        3,
        set(),
    ),
    "a payer": ({"payment__payer": "0x" + "11" * 20}, 0, {"payment.payer"}),
    "a date": ({"started_at": "2019-01-01T00:00:00+00:00"}, 0, {"started_at"}),
    "an attestation": ({"attestation": {"level": 4, "tcb_status": "UpToDate"}}, 0, {"attestation"}),
    "a policy": ({"policy": {"mode": "require", "demand": {"attested": 4}}}, 0, {"policy"}),
    "a certificate": ({"response__certificate_sha256": "00" * 32}, 0, {"response.certificate_sha256"}),
    "an answer that is old": (
        {"receipt_id": "f" * 32, "chat_id": "another-id"},
        0,
        {"receipt_id", "response.replayed", "chat_id"},
    ),
    "another block": ({"service__block": 1}, 0, {"service.block"}),
    "a fee without bound": (
        {"payment__exact": False, "payment__lower": "0", "payment__upper": str(10**30), "payment__reason": "x"},
        0,
        {"payment.exact", "payment.upper", "payment.lower", "payment.reason", "payment.fee"},
    ),
    "tokens, hashes only": (
        {**NO_BYTES, "usage": USAGE, **fee_of("FOLLOWS")},
        0,
        {"usage", "payment.fee", "request.size", "response.size"},
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_field_fails_or_is_named(
    honest: dict[str, Document], verifying: Any, net: LocalNet, tally: Any, name: str
) -> None:
    receipt = honest["TeeML"]
    changes, code, named = FORGED[name]
    fee = int(receipt["payment"]["fee"])
    follows = 10**6 * sum(map(int, receipt["payment"]["prices"].values()))
    words = {"ONE MORE": str(fee + 1), "FOLLOWS": str(follows)}
    given = {key: words.get(value, value) if isinstance(value, str) else value for key, value in changes.items()}
    ran, found = verifying(edited(receipt, **given), "--rpc", net.rpc_url)
    assert ran.code == code, ran
    if code == 0:
        assert named <= set(found["unvouched"])
        assert "nobody vouches for: " in ran.out
        assert all(any(field in line for line in ran.out.splitlines()) for field in named)
    tally("forged receipt", tried=1, caught=1)


@pytest.mark.parametrize("kind", ["TeeML", "TeeTLS", "TeeML-separated"])
@pytest.mark.parametrize("kept", [True, False], ids=["bytes", "hashes"])
def test_an_honest_one_passes_under_every_anchor(
    honest: dict[str, Document], verifying: Any, net: LocalNet, tmp_path: Path, kind: str, kept: bool
) -> None:
    provider = next(each for each in net.providers if each.kind == kind)
    receipt = edited(honest[kind], **({} if kept else NO_BYTES))
    pins = tmp_path / "pins.json"
    pins.write_text(json.dumps({f"31337:{provider.address}": provider.response_signer}))
    anchors = {"--rpc": net.rpc_url, "--signer": provider.response_signer, "--pins": str(pins)}
    rewritten = receipt["verdict"]["binding"] == "rewritten"
    for name, value in anchors.items():
        ran, found = verifying(receipt, name, value)
        # what a rewritten request comes to, only its bytes can show
        assert (ran.code, found["result"]) == ((3, "unproven") if rewritten and not kept else (0, "passed")), ran
        if rewritten and not kept:
            assert verifying(receipt, name, value, "--minimum", "response_bound")[0].code == 0
        elif name == "--rpc":
            assert not {"provider", "kind", "prompt", "service.url", "response.sha256"} & set(found["unvouched"])


def test_of_another_kind_or_provider_than_the_record_s(
    honest: dict[str, Document], verifying: Any, net: LocalNet, tally: Any
) -> None:
    ml, tls = net.providers[0], net.providers[1]
    as_ml = edited(honest["TeeTLS"], kind="TeeML", prompt="declared")
    assert verifying(as_ml, "--rpc", net.rpc_url)[0].code == 1
    both = edited(as_ml, verdict__kind="TeeML", verdict__prompt="declared")
    assert verifying(both, "--signer", tls.tee_signer)[0].code == 1
    info = json.dumps({"TargetSeparated": True, "TargetTeeAddress": ml.tee_signer})
    elsewhere = {"provider": tls.address, "service__provider": tls.address, "service__record__provider": tls.address}
    elsewhere["service__record__additional_info"] = info
    kinds = {f"{place}kind": "TeeML-separated" for place in ("", "verdict__", "service__")}
    other = edited(honest["TeeML"], **elsewhere, **kinds)
    assert verifying(other, "--rpc", net.rpc_url)[0].code == 1
    ran, found = verifying(other, "--signer", ml.tee_signer)
    assert ran.code == 0, "the key is the one that was named"
    assert {"provider", "kind", "service.provider", "service.record"} <= set(found["unvouched"])
    tally("forged receipt", tried=4, caught=4)


@pytest.mark.parametrize("field", ["realm", "contracts__inference"])
def test_of_another_chain_or_contract_it_is_refused(
    honest: dict[str, Document], verifying: Any, net: LocalNet, field: str
) -> None:
    value = {"realm": "eip155:16602", "contracts__inference": "0x" + "11" * 20}[field]
    assert verifying(edited(honest["TeeML"], **{field: value}), "--rpc", net.rpc_url)[0].code == 1


def test_one_signed_answer_in_two_receipts_is_told(honest: dict[str, Document], net: LocalNet, tmp_path: Path) -> None:
    zerog, path = zerog_of(net, tmp_path, None), tmp_path / "two.json"
    other = edited(honest["TeeML"], receipt_id="f" * 32)
    path.write_text(json.dumps([honest["TeeML"], honest["TeeTLS"], other]))
    ran = zerog("receipts", "verify", str(path), "--rpc", net.rpc_url)
    assert ran.out.count("shows the same signed answer") == 1
    assert f"receipt {honest['TeeML']['receipt_id']} shows the same signed answer" in ran.out


@pytest.mark.parametrize("name", ["model", "verdict", "fee"])
def test_a_name_that_is_there_twice_is_refused(
    honest: dict[str, Document], net: LocalNet, tmp_path: Path, name: str
) -> None:
    """One reader may show the first, another check the last."""
    zerog, path = zerog_of(net, tmp_path, None), tmp_path / "twice.json"
    path.write_text(json.dumps(honest["TeeML"]).replace(f'"{name}":', f'"{name}": "x", "{name}":', 1))
    error = zerog.fails("receipts", "verify", str(path), "--rpc", net.rpc_url, code=1)
    assert error["code"] == "bad_receipt"
    assert "twice" in error["message"]


def test_words_of_strangers_command_no_terminal(honest: dict[str, Document], verifying: Any, net: LocalNet) -> None:
    escapes = edited(honest["TeeML"], receipt_id="ok\n\x1b[2Kpassed", network="\x1b]0;a\x07")
    ran, _ = verifying(escapes, "--signer", net.providers[0].tee_signer)
    assert "\x1b" not in ran.out + ran.err
    assert len([line for line in ran.out.splitlines() if line.startswith("passed")]) == 1
    assert verifying(edited(honest["TeeML"], provider="0x\x1b]0;a\x07"), "--rpc", net.rpc_url)[0].code == 1
