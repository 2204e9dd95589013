"""What is played on every side; each scenario starts from the deployed contracts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..stage import Stage
from . import initialisation, ledger, raw, reads, refunds, registry, serving, services, settlement, tokens, wallets

MODULES = (initialisation, ledger, raw, reads, refunds, registry, serving, services, settlement, tokens, wallets)

SCENARIOS: Mapping[str, Callable[[Stage], None]] = {
    scenario.__name__.replace("_", " "): scenario for module in MODULES for scenario in module.SCENARIOS
}
