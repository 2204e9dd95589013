"""Proof: verdicts on replies, and the policies that act on them."""

from __future__ import annotations

from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

__all__ = ["Binding", "Policy", "Reason", "Status", "Verdict"]
