"""Our classes as types of pydantic fields: imported when a value comes, so that importing a model stays cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.frameworks.fields import Later

if TYPE_CHECKING:
    from zg_core.budget import Budget
    from zg_core.calls.limits import Limits
    from zg_core.http.timeouts import Timeouts
    from zg_core.receipts.model import Receipt
    from zg_core.routing.routing import Routing
    from zg_core.verify.attestation.options import AttestationOptions
    from zg_core.verify.conditions import Condition
    from zg_core.verify.policy import Policy
    from zg_core.wallet import Wallet
else:
    AttestationOptions = Later.of("zg_core.verify.attestation.options", "AttestationOptions")
    Budget = Later.of("zg_core.budget", "Budget")
    Condition = Later.of("zg_core.verify.conditions", "Condition")
    Limits = Later.of("zg_core.calls.limits", "Limits", from_dict=True)
    Policy = Later.of("zg_core.verify.policy", "Policy")
    Receipt = Any  # only as what a listener is given
    Routing = Later.of("zg_core.routing.routing", "Routing")
    Timeouts = Later.of("zg_core.http.timeouts", "Timeouts", from_dict=True)
    Wallet = Later.of("zg_core.wallet", "Wallet")

__all__ = ["AttestationOptions", "Budget", "Condition", "Limits", "Policy", "Receipt", "Routing", "Timeouts", "Wallet"]
