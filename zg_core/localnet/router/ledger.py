"""The Router's book: keys, balances and what every request cost (0g-router §2, §9)."""

from __future__ import annotations

import datetime as dt
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_OG: Final = 10**18
MINIMUM: Final = _OG // 100
"""What must be there before a request is let in: 0.01 0G."""
SCOPES: Final = ("account:read", "keys:read", "keys:create", "keys:manage")


@dataclass
class KeyRecord:
    """One key, of either kind."""

    key: str
    name: str
    key_id: str
    created: float
    limit: int | None = None
    allowed_models: tuple[str, ...] = ()
    allowed_providers: tuple[str, ...] = ()
    trust_mode: str = ""
    reset_period: str = "never"
    expiration: str = "no_expiration"
    scopes: tuple[str, ...] = ()
    used: int = 0
    revoked: bool = False

    @property
    def manages(self) -> bool:
        """Whether it is a management key."""
        return self.key.startswith("mk-")

    def to_json(self, *, once: bool = False) -> dict[str, Any]:
        """As the API shows it; the key itself only `once`."""
        shown = {
            "key_id": self.key_id,
            "key_preview": f"{self.key[:6]}…{self.key[-4:]}",
            "name": self.name,
            "credit_limit": None if self.limit is None else _decimal(self.limit),
            "reset_period": self.reset_period,
            "expiration": self.expiration,
            "allowed_models": list(self.allowed_models),
            "allowed_providers": list(self.allowed_providers),
            "trust_mode": self.trust_mode,
            "used": _decimal(self.used),
            "currency": "0g",
            "status": "revoked" if self.revoked else "active",
            "revoked": self.revoked,
            "created_at": _time(self.created),
        }
        return {**shown, "key": self.key} if once else shown


@dataclass
class Ledger:
    """One account: what it holds, its keys, and its history. Safe from any thread."""

    address: str
    now: Callable[[], float]
    deposit: int = 10 * _OG
    credit: int = 0
    vault: int = 0
    currency: str = "0g"
    usd_per_og: float = 0.25
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def make(self, kind: str, name: str, **settings: Any) -> KeyRecord:
        """A new key: ``"sk"`` or ``"mk"``."""
        with self._lock:
            key = f"{kind}-{secrets.token_hex(24)}"
            record = KeyRecord(key, name, secrets.token_hex(8), self.now(), **settings)
            self.keys[key] = record
            return record

    def find(self, key: str) -> KeyRecord | None:
        """The record of a key."""
        return self.keys.get(key)

    @property
    def total(self) -> int:
        """What can be spent now, without the vault."""
        return self.deposit + self.credit

    @property
    def spendable(self) -> bool:
        """Whether a request is let in."""
        return self.total >= MINIMUM or self.vault // 2 >= MINIMUM

    def charge(self, key: KeyRecord, cost: int, entry: dict[str, Any]) -> None:
        """Take what a request cost, credit first, and write it down."""
        with self._lock:
            from_credit = min(self.credit, cost)
            self.credit -= from_credit
            self.deposit -= cost - from_credit
            key.used += cost
            shown = {"deposit_used": str(cost - from_credit), "credit_used": str(from_credit)}
            number = len(self.history) + 1
            made = {"id": number, "cost": str(cost), **shown, "api_key_id": key.key_id, "created_at": _time(self.now())}
            self.history.append({**entry, **made})

    def balance(self) -> dict[str, Any]:
        """``GET /account/balance``."""
        shown = {"deposit_balance": self.deposit, "credit_balance": self.credit, "total_balance": self.total}
        return {
            "address": self.address,
            **{name: str(max(0, units)) for name, units in shown.items()},
            "balance": str(self.total),
        }

    def funds(self) -> dict[str, Any]:
        """``GET /account/funds``."""
        router = {
            "deposit": str(self.deposit),
            "credit": str(self.credit),
            "pending_charge": "0",
            "subtotal": str(self.total),
        }
        layer = {"balance": str(self.vault), "shared_across_products": True, "queried_at": _time(self.now())}
        total = str(self.total + self.vault)
        return {
            "address": self.address,
            "total": total,
            "router": router,
            "payment_layer": layer,
            "currency": self.currency,
        }

    def page(self, *, limit: int, offset: int, model: str = "", request_id: str = "") -> dict[str, Any]:
        """``GET /account/usage/history``, newest first."""
        with self._lock:
            found = [
                entry
                for entry in reversed(self.history)
                if not model or model in (entry["canonical_id"], entry["model_id"])
            ]
        found = [entry for entry in found if not request_id or entry["request_id"] == request_id]
        shown = found[offset : offset + limit]
        page: dict[str, Any] = {"object": "list", "data": shown, "total": len(found), "currency": self.currency}
        if offset + limit < len(found):
            page["next_cursor"] = str(offset + limit)
        return page

    def stats(self) -> dict[str, Any]:
        """``GET /account/usage/stats``."""
        with self._lock:
            names = ("input_tokens", "output_tokens")
            sums = {f"total_{name}": sum(entry[name] for entry in self.history) for name in names}
            cost = sum(int(entry["cost"]) for entry in self.history)
            return {"total_requests": len(self.history), **sums, "total_cost": str(cost), "currency": self.currency}


def _decimal(units: int) -> str:
    whole, rest = divmod(units, _OG)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")


def _time(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
