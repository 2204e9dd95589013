"""Proof: verdicts on replies, and the policies that act on them.

Without I/O; what evidence is fetched, and from whom, is a backend's. Schemes and attestation have folders of their own.
"""

from __future__ import annotations

from zg_core.verify.conditions import (
    AllOf,
    AnyOf,
    Attested,
    Claimed,
    Condition,
    Identity,
    Kinds,
    ResponseBound,
    SignerOnly,
    Verified,
)
from zg_core.verify.policy import Policy, suffices
from zg_core.verify.reach import Objection, Reach
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

__all__ = [
    "AllOf",
    "AnyOf",
    "Attested",
    "Binding",
    "Claimed",
    "Condition",
    "Identity",
    "Kinds",
    "Objection",
    "Policy",
    "Reach",
    "Reason",
    "ResponseBound",
    "SignerOnly",
    "Status",
    "Verdict",
    "Verified",
    "suffices",
]
