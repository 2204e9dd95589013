"""Real reports, recorded: the answers known of them come out offline, and one changed byte is noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.exhibits import RECORDED_IMAGE
from tests.zg_core.verify.scene import service
from zg_core.types import Kind, ServiceRecord
from zg_core.verify.attestation import AttestationOptions, Collateral, Evidence, Level, Outcome, TdxQuote, examine
from zg_core.verify.attestation.quote import read_report_data

pytestmark = pytest.mark.requires("attestation")

IN_WINDOW = datetime(2026, 3, 1, tzinfo=UTC)
BROKER, MODEL, ALICLOUD = "broker_attestation_report", "llm_attestation_report", "attestation_report"
SIGNERS = {
    BROKER: "0xDC1A4da6BdCD90c20d7FF53a6cDc11fBf0E2303C",
    MODEL: "0x8a4D4984CF370210dFEeFC773FAf9bb0edE97cC0",
    ALICLOUD: "0x894df56e2817f38b9c1a2656a30ca91755b0885f",
}
BELIEVED = AttestationOptions(os_images=[RECORDED_IMAGE])
ADVISORIES = ["INTEL-SA-01036", "INTEL-SA-01079", "INTEL-SA-01099", "INTEL-SA-01103", "INTEL-SA-01111"]


@pytest.fixture(scope="module")
def collateral(attestation_data: Path) -> Collateral:
    return Collateral.read(attestation_data / "tdx_collateral_90C06F000000_2026-03.json")


@pytest.fixture
def report(attestation_data: Path) -> Any:
    return lambda name: (attestation_data / f"{name}.json").read_bytes()


def record(name: str, kind: Kind = Kind.TEE_ML) -> ServiceRecord:
    return service(kind, tee_signer=SIGNERS[name])


def examined(name: str, evidence: Evidence, collateral: Collateral, **changes: Any) -> Any:
    options = AttestationOptions(**{"os_images": [RECORDED_IMAGE], **changes.pop("options", {})})
    settings = {"level": 4, "now": IN_WINDOW, "options": options, "collateral": {"broker": collateral}, **changes}
    return examine(record(name), {"broker": evidence}, **settings)


def outcomes(found: Any) -> list[str]:
    return [str(found.outcome(level)) for level in Level]


def test_a_brokers_report_verifies_end_to_end(report, collateral):
    found = examined(BROKER, Evidence.parse(report(BROKER)), collateral)
    assert outcomes(found) == ["pass", "pass", "pass", "pass", "unavailable"], found.explain()
    assert (found.find("tcb_status"), found.find("advisories"), found.find("layout")) == ("UpToDate", [], "legacy")
    assert found.find("compose_hash") == "37bf800efc7228d56aaa270d051bb6bf8206ba28f92d5a1940c30d1255c2cd23"
    images = found.find("images")
    assert {"image": "mysql:8.0", "pinned": False} in images
    assert "6 of 6 images are not pinned" in next(r.explanation for r in found.results if r.level == 3)
    assert found.expires_at == collateral.expires_at == datetime(2026, 3, 20, 10, 41, 15, tzinfo=UTC)
    assert found.satisfies(3)
    assert not found.satisfies(4)
    assert found.reached == 3


def test_a_model_enclaves_report_is_genuine_and_out_of_date(report, collateral):
    evidence = Evidence.parse(report(MODEL))
    found = examined(MODEL, evidence, collateral)
    assert outcomes(found) == ["pass", "pass", "fail", "pass", "unavailable"], found.explain()
    assert (found.find("tcb_status"), found.find("advisories")) == ("OutOfDate", ADVISORIES)
    assert found.find("layout") == "model"
    assert found.find("nonce") == evidence.nonce == "034b9c390f073a9c8f8a1b50e537342fff3952bf2f32f145174e8d87588ed2da"
    assert found.find("compose_hash") == "fbc90a5ceb36b04357965f4e38c9d7103786808caeb9a26e50b04664ec44a391"
    allowed = examined(MODEL, evidence, collateral, options={"statuses": ("UpToDate", "OutOfDate")})
    assert allowed.satisfies(3)


def test_an_alicloud_report_parses_and_binds(report, collateral):
    evidence = Evidence.parse(report(ALICLOUD))
    found = examined(ALICLOUD, evidence, collateral)
    assert outcomes(found)[:2] == ["pass", "pass"]
    assert outcomes(found)[2] == "unavailable", "collateral of another platform shows nothing about the quote"
    assert "Fmspc mismatch" in found.explain(2)
    assert read_report_data(evidence.quote.report_data).nonce == ""


def test_of_a_separate_model_enclave_both_reports_count(report, collateral):
    both = service(
        Kind.TEE_ML_SEPARATED,
        tee_signer=SIGNERS[BROKER],
        additional_info=json.dumps({"TargetSeparated": True, "TargetTeeAddress": SIGNERS[MODEL]}),
    )
    evidence = {"broker": Evidence.parse(report(BROKER)), "model": Evidence.parse(report(MODEL))}
    settings = {"level": 3, "now": IN_WINDOW, "collateral": dict.fromkeys(evidence, collateral)}
    found = examine(both, evidence, options=BELIEVED, **settings)
    assert outcomes(found)[:4] == ["pass", "pass", "fail", "pass"]
    assert "level 2 (model)" in found.explain()
    swapped = dict(zip(evidence, reversed(evidence.values()), strict=True))
    found = examine(both, swapped, options=BELIEVED, **settings)
    assert found.outcome(1) is Outcome.FAIL, "each report has to name its own key"


def test_for_teetls_it_says_that_the_vendor_is_outside(report, collateral):
    found = examine(
        record(BROKER, Kind.TEE_TLS),
        {"broker": Evidence.parse(report(BROKER))},
        level=4,
        now=IN_WINDOW,
        options=BELIEVED,
        collateral={"broker": collateral},
    )
    assert outcomes(found) == ["pass", "pass", "pass", "pass", "not_applicable"]
    assert not found.satisfies(4)
    assert "vendor" in found.explain()
    assert "outside the enclave" in found.explain()


@pytest.mark.parametrize("when", [datetime(2026, 5, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)])
def test_after_the_collaterals_end_level_2_is_unavailable_and_accuses_nobody(report, collateral, when):
    found = examined(BROKER, Evidence.parse(report(BROKER)), collateral, now=when)
    assert outcomes(found)[:4] == ["pass", "pass", "unavailable", "pass"], found.explain()


@pytest.mark.parametrize("name", [BROKER, MODEL])
def test_a_changed_byte_of_the_quote_fails(report, collateral, name):
    evidence = Evidence.parse(report(name))
    raw = bytearray(evidence.quote.raw)
    raw[600] ^= 1
    changed = replace(evidence, quote=TdxQuote.parse(bytes(raw)))
    found = examined(name, changed, collateral)
    assert found.outcome(2) is Outcome.FAIL
    assert "signature is invalid" in next(r.explanation for r in found.results if r.level == 2)


def test_without_collateral_level_2_is_unavailable(report):
    found = examine(
        record(BROKER), {"broker": Evidence.parse(report(BROKER))}, level=3, now=IN_WINDOW, options=BELIEVED
    )
    assert outcomes(found)[:4] == ["pass", "pass", "unavailable", "pass"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"compose_hashes": frozenset({"00" * 32})}, "compose hash"),
        ({"os_images": frozenset({("00" * 48,) * 3})}, "OS image"),
        ({"require_pinned": True}, "not pinned"),
    ],
)
def test_allow_lists_decide_level_3(report, collateral, options, word):
    evidence = Evidence.parse(report(BROKER))
    found = examined(BROKER, evidence, collateral, options=options)
    assert found.outcome(3) is Outcome.FAIL
    assert word in found.explain()


def test_without_a_list_of_os_images_level_3_shows_nothing_and_accuses_nobody(report, collateral):
    found = examined(BROKER, Evidence.parse(report(BROKER)), collateral, options={"os_images": None})
    assert outcomes(found)[:4] == ["pass", "pass", "pass", "unavailable"]
    assert "os_images" in found.explain()
    assert ":".join(found.find("os_image")) == RECORDED_IMAGE


def test_what_a_script_does_beside_the_compose_file_is_not_pinned(report, collateral):
    found = examined(MODEL, Evidence.parse(report(MODEL)), collateral)
    assert "a script runs beside the compose file (pre_launch_script)" in found.find("loose")
    assert {"image": "vllm/vllm-openai:v0.10.2", "pinned": False} in found.find("images"), "a merge key is read"


def test_what_is_on_the_lists_passes(report, collateral):
    evidence = Evidence.parse(report(BROKER))
    seen = examined(BROKER, evidence, collateral)
    listed = {
        "compose_hashes": frozenset({"0x" + seen.find("compose_hash").upper()}),
        "os_images": frozenset({tuple(seen.find("os_image"))}),
    }
    assert examined(BROKER, evidence, collateral, options=listed).satisfies(3)


def test_another_root_is_not_believed(report, collateral):
    other = pytest.importorskip("zg_core.localnet.hardware.platform").Maker(IN_WINDOW.timestamp()).root
    found = examined(BROKER, Evidence.parse(report(BROKER)), collateral, options={"root": other})
    assert found.outcome(2) is Outcome.FAIL
