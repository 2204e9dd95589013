"""The console: pages from the wheel, and what they show as JSON. All of it is the owner's, and none of it spends.

Pages hold no data and need no token; they ask for it, and send it with every request for data. No cookie is set, so no
other page can ask in the owner's name. Strangers' words in the data are made harmless for a screen here; the pages put
them into text, never into HTML.
"""

from __future__ import annotations

import asyncio
import io
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.receipts.bundles import read_bundle
from zg_core.receipts.export import to_csv
from zg_core.receipts.stored import ReceiptStore
from zg_core.serve.answers import HttpError
from zg_core.serve.ledgers import account_of, amount_json, anchors_of, checked_again, prices_of, service_json
from zg_core.serve.settings import ANY
from zg_core.serve.showing import bundled, facts_of, shown, steps_of
from zg_core.store import Store
from zg_core.tasks.base import CHAT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.receipts.model import Receipt
    from zg_core.serve.access import Caller, Keys
    from zg_core.serve.clients import Clients, Lease
    from zg_core.serve.seen import Seen
    from zg_core.serve.settings import ServeSettings

__all__ = ["PAGE_GUARDS", "Console", "page"]

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE_GUARDS: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", _POLICY),
]
"""What stands on every page: nothing from elsewhere, no inline script, no text that becomes HTML."""

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HISTORY = 500
_DAYS = 30
_MOST_SUMMED = 20_000
_FRESH = 5.0
_GLANCE = 1.0  # seconds between two looks at what others wrote
_UNDER_WAY = timedelta(minutes=15)  # a receipt is written when its call ends, so long after it began
Query = dict[str, list[str]]


@cache
def pages() -> Mapping[str, tuple[bytes, str]]:
    """The files of the console by their paths: bytes, and content type."""
    found: dict[str, tuple[bytes, str]] = {}
    for each in files("zg_core.serve").joinpath("static").iterdir():
        suffix = each.name[each.name.rfind(".") :]
        if suffix in _KINDS:
            path = "/" if each.name == "index.html" else f"/console/{each.name}"
            found[path] = each.read_bytes(), f"{_KINDS[suffix]}; charset=utf-8"
    return found


def page(path: str) -> tuple[bytes, str] | None:
    """The page at `path`, if there is one."""
    return pages().get(path)


