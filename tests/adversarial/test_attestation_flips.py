"""One flipped bit anywhere in an attestation: it no longer holds, unless the bit says nothing that is attested."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adversarial.exhibits import LEVELS, MADE_UP, RECORDED, Exhibit, made_up, recorded, shown
from tests.adversarial.flips import flips
from tests.conftest import attestation_directory
from tests.effort import EXHAUSTIVE, SEED, tries
from tests.zg_core.verify.scene import service
from zg_core.errors import ConfigError
from zg_core.localnet.base.keys import Key
from zg_core.localnet.hardware.attestation import AttestationFault, Enclave, os_image
from zg_core.localnet.hardware.platform import Maker
from zg_core.types import Kind
from zg_core.verify.attestation import AttestationOptions, Collateral, Evidence, MalformedEvidence, Outcome, examine

pytest.importorskip("dcap_qvl")

NOW = time.time()
MAKER, KEY = Maker(NOW), Key("0x" + "11" * 32)
ENCLAVE = Enclave(lambda: MAKER)
BODY = json.loads(ENCLAVE.quote_body(KEY, legacy=True))
COLLATERAL = Collateral.parse(ENCLAVE.platform.collateral)
OPTIONS = AttestationOptions(root=MAKER.root, os_images=[os_image()])
EVERY = tries(1, 6)  # reports are long, and their parts much the same


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


def exhibit(name: str) -> Exhibit:
    return made_up(name) if name in MADE_UP else recorded(attestation_directory(), name)


def outcomes(report: Any) -> dict[int, Outcome]:
    return {level: report.outcome(level) for level in LEVELS}


def wrong_about(honest: Exhibit, body: bytes, found: dict[int, Outcome]) -> str:
    """What is wrong with what came of `body`, "" if nothing is."""
    wanted = shown(honest, body)
    differs = [
        f"L{level} {found[level]}, not {'/'.join(wanted[level])}"
        for level in LEVELS
        if found[level] not in wanted[level]
    ]
    return ", ".join(differs)


REPORTS = [*MADE_UP, *(pytest.param(name, marks=pytest.mark.requires("attestation")) for name in RECORDED)]
PARTS = {"quote": "quote", "log": "event log", "compose": "compose file"}


@pytest.mark.parametrize("name", REPORTS)
def test_unchanged_every_level_is_as_it_is_known_to_be(name: str) -> None:
    honest = exhibit(name)
    known = {1: Outcome.PASS, 2: Outcome.PASS, 3: Outcome.PASS}
    if honest.log is None:
        known |= {2: Outcome.UNAVAILABLE, 3: Outcome.UNAVAILABLE}
    assert outcomes(honest.examined()) == known, honest.examined().explain()
    assert shown(honest, honest.body) == {level: {outcome} for level, outcome in known.items()}


@pytest.mark.fuzz
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", REPORTS)
def test_a_flipped_bit(name: str, part: str, tally: Any) -> None:
    honest = exhibit(name) if part == "quote" else exhibit(name).without_collateral()
    before: bytes | None = getattr(honest, part)
    if before is None:
        pytest.skip("this report has no such part")
    known = outcomes(honest.examined())
    caught, harmless, wrong = 0, 0, []
    for where, flipped in flips(before, f"{name} {part}", EVERY):
        body = honest.with_part(part, flipped).body
        found = outcomes(honest.examined(body))
        problem = wrong_about(honest, body, found)
        wrong += [f"{where}: {problem}"] if problem else []
        caught, harmless = caught + (found != known), harmless + (found == known)
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong[:10])
    assert caught
    if honest.log is not None:  # of a quote without collateral most bits are open: neither caught nor harmless
        tally(f"bit flipped in the {PARTS[part]}", tried=caught + harmless, caught=caught, harmless=harmless)


@pytest.mark.parametrize("name", REPORTS)
def test_of_the_attributes_the_debug_bit_alone_is_level_1_s(name: str) -> None:
    honest = exhibit(name).without_collateral()
    begin = (54 if honest.quote[0] == 5 else 48) + 120
    failed = []
    for bit in range(64):
        changed = bytearray(honest.quote)
        changed[begin + bit // 8] ^= 1 << bit % 8
        found = honest.with_part("quote", bytes(changed)).examined()
        failed += [bit] if found.outcome(1) is Outcome.FAIL else []
    assert failed == [0]


@pytest.mark.fuzz
def test_a_flipped_bit_of_a_report_as_it_is_served(tally: Any) -> None:
    honest, known = made_up("legacy"), outcomes(made_up("legacy").examined())
    caught, harmless, wrong = 0, 0, []
    for where, flipped in flips(honest.body, "report", EVERY):
        found = outcomes(honest.examined(flipped))
        problem = wrong_about(honest, flipped, found)
        wrong += [f"{where}: {problem}"] if problem else []
        caught, harmless = caught + (found != known), harmless + (found == known)
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong[:10])
    tally("bit flipped in a report as it is served", tried=caught + harmless, caught=caught, harmless=harmless)


@pytest.mark.fuzz
@pytest.mark.parametrize("fault", ["outdated_tcb", "revoked_pck", "expired_collateral"])
def test_a_flipped_bit_of_the_collateral_makes_no_machine_better(fault: str, tally: Any) -> None:
    """What the maker says against a machine cannot be turned by whoever carries it, or it is no collateral any more."""
    maker = Maker(NOW)
    enclave = Enclave(lambda: maker)
    enclave.fault = AttestationFault(fault)
    quote = json.loads(enclave.quote_body(KEY, legacy=True))["quote"]
    enclave.fault, text = AttestationFault(fault), enclave.platform.collateral
    made = replace(made_up("legacy"), quote=bytes.fromhex(quote), options=AttestationOptions(root=maker.root))
    tried, better = 0, []
    for where, flipped in flips(text.encode(), f"collateral {fault}", EVERY):
        tried += 1
        try:
            collateral = Collateral.parse(flipped.decode("utf-8", "surrogateescape"))
        except ConfigError:
            continue
        found = replace(made, collateral=collateral, now=datetime.fromtimestamp(NOW, UTC)).examined()
        better += [where] if found.outcome(2) is Outcome.PASS else []
    assert not better, f"seed {SEED}: {better[:10]}"
    tally("bit flipped in the collateral", tried=tried, caught=tried)


def splices(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with a stretch of it replaced, left out, doubled or moved."""
    place = st.integers(0, len(data))
    cut = st.tuples(place, place).map(sorted)
    put = st.one_of(st.binary(max_size=64), cut.map(lambda ends: data[ends[0] : ends[1]]), st.just(b"\0" * 48))
    return st.builds(lambda ends, new: data[: ends[0]] + new + data[ends[1] :], cut, put)


