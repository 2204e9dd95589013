"""Attestation's part of `make bench`: a recorded report of real hardware, judged offline at every level."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.adversarial.exhibits import RECORDED_IMAGE
from tests.bench.measures import cpu_ms
from tests.bench.targets import Row
from tests.conftest import attestation_directory, has_attestation
from tests.zg_core.verify.scene import service
from zg_core.types import Kind
from zg_core.verify.attestation import AttestationOptions, Collateral, Evidence, Level, examine

_WHEN = datetime(2026, 3, 1, tzinfo=UTC)  # when the collateral held
_SIGNER = "0x8a4D4984CF370210dFEeFC773FAf9bb0edE97cC0"


def rows(rounds: int) -> Iterator[Row]:
    """Measure, where the recorded reports are (`ZEROG_ATTESTATION_DATA`)."""
    if not has_attestation():
        print("no recorded attestation here: left out", file=sys.stderr)
        return
    folder = attestation_directory()
    body = (folder / "llm_attestation_report.json").read_bytes()
    collateral = Collateral.read(folder / "tdx_collateral_90C06F000000_2026-03.json")
    options = AttestationOptions(os_images=[RECORDED_IMAGE])
    record = service(Kind.TEE_ML, tee_signer=_SIGNER)

    def judged() -> None:
        found = examine(
            record,
            {"broker": Evidence.parse(body)},
            level=Level.GPU,
            now=_WHEN,
            options=options,
            collateral={"broker": collateral},
        )
        # out of date when it was recorded, and genuine: all that is checked was looked at
        assert [str(found.outcome(level)) for level in Level][:4] == ["pass", "pass", "fail", "pass"], found.explain()

    yield Row("attestation of a real quote, all levels, offline", cpu_ms({"judged": judged}, rounds, 5)["judged"])
