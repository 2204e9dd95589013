"""What the Router says of an account, as values: every amount an integer of its currency (0g-router §9.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.audits.bills import Bill, Entry
from zg_core.backends.router.trace import amount_of
from zg_core.config import Secret
from zg_core.errors import RequestError
from zg_core.money import Amount
from zg_core.receipts.audited import Audited

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.receipts.model import Receipt

__all__ = ["ApiKeyRecord", "Balance", "Funds", "Page", "UsageEntry", "bills_of", "number_of", "strangers_in"]


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"the Router said no {what}", code="malformed_reply", hint="check base_url=")
    return value


def _amount(value: Any, currency: Any, what: str) -> Amount:
    found = amount_of(value, currency)
    if found is None:
        raise RequestError(f"the Router said no {what}", code="malformed_reply", hint="check base_url=")
    return found


@dataclass(frozen=True, slots=True)
class Balance:
    """What the Router's ledger holds.

    Attributes:
        address: The account.
        total: All that can be spent now.
        deposit: Of it, what was deposited.
        credit: Of it, what was given.
    """

    address: str
    total: Amount
    deposit: Amount
    credit: Amount

    @classmethod
    def parse(cls, value: Any) -> Balance:
        """Read ``/account/balance``.

        Raises:
            RequestError: it is none.
        """
        said = _object(value, "balance")
        currency = said.get("currency")
        total, deposit, credit = (
            _amount(said.get(name), currency, name) for name in ("total_balance", "deposit_balance", "credit_balance")
        )
        return cls(str(said.get("address") or ""), total, deposit, credit)


@dataclass(frozen=True, slots=True)
class Funds:
    """All that an account holds, as the Router sees it.

    Attributes:
        router: In the Router's ledger.
        pending: Charged, and not taken from it yet.
        vault: In the vault that other products of 0G share.
    """

    router: Amount
    pending: Amount
    vault: Amount

    @classmethod
    def parse(cls, value: Any) -> Funds:
        """Read ``/account/funds``.

        Raises:
            RequestError: it is none.
        """
        said = _object(value, "funds")
        currency, router = said.get("currency"), _object(said.get("router"), "ledger")
        layer = _object(said.get("payment_layer"), "vault")
        return cls(
            _amount(router.get("subtotal"), currency, "subtotal"),
            _amount(router.get("pending_charge"), currency, "pending charge"),
            _amount(layer.get("balance"), currency, "vault"),
        )

    @property
    def available(self) -> Amount:
        """An estimate of what requests can spend: half of the vault counts (0g-router §9.1)."""
        half = Amount(max(0, self.vault.units // 2 - self.pending.units), self.router.currency)
        return self.router + half


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """What one request cost, by the Router's book.

    Attributes:
        request_id: Its number.
        provider: Who served it.
        model: Canonical id.
        cost: What was charged.
        input_tokens: Of the prompt.
        output_tokens: Of the answer.
        trust_mode: Tier of the provider.
        created_at: When, as it was written.
    """

    request_id: str
    provider: str
    model: str
    cost: Amount
    input_tokens: int
    output_tokens: int
    trust_mode: str
    created_at: str

    @property
    def at(self) -> datetime | None:
        """When, as a time; None where what was written is none."""
        try:
            said = datetime.fromisoformat(self.created_at)
        except ValueError:
            return None
        return said if said.tzinfo is not None else said.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the book."""

    entries: list[UsageEntry]
    next_cursor: str | None

    @classmethod
    def parse(cls, value: Any) -> Page:
        """Read ``/account/usage/history``; entries without number or cost are left out.

        Raises:
            RequestError: it is none.
        """
        said = _object(value, "usage")
        rows = said.get("data")
        entries = []
        for row in rows if isinstance(rows, list) else ():
            cost = amount_of(row.get("cost"), said.get("currency")) if isinstance(row, dict) else None
            if cost is None or not isinstance(row.get("request_id"), str):
                continue
            counts = [row.get(name) for name in ("input_tokens", "output_tokens")]
            inward, outward = (each if isinstance(each, int) else 0 for each in counts)
            texts = (
                str(row.get(name) or "") for name in ("provider_address", "canonical_id", "trust_mode", "created_at")
            )
            provider, model, tier, created = texts
            entries.append(UsageEntry(row["request_id"], provider, model, cost, inward, outward, tier, created))
        cursor = said.get("next_cursor")
        return cls(entries, cursor if isinstance(cursor, str) and cursor else None)


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An inference key, as far as the Router shows it.

    Attributes:
        key_id: Its id.
        name: Its name.
        preview: Beginning and end of it.
        status: ``"active"``, ``"revoked"``, ``"expired"``.
        trust_mode: The least tier that it is pinned to, "" if it is not.
        allowed_models: The only models that it may ask for; all if empty.
        credit_limit: The most that it may spend, in whole 0G or USD as it was written; "" without a limit.
        key: The key itself, only where it was made just now.
    """

    key_id: str
    name: str
    preview: str
    status: str
    trust_mode: str = ""
    allowed_models: tuple[str, ...] = ()
    credit_limit: str = ""
    key: Secret | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, value: Any) -> ApiKeyRecord:
        """Read one.

        Raises:
            RequestError: it is none.
        """
        said = _object(value, "key")
        texts = (str(said.get(name) or "") for name in ("key_id", "name", "key_preview", "status", "trust_mode"))
        key_id, name, preview, status, tier = texts
        models, key = said.get("allowed_models"), said.get("key")
        allowed = tuple(str(each) for each in models) if isinstance(models, list) else ()
        limit = said.get("credit_limit")
        secret = Secret(key) if isinstance(key, str) and key else None
        return cls(key_id, name, preview, status, tier, allowed, "" if limit is None else str(limit)[:64], secret)


def bills_of(receipts: Iterable[Receipt], book: Iterable[UsageEntry]) -> list[Bill]:
    """Receipts, each beside the entry of the book for its request."""
    entries = {entry.request_id: entry for entry in book}
    return [_bill(receipt, entries.get(number_of(receipt))) for receipt in receipts]


def strangers_in(receipts: Iterable[Receipt], book: Iterable[UsageEntry]) -> list[Entry]:
    """What the book charged after the second of the first receipt, and is for none of them."""
    own = list(receipts)
    known = {number_of(each) for each in own}
    first = min((each.started_at for each in own), default=datetime.max.replace(tzinfo=UTC)).replace(microsecond=0)
    return [
        Entry(entry.request_id, entry.cost)
        for entry in book
        if entry.request_id not in known and (at := entry.at) is not None and at > first
    ]


def number_of(receipt: Receipt) -> str:
    """The number of a receipt's request, by which the book knows it; "" if there is none."""
    trace = receipt.evidence.facts.get("trace")
    number = trace.get("request_id") if isinstance(trace, dict) else None
    return number if isinstance(number, str) else ""


def _bill(receipt: Receipt, entry: UsageEntry | None) -> Bill:
    number, call, said = number_of(receipt), (Audited.of(receipt),), (receipt.fee.amount,)
    if not number:
        return Bill("", call, said, "unknown")
    if entry is None:
        return Bill(number, call, said, "none")
    return Bill(number, call, said, "charged", entry.cost, entry.at, payee=entry.provider)
