"""Receipts of other schemes than 0G's plain one: the same check, and nothing in them slips through either."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.receipts.test_model import receipt
from tests.zg_core.receipts.test_vouching import Case, alike, at, changed, leaves, others, slipped_through
from tests.zg_core.verify.scene import PROVIDER, service
from tests.zg_core.verify.schemes import test_rsa_pss as pss
from tests.zg_core.verify.schemes import test_sealed as sealing
from zg_core.backends.service import Service
from zg_core.crypto import sha256_hex
from zg_core.errors import ConfigError
from zg_core.receipts import Anchor, Receipt, check
from zg_core.receipts.contradictions import NESTED, flat
from zg_core.receipts.packing import COLUMNS, packed, unpacked
from zg_core.types import Kind, Usage
from zg_core.verify.schemes.evidence import Evidence, Kept
from zg_core.verify.schemes.registry import scheme_named
from zg_core.verify.schemes.rsa_pss import evidence_of as pss_evidence
from zg_core.verify.schemes.sealed import evidence_of as sealed_evidence
from zg_core.verify.verdict import Status, Verdict


def made_of(evidence: Evidence, request: bytes, response: bytes, answering: Any, *, keep: bool, **more: Any) -> Receipt:
    """The receipt that a client makes of an exchange, its verdict made by the scheme."""
    from zg_core.receipts.checking import _record_in, rebuilt

    made = receipt(
        provider=PROVIDER,
        kind=answering.kind,
        service=answering,
        evidence=evidence,
        signature_ids=evidence.ids,
        request_sha256=sha256_hex(request),
        request_bytes=len(request),
        request_body=request,
        response_sha256=sha256_hex(response),
        response_bytes=len(response),
        response_body=response,
        outcome="answered",
        complete=True,
        **more,
    )
    scheme = scheme_named(evidence.scheme)
    assert scheme is not None
    kept = Kept(rebuilt(made), evidence, _record_in(made), Verdict(Status.PENDING), response=response)
    made.settle(scheme.remade(kept))
    if not keep:
        made.request_body = made.response_body = None
    return made


def sealed(*, streamed: bool, keep: bool) -> Receipt:
    request, response, document = sealing.published(streamed=streamed)
    evidence = sealed_evidence(sealing.exchanged(streamed=streamed), document, ("id",))
    fee = {"input_price": sealing.RECORD.input_price, "output_price": sealing.RECORD.output_price}
    from zg_core.money import Fee, neuron
    from zg_core.receipts.bounds import bounded
    from zg_core.receipts.contradictions import usage_in

    usage = usage_in(response)
    made = made_of(
        evidence, request, response, sealing.RECORD, keep=keep, backend="router", chain_id=0, realm="0g-router",
        payment="balance", usage=usage, fee=Fee(neuron(0), exact=False, reason="outcome_unknown"), **fee,
    )  # fmt: skip
    made.model = json.loads(request)["model"]
    made.fee = bounded(made.fee, made, request)
    return made


def of_opengradient(*, keep: bool) -> Receipt:
    case = pss.PLAIN
    request, response = (json.dumps(case[name]).encode() for name in ("request_body", "response"))
    evidence = pss_evidence(pss.answer_of(case), pss.KEY, (pss.NOW, pss.NOW))
    answering = Service(
        pss.VECTORS["tee_id"],
        case["request_body"]["model"],
        "chat",
        "https://tee",
        Kind.TEE_TLS,
        record={"public_key": base64.b64encode(pss.KEY).decode()},
    )
    usage = Usage.parse(case["response"].get("usage"))
    return made_of(
        evidence, request, response, answering, keep=keep, backend="opengradient", chain_id=0, realm="eip155:8453",
        payment="x402-upto", usage=usage, model=answering.model,
    )  # fmt: skip


def cases() -> Iterator[Case]:
    for keep in (True, False):
        words = "bytes" if keep else "hashes"
        for streamed in (False, True):
            made = sealed(streamed=streamed, keep=keep)
            chain = Anchor("the chain", (sealing.SIGNER,), (sealing.RECORD,), facts={"provider": PROVIDER})
            kind = "stream" if streamed else "whole"
            yield Case(f"sealed {kind} {words} chain", made.to_dict(), chain)
            yield Case(f"sealed {kind} {words} signer", made.to_dict(), Anchor("--signer", (sealing.SIGNER,)))
        made = of_opengradient(keep=keep)
        made.provider = pss.VECTORS["tee_id"]
        signer = Anchor("--signer", (pss.VECTORS["tee_id"],))
        yield Case(f"rsa_pss {words} registry", made.to_dict(), Anchor("the registry", services=(made.service.record,)))
        yield Case(f"rsa_pss {words} signer", made.to_dict(), signer)


CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize("name", CASES)
def test_an_honest_receipt_is_what_its_bytes_show(name: str) -> None:
    case = CASES[name]
    found = check(case.document, case.anchor)
    assert found.verdict is not None
    if name.startswith("rsa_pss hashes"):  # what was signed are hashes of other texts than the bytes
        assert (found.result, found.verdict.status) == ("unproven", Status.SIGNER_ONLY), found.reason
        found = check(case.document, case.anchor, minimum="signer_only")
    assert found.result == "passed", found.reason
    assert {"receipt_id", "payment.payer", "started_at", "backend", "evidence.ids"} <= set(found.unvouched)
    assert check(case.document).result == "unproven"


@pytest.mark.parametrize("name", CASES)
def test_no_field_can_be_flipped_unnoticed(name: str, tally: Any) -> None:
    case = CASES[name]
    tried, wrong = 0, []
    for path in leaves(case.document):
        old = at(case.document, path)
        for new in others(old):
            if not alike(path, old, new) and not _same_fact(path, old, new):
                tried += 1
                wrong += [(path, new)] if slipped_through(case, path, new) else []
    assert not wrong, wrong[:10]
    assert tried > 300
    tally("receipt with a flipped field", tried=tried, caught=tried)


def _same_fact(path: tuple[Any, ...], old: Any, new: Any) -> bool:
    """Whether base64 of a key or a signature says the same in another spelling."""
    if not (isinstance(old, str) and isinstance(new, str)):
        return False
    try:
        return base64.b64decode(new, validate=True) == base64.b64decode(old, validate=True)
    except ValueError:
        return False


@pytest.mark.parametrize("name", CASES)
def test_a_field_that_nobody_knows_is_named(name: str) -> None:
    case = CASES[name]
    for path in (("more",), *((whole, "more") for whole in NESTED), ("evidence", "facts", "more")):
        found = check(changed(case.document, path, "x"), case.anchor, minimum="signer_only")
        assert found.result == "failed" or ".".join(path) in found.unvouched, path


@pytest.mark.parametrize("name", CASES)
def test_it_comes_back_from_a_store(name: str) -> None:
    document = CASES[name].document
    values, context = packed(Receipt.from_dict(copy.deepcopy(document)))
    assert unpacked(tuple(values[column] for column in COLUMNS), context.data).to_dict() == document


@pytest.mark.parametrize("name", CASES)
def test_a_scheme_of_another_kind_ends_in_words(name: str) -> None:
    """A stranger may put any scheme's name over any evidence and any record."""
    for scheme in ("signed_hashes", "sealed", "rsa_pss", "claims"):
        for record in ({}, {"public_key": 3}, {"a": []}):
            document = copy.deepcopy(CASES[name].document)
            document["evidence"]["scheme"] = scheme
            document["service"]["record"] = record
            try:
                assert check(document, CASES[name].anchor).result != "passed"
            except ConfigError as error:
                assert error.code == "bad_receipt"  # noqa: PT017 - anything else is a traceback
    assert "evidence.scheme" not in check(CASES[name].document, CASES[name].anchor).unvouched or "hashes" in name


