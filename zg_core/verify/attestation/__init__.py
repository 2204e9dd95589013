"""Attestation: whether the key that signs replies lives in the enclave it should live in (0g-direct §6).

`examine` decides from bytes that are given, without I/O; `attest` fetches them first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core import _lazy

if TYPE_CHECKING:
    from zg_core.verify.attestation.attesting import attest
    from zg_core.verify.attestation.collateral import Collateral
    from zg_core.verify.attestation.evidence import Evidence
    from zg_core.verify.attestation.examining import examine
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

_HOMES = {
    "AttestationOptions": "options",
    "AttestationReport": "report",
    "Collateral": "collateral",
    "Evidence": "evidence",
    "Level": "report",
    "LevelResult": "report",
    "MalformedEvidence": "quote",
    "Outcome": "report",
    "TdxQuote": "quote",
    "attest": "attesting",
    "examine": "examining",
}
__getattr__, __dir__ = _lazy.lazily(__name__, _HOMES)
