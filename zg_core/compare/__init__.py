"""Comparing providers and models: the same prompts to all, one row per call, with its verdict, its times and its fee.

`compare` and `estimate` block, in a notebook too; `acompare` and `aestimate` are their async twins.
"""

from __future__ import annotations

from zg_core.compare.choosing import Recommendation
from zg_core.compare.inputs import Prompt, Target, read_prompts
from zg_core.compare.plan import Plan
from zg_core.compare.result import Comparison
from zg_core.compare.rows import Row
from zg_core.compare.runner import BudgetWarning, acompare, aestimate, compare, estimate
from zg_core.compare.summary import Summary, TargetSummary
from zg_core.compare.together import together

__all__ = [
    "BudgetWarning",
    "Comparison",
    "Plan",
    "Prompt",
    "Recommendation",
    "Row",
    "Summary",
    "Target",
    "TargetSummary",
    "acompare",
    "aestimate",
    "compare",
    "estimate",
    "read_prompts",
    "together",
]
