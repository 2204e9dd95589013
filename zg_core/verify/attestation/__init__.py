"""Attestation: whether the key that signs replies lives in the enclave it should live in (0g-direct §6).

`examine` decides from bytes that are given, without I/O; `attest` fetches them first.
"""

from __future__ import annotations

from zg_core.verify.attestation.attest import attest
from zg_core.verify.attestation.collateral import Collateral
from zg_core.verify.attestation.evidence import Evidence
from zg_core.verify.attestation.examine import examine
from zg_core.verify.attestation.options import AttestationOptions
from zg_core.verify.attestation.quote import MalformedEvidence, TdxQuote
from zg_core.verify.attestation.report import AttestationReport, Level, LevelResult, Outcome

__all__ = [
    "AttestationOptions",
    "AttestationReport",
    "Collateral",
    "Evidence",
    "Level",
    "LevelResult",
    "MalformedEvidence",
    "Outcome",
    "TdxQuote",
    "attest",
    "examine",
]