@settings(max_examples=5000 if EXHAUSTIVE else tries(400, 60))
@given(st.data())
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", MADE_UP)
def test_any_other_change_shows_what_is_left(name: str, part: str, data: st.DataObject) -> None:
    honest = made_up(name)
    body = honest.with_part(part, data.draw(splices(getattr(honest, part)))).body
    assert not wrong_about(honest, body, outcomes(honest.examined(body)))


@given(st.integers(0, len(made_up("legacy").body) - 1))
def test_a_report_that_is_cut_shows_nothing_and_accuses_nobody(size: int) -> None:
    assert set(outcomes(made_up("legacy").examined(made_up("legacy").body[:size])).values()) == {Outcome.UNAVAILABLE}


@given(st.binary(max_size=6000))
def test_random_bytes_are_no_quote(raw: bytes) -> None:
    honest = made_up("legacy").with_part("quote", raw)
    assert set(outcomes(honest.examined()).values()) == {Outcome.FAIL if raw else Outcome.UNAVAILABLE}


@pytest.mark.requires("attestation")
def test_parts_of_three_enclaves_put_together(tally: Any) -> None:
    """Every quote with every log, compose file and key on chain: only what belongs together holds."""
    enclaves = [exhibit(name) for name in ("legacy", *RECORDED[:2])]
    tried = 0
    for of, log, compose, key in itertools.product(enclaves, repeat=4):
        mixed = replace(of, log=log.log, compose=compose.compose, signer=key.signer)
        found = outcomes(mixed.examined())
        assert not wrong_about(replace(of, signer=key.signer), mixed.body, found)
        together = of is log is compose is key
        assert (set(found.values()) == {Outcome.PASS}) is together, (of.name, log.name, compose.name, key.name)
        tried += not together
    assert tried == 78
    tally("parts of several enclaves put together", tried=tried, caught=tried)


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
    assert not found.satisfies(4 if name == "NVIDIA junk" else 3), name
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
