"""Settings that are objects of ours: where a text or number is given instead, the error shows the line to write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["check_objects"]

_NUMBER = re.compile(r"\d{1,20}(\.\d{1,18})?")
_WHOLE = re.compile(r"\d{1,9}")
_SORTS = ("price", "latency", "throughput")
_CLASSES = {
    "attestation": "AttestationOptions",
    "budget": "Budget",
    "limits": "Limits",
    "receipts": "Retention",
    "routing": "Routing",
    "wallet": "Wallet",
}
"""By setting, the class of its objects."""


def check_objects(given: Mapping[str, Any], *, allowed: Container[object] = ()) -> None:
    """Refuse a setting that is none of the objects it takes.

    Classes are told by their names, so that nothing is imported for it.

    Args:
        given: Settings by name; others than these are not looked at.
        allowed: Other values that are taken.

    Raises:
        ConfigError: one is none (code ``bad_budget`` and so on); the hint is the line to write. The value of a wallet
            is never repeated: it may be a key.

    Example:
        >>> check_objects({"budget": "0.5"})
        Traceback (most recent call last):
        zg_core.errors.ConfigError: budget is a str, not a Budget (hint: budget=Budget(per_day=og("0.5")))
    """
    for name, kind in _CLASSES.items():
        value = given.get(name)
        if value is None or any(base.__name__ == kind for base in type(value).__mro__):
            continue
        if isinstance(value, str | dict) and (value in allowed if isinstance(value, str) else dict in allowed):
            continue
        raise ConfigError(
            f"{name} is a {type(value).__name__}, not a {kind}", code=f"bad_{name}", hint=_line(name, value)
        )


def _line(name: str, value: object) -> str:
    """The line of code that says what `value` was meant to say."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if name == "budget":
        units, _, _ = str(value).partition(" ") if type(value).__name__ == "Amount" else (text, "", "")
        return f'budget=Budget(per_day=og("{units if _NUMBER.fullmatch(units) else "0.1"}"))'
    if name == "routing":
        return f'routing=Routing(sort="{text if text in _SORTS else "price"}")'
    if name == "limits":
        return f"limits=Limits(per_minute={text if _WHOLE.fullmatch(text) else 30}); limits=None lifts them"
    if name == "receipts":
        days = text if _WHOLE.fullmatch(text) else "90"
        return f"receipts=Retention(max_age=timedelta(days={days}))"
    if name == "wallet":
        return 'private_key="0x…", or wallet=Wallet.from_key("0x…")'
    return 'attestation=AttestationOptions(statuses=("UpToDate",))'