def test_a_record_of_the_chain_is_read_through_another_backend() -> None:
    document = CASES["sealed whole bytes chain"].document
    assert flat(document)["service.record"]["tee_signer"] == sealing.SIGNER
    assert Receipt.from_dict(document).service.record == document["service"]["record"]
    assert service(Kind.TEE_ML).kind is Kind.TEE_ML


def test_an_enclave_is_named_by_its_id_on_the_command_line_and_in_pins(tmp_path: Path) -> None:
    from tests.zg_core.cli.running import Zerog

    case, tee_id = CASES["rsa_pss bytes signer"], pss.VECTORS["tee_id"]
    path, pins, wrong = tmp_path / "receipt.json", tmp_path / "pins.json", "0x" + "5e" * 32
    path.write_text(json.dumps(case.document))
    pins.write_text(json.dumps({tee_id: [tee_id.upper().replace("0X", "0x")]}))
    zerog = Zerog({"ZEROG_HOME": str(tmp_path)})
    for anchor in (("--signer", tee_id), ("--pins", str(pins))):
        assert "passed" in zerog("receipts", "verify", str(path), *anchor).out
    refused = zerog("receipts", "verify", str(path), "--signer", wrong, ok=None)
    assert (refused.code, wrong in refused.out + refused.err) == (1, False), "it may be a key"
    assert zerog("receipts", "verify", str(path), "--signer", "0x12", ok=None).code == 2
