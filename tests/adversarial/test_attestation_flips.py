"""One flipped bit anywhere in an attestation: it no longer holds, unless the bit says nothing that is attested."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.adversarial.flips import SEED, flips
from tests.zg_core.verify.scene import service
from zg_core.localnet.attestation import Enclave
from zg_core.localnet.keys import Key
from zg_core.localnet.platform import Maker
from zg_core.types import Kind
from zg_core.verify.attestation import AttestationOptions, Collateral, Evidence, MalformedEvidence, Outcome, examine

pytest.importorskip("dcap_qvl")

NOW = time.time()
MAKER, KEY = Maker(NOW), Key("0x" + "11" * 32)
ENCLAVE = Enclave(lambda: MAKER)
BODY = json.loads(ENCLAVE.quote_body(KEY, legacy=True))
COLLATERAL = Collateral.parse(ENCLAVE.platform.collateral)
OPTIONS = AttestationOptions(root=MAKER.root)


def examined(level: int, **changes: Any) -> Any:
    """The report on the honest body with some of its fields replaced."""
    try:
        evidence: Any = Evidence.parse(json.dumps({**BODY, **changes}).encode())
    except MalformedEvidence as error:
        evidence = error
    return examine(
        service(Kind.TEE_ML, tee_signer=KEY.address),
        {"broker": evidence},
        level=level,
        now=datetime.fromtimestamp(NOW, UTC),
        options=OPTIONS,
        collateral={"broker": COLLATERAL},
    )


def parts_of(quote: bytes) -> Any:
    """What in a quote is attested.

    Not attested are the type of the outer certification data and the root at the end of the chain: a verifier has that
    from somewhere else. The two certificates below it count as what they say, whatever their spelling.
    """
    outer_type, inner_size = slice(764, 766), slice(1254, 1258)
    chain = quote[1258 : 1258 + int.from_bytes(quote[inner_size], "little")]
    certificates = [re.sub(rb"[^A-Za-z0-9+/=]", b"", text) for text in _PEM.findall(chain)[:2]]
    return quote[: outer_type.start], quote[outer_type.stop : inner_size.start], certificates


_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def attested_events(text: bytes) -> Any:
    """What of an event log is attested: every digest, and the content of register 3; None where it is no log."""
    try:
        return [_attested(event) for event in json.loads(text.decode("utf-8", "surrogateescape"))]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _attested(event: Any) -> Any:
    digest = (event["imr"], event["digest"].lower())
    if event["imr"] != 3:
        return digest
    return (*digest, event["event_type"], event.get("event") or "", (event.get("event_payload") or "").lower())


def test_in_the_quote(tally: Any) -> None:
    honest = bytes.fromhex(BODY["quote"])
    assert examined(2).satisfies(2)
    caught, harmless, wrong = 0, 0, []
    for where, flipped in flips(honest, "quote"):
        found = examined(2, quote=flipped.hex())
        if parts_of(flipped) == parts_of(honest):
            harmless += 1
        elif found.satisfies(2):
            wrong.append(f"{where}: still holds")
        elif not found.failed:
            wrong.append(f"{where}: {found.explain()}, though the quote contradicts itself")
        else:
            caught += 1
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong[:10])
    tally("bit flipped in the quote", tried=caught + harmless, caught=caught, harmless=harmless)


def test_in_the_event_log(tally: Any) -> None:
    honest = BODY["event_log"].encode()
    assert examined(3).satisfies(3)
    caught, harmless, wrong = 0, 0, []
    for where, flipped in flips(honest, "event log"):
        found = examined(3, event_log=flipped.decode("utf-8", "surrogateescape"))
        if attested_events(flipped) == attested_events(honest):
            harmless += 1
            if found.outcome(3) is Outcome.FAIL and "is no event" not in found.explain():
                wrong.append(f"{where}: {found.explain()}, though nothing attested changed")
        elif found.satisfies(3):
            wrong.append(f"{where}: still holds")
        else:
            caught += 1
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong[:10])
    tally("bit flipped in the event log", tried=caught + harmless, caught=caught, harmless=harmless)


def test_in_the_compose_file(tally: Any) -> None:
    tcb = json.loads(BODY["tcb_info"])
    honest = tcb["app_compose"].encode()
    caught = 0
    for where, flipped in flips(honest, "compose file"):
        text = flipped.decode("utf-8", "surrogateescape")
        found = examined(3, tcb_info=json.dumps({**tcb, "app_compose": text}))
        assert found.outcome(3) is Outcome.FAIL, f"seed {SEED} {where}: {found.explain()}"
        caught += 1
    tally("bit flipped in the compose file", tried=caught, caught=caught)


def test_evidence_of_two_enclaves_put_together(tally: Any) -> None:
    other = json.loads(Enclave(lambda: MAKER).quote_body(Key("0x" + "22" * 32), legacy=True))
    found = examined(2, quote=other["quote"])
    assert found.outcome(1) is Outcome.FAIL
    tally("evidence of another enclave", tried=1, caught=1)


HOSTILE: dict[str, Any] = {
    "no JSON": b"<html>",
    "not an object": b"[1]",
    "empty": b"",
    "deep": b'{"quote":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep log": json.dumps({**BODY, "event_log": "[" * 5000 + "]" * 5000}).encode(),
    "no quote": json.dumps({**BODY, "quote": None}).encode(),
    "a number": json.dumps({**BODY, "quote": 7}).encode(),
    "half a digit": json.dumps({**BODY, "quote": BODY["quote"] + "f"}).encode(),
    "announces more": json.dumps({**BODY, "quote": BODY["quote"][: 2 * 632] + "ffffffff"}).encode(),
    "another version": json.dumps({**BODY, "quote": "0300" + BODY["quote"][4:]}).encode(),
    "SGX": json.dumps({**BODY, "quote": BODY["quote"][:8] + "00" + BODY["quote"][10:]}).encode(),
    "log is a number": json.dumps({**BODY, "event_log": 7}).encode(),
    "log of numbers": json.dumps({**BODY, "event_log": [1, 2]}).encode(),
    "register 7": json.dumps({**BODY, "event_log": [{"imr": 7, "event_type": 1, "digest": "00" * 48}]}).encode(),
    "register -1": json.dumps({**BODY, "event_log": [{"imr": -1, "event_type": 1, "digest": "00" * 48}]}).encode(),
    "a boolean register": json.dumps(
        {**BODY, "event_log": [{"imr": True, "event_type": 1, "digest": "00" * 48}]}
    ).encode(),
    "half a character": json.dumps(
        {**BODY, "event_log": [{"imr": 3, "event_type": 1, "digest": "00" * 48, "event": "\ud800"}]}
    ).encode(),
    "endless log": json.dumps({**BODY, "event_log": [{}] * 20_000}).encode(),
    "tcb_info is a list": json.dumps({**BODY, "tcb_info": []}).encode(),
    "tcb_info is junk": json.dumps({**BODY, "tcb_info": "{"}).encode(),
    "compose is a number": json.dumps({**BODY, "tcb_info": {"app_compose": 7}}).encode(),
    "compose is half a character": json.dumps({**BODY, "tcb_info": {"app_compose": "\ud800"}}).encode(),
    "NVIDIA junk": json.dumps({**BODY, "nvidia_payload": "["}).encode(),
    "NaN": b'{"quote": NaN}',
    "evidence is junk": b'{"evidence": "???"}',
    "evidence without a quote": b'{"evidence": "e30="}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_evidence_is_an_outcome_and_no_traceback(name: str, tally: Any) -> None:
    try:
        evidence: Any = Evidence.parse(HOSTILE[name])
    except MalformedEvidence as error:
        evidence = error
    record = service(Kind.TEE_ML, tee_signer=KEY.address)
    found = examine(
        record, {"broker": evidence}, level=4, now=datetime.fromtimestamp(NOW, UTC), options=OPTIONS,
        collateral={"broker": COLLATERAL},
    )  # fmt: skip
    assert not found.satisfies(3), name
    assert json.dumps(found.to_dict())
    assert found._repr_html_()
    tally("hostile evidence", tried=1, caught=1)


def test_hostile_text_is_escaped_where_a_notebook_shows_it() -> None:
    report = examined(3)
    result = replace(report.results[0], explanation="<script>alert(1)</script>", subject="<b>")
    shown = replace(report, results=(result,), provider="<i>")._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "<i>" not in shown
