"""One flipped bit anywhere in the evidence: never verified, unless it changes nothing that was signed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.adversarial.flips import Evidence, expected, flips
from tests.effort import EXHAUSTIVE, SEED
from zg_core.crypto import CURVE_ORDER
from zg_core.errors import ChainError
from zg_core.types import Kind
from zg_core.verify import Status

SIGNING = [Kind.TEE_ML, Kind.TEE_ML_SEPARATED, Kind.TEE_TLS]
ARTIFACTS = ["request", "response", "document", "record"]


def status_of(evidence: Evidence) -> Status:
    try:
        return evidence.verdict().status
    except ChainError:
        return Status.UNAVAILABLE  # the call ends with that error before a prompt is sent


@pytest.mark.parametrize("rewritten", [False, True], ids=["exact", "rewritten"])
@pytest.mark.parametrize("kind", SIGNING)
@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_a_flipped_bit(tally: Any, artifact: str, kind: Kind, rewritten: bool) -> None:
    honest = Evidence.honest(kind, rewritten=rewritten)
    before = honest.verdict()
    assert before.status is Status.VERIFIED, before
    caught, harmless, wrong = 0, 0, []
    for where, flipped in flips(getattr(honest, artifact), f"{kind} {artifact} {rewritten}"):
        found = status_of(replace(honest, **{artifact: flipped}))
        wanted = expected(honest, artifact, flipped)
        if wanted is None:
            harmless += 1
            if found is not before.status:
                wrong.append(f"{where}: {found}, though nothing that was signed changed")
        else:
            caught += found in wanted
            if found not in wanted:
                wrong.append(f"{where}: {found}, expected {' or '.join(wanted)}: {flipped[:400]!r}")
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong[:10])
    tally(f"bit flipped in the {artifact}", tried=caught + harmless, caught=caught, harmless=harmless)


def signatures(signature: str) -> dict[str, str]:
    """Other forms of a genuine signature, each of which some verifier takes."""
    r, s, v = signature[2:66], int(signature[66:130], 16), int(signature[130:], 16)
    high = f"{CURVE_ORDER - s:064x}"
    return {
        "high s": f"0x{r}{high}{55 - v:02x}",
        "high s, same v": f"0x{r}{high}{v:02x}",
        "v 0 or 1": f"0x{signature[2:130]}{v - 27:02x}",
        "v with a chain id": f"0x{signature[2:130]}{v + 8:02x}",
        "other v": f"0x{signature[2:130]}{55 - v:02x}",
        "trailing byte": signature + "00",
        "trailing text": signature + "zz",
        "missing byte": signature[:-2],
        "no 0x, another byte": signature[2:-4] + ("00" if signature[-4:-2] != "00" else "01") + signature[-2:],
        "zero r": f"0x{'0' * 64}{signature[66:]}",
        "zero s": f"0x{r}{'0' * 64}{signature[130:]}",
        "r beyond the order": f"0x{CURVE_ORDER + 1:064x}{signature[66:]}",
        "empty": "",
        "spaces": f" {signature} ",
    }


@pytest.mark.parametrize("kind", SIGNING)
def test_another_form_of_a_genuine_signature(tally: Any, kind: Kind) -> None:
    honest = Evidence.honest(kind, rewritten=False)
    document = json.loads(honest.document)
    outcomes = {}
    for name, forged in signatures(document["signature"]).items():
        changed = replace(honest, document=json.dumps({**document, "signature": forged}).encode())
        outcomes[name] = status_of(changed)
    assert set(outcomes.values()) == {Status.FAILED}, outcomes
    tally("signature in another form", tried=len(outcomes), caught=len(outcomes))


def test_every_exchange_of_evidence_between_two_honest_replies(tally: Any) -> None:
    """All that one provider signed, put together anew: only what belongs together is verified."""
    parts = {kind: Evidence.honest(kind, rewritten=False) for kind in SIGNING}
    outcomes: Counter[bool] = Counter()
    for document_of in SIGNING:
        for record_of in SIGNING:
            mixed = replace(parts[record_of], document=parts[document_of].document)
            verified = status_of(mixed) is Status.VERIFIED
            assert verified is (document_of is record_of), (document_of, record_of)
            outcomes[verified] += 1
    tally("evidence of another kind of service", tried=outcomes[False], caught=outcomes[False])


def test_the_suite_is_as_large_as_it_says() -> None:
    evidence = [Evidence.honest(kind, rewritten=rewritten) for kind in SIGNING for rewritten in (False, True)]
    cases = sum(len(getattr(one, artifact)) for one in evidence for artifact in ARTIFACTS)
    assert cases * (8 if EXHAUSTIVE else 1) >= 5000