class Console:
    """What the console shows.

    Args:
        settings: What is served.
        seen: The newest calls.
        clients: Who answers.
        keys: Of users.
    """

    def __init__(self, settings: ServeSettings, seen: Seen, clients: Clients, keys: Keys) -> None:
        self._settings = settings
        self._seen = seen
        self._clients = clients
        self._keys = keys
        store = Store.open(settings.store)
        self._stored = None if store.kind == "memory" else ReceiptStore(store)
        self._begun = False
        self._seeding = asyncio.Lock()
        self._looked = float("-inf")
        self._spent: tuple[float, list[dict[str, Any]]] = (float("-inf"), [])

    async def answer(self, method: str, path: str, query: bytes, body: bytes, caller: Caller) -> tuple[Any, str]:
        """What is shown at `path` below ``/console/api/``: JSON, or text of the content type that stands beside it.

        Raises:
            HttpError: there is nothing.
            ZeroGError: it cannot be had now.
        """
        try:
            asked = parse_qs(query.decode("latin-1")[:4000], max_num_fields=20)
        except ValueError:
            raise HttpError(400, "bad_request_body", "the address asks for too much at once") from None
        head, _, rest = path.partition("/")
        if method == "POST" and head == "receipts" and rest.endswith("/verify"):
            return await self._verify(rest.removesuffix("/verify"), caller), ""
        if method == "POST" and path == "bundle":
            return await self._bundle(body, asked, caller), ""
        if method != "GET":
            raise HttpError(405, "wrong_method", "use GET here")
        if head == "receipts" and rest:
            return await self._receipt(rest), ""
        match path:
            case "calls":
                return await self._calls(asked), ""
            case "overview":
                return await self._overview(caller), ""
            case "spend":
                return await self._spend(caller), ""
            case "providers":
                return await self._providers(caller), ""
            case "account":
                return await self._account(caller), ""
            case "export":
                return await self._export(asked)
        raise HttpError(404, "unknown_route", "the console has no such page", "start at /")

    # calls and receipts

    async def _calls(self, asked: Query) -> Any:
        await self._seed()
        await self._look()
        found = self._seen.after(_number(asked, "after"))
        last = max((each.number for each in found), default=_number(asked, "after"))
        return {"last": last, "calls": [shown({"number": each.number, **facts_of(each)}) for each in found]}

    async def _seed(self) -> None:
        """Begin with what the store has of earlier times."""
        async with self._seeding:
            if not self._begun and self._stored is not None:
                self._seen.earlier(await asyncio.to_thread(self._stored.select, newest=_HISTORY, readable=True))
            self._begun = True

    async def _look(self) -> None:
        """See what other programs with the same store have done since."""
        if self._stored is None or time.monotonic() - self._looked < _GLANCE:
            return
        self._looked = time.monotonic()
        since = datetime.now(UTC) - _UNDER_WAY
        self._seen.others(await asyncio.to_thread(self._stored.select, since=since, newest=_HISTORY, readable=True))

    async def _receipt(self, receipt_id: str) -> Any:
        receipt = await self._find(receipt_id)
        later = [] if self._stored is None else await asyncio.to_thread(self._stored.verdicts, receipt.id)
        return shown(
            {
                "receipt": receipt.to_dict(),
                "steps": steps_of(receipt),
                "later": [each.to_dict() for each in later],
                "command": f"zerog receipts show {receipt.id}",
            }
        )

    async def _find(self, receipt_id: str) -> Receipt:
        known = self._seen.get(receipt_id)
        if known is not None:
            return known.receipt
        receipt = None if self._stored is None else await asyncio.to_thread(self._stored.get, receipt_id)
        if receipt is None:
            raise HttpError(404, "unknown_receipt", "there is no receipt with this id")
        return receipt

    async def _verify(self, receipt_id: str, caller: Caller) -> Any:
        receipt = await self._find(receipt_id)
        lease = self._lease(caller, receipt.backend)
        try:
            found = await checked_again(lease.client, receipt, self._ca_file)
        finally:
            lease.leave()
        return shown({**found.to_dict(), "checked_at": datetime.now(UTC).isoformat()})

    async def _bundle(self, body: bytes, asked: Query, caller: Caller) -> Any:
        """Check a bundle of receipts, from whom ever: offline, but for the chain where that is asked for."""
        found = await asyncio.to_thread(read_bundle, cast("Any", io.BytesIO(body)))  # a file as good as a path
        lease = self._lease(caller)
        try:
            on_chain = asked.get("anchor", [""])[0] == "chain"
            anchors = await anchors_of(lease.client, found.documents, self._ca_file) if on_chain else {}
        finally:
            lease.leave()
        lines = await asyncio.to_thread(found.check, lambda receipt: anchors.get(receipt.id))
        return shown(
            {
                "run": found.run,
                "sha256": found.sha256,
                "signer": found.signer or None,
                "made_at": found.made_at,
                "lines": [{**each.to_dict(), **bundled(each)} for each in lines],
            }
        )

    # money

    async def _overview(self, caller: Caller) -> Any:
        lease = self._lease(caller)
        try:
            client = lease.client
            keys = await asyncio.to_thread(self._key_facts)
            names = [name for name in self._settings.entries if name != ANY]
            demand = next(iter(self._settings.entries.values())).settings
            return shown(
                {
                    "models": names,
                    "every_model": ANY in self._settings.entries,
                    "network": client.network.name,
                    "chain_id": client.network.chain_id,
                    "verify": demand.get("verify", "require"),
                    "minimum": demand.get("minimum") or "verified",
                    "budget": [str(each) for each in self._settings.budget],
                    "store": Store.open(self._settings.store).kind,
                    "token": self._settings.token is not None,
                    "keys": keys,
                }
            )
        finally:
            lease.leave()

    def _key_facts(self) -> list[dict[str, Any]]:
        store = Store.open(self._settings.store)
        return [
            {
                "id": each.id,
                "name": each.name,
                "budget": str(each.allowance),
                "spent": amount_json(each.spent(store)),
                "revoked": each.revoked is not None,
            }
            for each in self._keys.all()
        ]

    async def _spend(self, caller: Caller) -> Any:
        lease = self._lease(caller)
        try:
            spending, left = lease.client.spending, {}
            if spending is not None:
                payer = lease.client.backend.payer
                left = await asyncio.to_thread(spending.left, payer, "0x" + "0" * 40)
                left = {name: each for name, each in left.items() if name in ("per_day", "per_wallet")}
        finally:
            lease.leave()
        at, days = self._spent
        if time.monotonic() - at > _FRESH:
            days = await self._days()
            self._spent = time.monotonic(), days
        limits = {"per_day": "day", "per_wallet": "total"}
        allowed: dict[str, Amount] = {each.period: each.amount for each in self._settings.budget}
        return {
            "days": days,
            "left": [
                {"period": limits[name], "left": amount_json(each), "of": amount_json(allowed[limits[name]])}
                for name, each in left.items()
            ],
        }

    async def _days(self) -> list[dict[str, Any]]:
        """What was spent on each of the last days, by currency."""
        since = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=_DAYS - 1)
        if self._stored is None:
            found = [each.receipt for each in self._seen.after(0)]
        else:
            found = await asyncio.to_thread(self._stored.select, since=since, newest=_MOST_SUMMED, readable=True)
        sums: dict[tuple[str, str], list[int]] = {}
        for each in found:
            if each.started_at < since or each.outcome == "refused":
                continue
            fee = each.fee
            amounts = sums.setdefault((f"{each.started_at:%Y-%m-%d}", fee.amount.currency), [0, 0, 0])
            amounts[0] += fee.amount.units
            amounts[1] += max((fee.most or fee.amount.units) - fee.amount.units, 0)
            amounts[2] += 1
        return [
            {
                "day": day,
                "spent": amount_json(Amount(units, currency)),
                "unknown": amount_json(Amount(doubt, currency)),
                "calls": calls,
            }
            for (day, currency), (units, doubt, calls) in sorted(sums.items())
        ]

    async def _account(self, caller: Caller) -> Any:
        lease = self._lease(caller)
        try:
            return shown(await account_of(lease.client, self._ca_file))
        finally:
            lease.leave()

    # the market

    async def _providers(self, caller: Caller) -> Any:
        await self._seed()
        attested: dict[str, int] = {}
        for each in self._seen.after(0):
            level = (each.receipt.attestation or {}).get("level")
            if isinstance(level, int):
                attested[each.receipt.provider] = level
        found = await self._clients.services(CHAT, caller)
        found.sort(key=lambda each: (-each.kind.strength, *prices_of(each), each.provider))
        return shown([service_json(each, attested.get(each.provider)) for each in found])

    # export

    async def _export(self, asked: Query) -> tuple[Any, str]:
        """Receipts as JSON or CSV: all that fit the filters, newest `_MOST_SUMMED` at most."""
        await self._seed()
        form = asked.get("format", ["json"])[0]
        if form not in ("json", "csv"):
            raise HttpError(400, "bad_format", "a format is json or csv")
        wanted: dict[str, str] = {name: asked[name][0] for name in ("verdict", "model", "provider") if name in asked}
        if self._stored is None:
            found = [each.receipt for each in self._seen.after(0)]
        else:
            found = await asyncio.to_thread(self._stored.select, newest=_MOST_SUMMED, readable=True)
        found = [each for each in found if _fits(each, wanted)]
        if form == "csv":
            return to_csv(found), "text/csv; charset=utf-8"
        return {"receipts": [each.to_dict() for each in found]}, ""

    # parts

    def _lease(self, caller: Caller, backend: str = "") -> Lease:
        """A client to look at the chain with: of the first entry, or of the first that `backend` answers."""
        first, *more = self._settings.entries.values()
        lease = self._clients.lease(first, CHAT, caller)
        for entry in more if backend else ():
            if lease.client.backend.name == backend:
                break
            lease.leave()
            lease = self._clients.lease(entry, CHAT, caller)
        return lease

    @property
    def _ca_file(self) -> str | None:
        ca_file: str | None = next(iter(self._settings.entries.values())).settings.get("ca_file")
        return ca_file


def _fits(receipt: Receipt, wanted: Mapping[str, str]) -> bool:
    said = {"verdict": str(receipt.verdict.status), "model": receipt.model, "provider": receipt.provider}
    return all(said[name] == value for name, value in wanted.items())


def _number(asked: Query, name: str) -> int:
    text = asked.get(name, ["0"])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ConfigError(f"{name} is a number", code="bad_request_body", hint="0 for everything")
    return int(text)
