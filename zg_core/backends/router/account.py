"""`RouterAccount` and `AsyncRouterAccount`: what the Router offers, what it holds of ours, and its keys (0g-router §9).

Thin shells over `Account`. Nothing here spends; what there is can be read without a key, the account with a management
key (``mk-…``), and keys are made and revoked with its ``keys:*`` scopes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

from zg_core.audits.bills import audit_bills
from zg_core.backends.router import keys as router_keys
from zg_core.backends.router.api import RouterApi
from zg_core.backends.router.networks import router_of
from zg_core.backends.router.options import URL_VARIABLE
from zg_core.backends.router.statements import ApiKeyRecord, Balance, Funds, Page, UsageEntry, bills_of, strangers_in
from zg_core.config import Environment, Secret, Settings, conceal
from zg_core.errors import ConfigError
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.shown.redaction import learn
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from zg_core.audits.result import Audit
    from zg_core.config import Network
    from zg_core.http.transport import Transport
    from zg_core.receipts.model import Receipt

__all__ = ["KEY_VARIABLE", "Account", "AsyncRouterAccount", "RouterAccount"]

KEY_VARIABLE = "ZEROG_ROUTER_MANAGEMENT_KEY"
_PAGE = 100
_SETTINGS = ("credit_limit", "reset_period", "expiration", "allowed_models", "allowed_providers", "trust_mode")
_MOST_PAGES = 100


class Account:
    """The reads and changes themselves, as coroutines.

    Args:
        api: Asks the Router.
        key: The management key; None where only what is public is read.
    """

    def __init__(self, api: RouterApi, key: Secret | None) -> None:
        self._api = api
        self._key = key

    async def models(self) -> list[dict[str, Any]]:
        """The models, as the Router lists them; anybody may ask."""
        return await self._api.rows("/models")

    async def providers(self, model: str | None = None, service_type: str | None = None) -> list[dict[str, Any]]:
        """The providers, of a model or service type; anybody may ask."""
        wanted = {"canonical_id": model, "service_type": service_type}
        query = urlencode({name: value for name, value in wanted.items() if value})
        return await self._api.rows("/providers" + (f"?{query}" if query else ""))

    async def service_types(self) -> dict[str, int]:
        """How many providers there are of each service type; anybody may ask."""
        rows = await self._api.rows("/service-types")
        return {str(row.get("type")): int(row.get("provider_count") or 0) for row in rows if row.get("type")}

    async def balance(self) -> Balance:
        """What the Router's ledger holds."""
        return Balance.parse(await self._api.ask("GET", "/account/balance", self._own()))

    async def funds(self) -> Funds:
        """The ledger, what is pending, and the vault that other products of 0G share."""
        return Funds.parse(await self._api.ask("GET", "/account/funds", self._own()))

    async def usage(self, *, limit: int = _PAGE, model: str | None = None) -> list[UsageEntry]:
        """What requests cost, the newest first: the Router's book, which counts.

        Args:
            limit: How many at most.
            model: Of one model.
        """
        found: list[UsageEntry] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._page(min(_PAGE, limit - len(found)), cursor, model)
            found += page.entries
            cursor = page.next_cursor
            if cursor is None or not page.entries or len(found) >= limit:
                break
        return found[:limit]

    async def _page(self, limit: int, cursor: str | None, model: str | None) -> Page:
        query: dict[str, Any] = {"limit": max(1, limit)}
        if cursor is not None:
            query["cursor"] = cursor
        if model is not None:
            query["model_id"] = model
        return Page.parse(await self._api.ask("GET", f"/account/usage/history?{urlencode(query)}", self._own()))

    async def audit(self, receipts: Iterable[Receipt], *, limit: int = 10 * _PAGE) -> Audit:
        """Receipts beside the Router's book, joined by the number of the request; its `calls` say it one by one.

        Args:
            receipts: Those of calls through the Router; others are left out.
            limit: How many entries of the book are looked at, from the newest.
        """
        ours = [receipt for receipt in receipts if receipt.backend == "router"]
        book = await self.usage(limit=limit) if ours else []
        return audit_bills(bills_of(ours, book), backend="router", strangers=strangers_in(ours, book))

    async def api_keys(self) -> list[ApiKeyRecord]:
        """The inference keys; none of them is shown."""
        return [ApiKeyRecord.parse(row) for row in await self._api.rows("/api-keys", self._own())]

    async def create_key(self, name: str, **settings: Any) -> ApiKeyRecord:
        """A new inference key, in ``key`` of what is returned: the Router shows it this once.

        Args:
            name: Of the key; no other may have it.
            settings: ``credit_limit`` (text, in whole 0G or USD), ``reset_period``, ``expiration``,
                ``allowed_models``, ``allowed_providers``, ``trust_mode``.

        Raises:
            ConfigError: an unknown setting.
        """
        _check_settings(settings, "nothing was made")
        row = await self._api.ask("POST", "/api-keys", self._own(), {"name": name, **settings})
        made = ApiKeyRecord.parse(row)
        if made.key is not None:
            learn(made.key.reveal())
        return made

    async def update_key(self, key_id: str, **settings: Any) -> ApiKeyRecord:
        """Change what an inference key may do; the key itself stays as it is (needs ``keys:manage``).

        Args:
            key_id: Its id.
            settings: ``name``, or those of `create_key`; what is not named stays. ``credit_limit=None`` lifts the
                limit, ``trust_mode=""`` the pin, ``allowed_models=[]`` allows all.

        Raises:
            ConfigError: an unknown setting, or none.
            RequestError: there is no such key (code ``api_key_not_found``), or it is revoked (``api_key_revoked``).
        """
        if not settings:
            hint = f"name what is to be changed: name, {', '.join(_SETTINGS)}"
            raise ConfigError("nothing of the key is to be changed", code="bad_setting", hint=hint)
        _check_settings({name: value for name, value in settings.items() if name != "name"}, "nothing was changed")
        row = await self._api.ask("PATCH", f"/api-keys/{quote(key_id, safe='')}", self._own(), settings)
        return ApiKeyRecord.parse(row)

    async def revoke_key(self, key_id: str) -> None:
        """End an inference key for good."""
        await self._api.ask("DELETE", f"/api-keys/{quote(key_id, safe='')}", self._own())

    def _own(self) -> Secret:
        if self._key is None:
            hint = f"pass management_key='mk-…' or set {KEY_VARIABLE}; made at {self._api.router.console}"
            raise ConfigError("the account is read with a management key", code="no_credential", hint=hint)
        return self._key


def _check_settings(settings: Mapping[str, Any], done: str) -> None:
    if unknown := sorted(set(settings) - set(_SETTINGS)):
        hint = f"it takes {', '.join(_SETTINGS)}"
        raise ConfigError(f"a key has no {unknown[0]!r}; {done}", code="bad_setting", hint=hint)


@forgetful
class _Shell:
    """What both share: settings checked and parts put together, without I/O."""

    def __init__(
        self,
        *,
        management_key: str | Secret | None = None,
        network: str | Network | None = None,
        base_url: str | None = None,
        ca_file: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Make it; nothing is read or sent yet.

        Args:
            management_key: Reads the account; default ``ZEROG_ROUTER_MANAGEMENT_KEY``. What is public needs none.
            network: ``"mainnet"``, ``"testnet"`` (default), ``"local"`` or a `Network`.
            base_url: Where the Router is, instead of the network's own; default ``ZEROG_ROUTER_URL``.
            ca_file: A certificate authority to trust instead of the system's.
            environ: Environment to read instead of ``os.environ``.

        Raises:
            ConfigError: a setting is missing or malformed; an inference key is none (code ``wrong_key``).

        Example:
            >>> RouterAccount(network="mainnet", environ={}).base_url
            'https://router-api.0g.ai/v1'
        """
        given, environ = conceal(management_key), Environment(environ)
        management_key = None  # a traceback can show the locals of every frame
        settings = Settings.resolve(network=network, environ=environ)
        router = router_of(settings.network, base_url or environ.first(URL_VARIABLE))
        given = given or conceal(environ.first(KEY_VARIABLE))
        self.base_url = router.base_url
        """What paths are put behind."""
        self._transport = self._make_transport(ca_file)
        self.core = Account(
            RouterApi(router, self._transport), None if given is None else router_keys.management_key(given, router)
        )
        """The same as coroutines."""

    _transport: Any

    def _make_transport(self, ca_file: str | None) -> Transport:
        raise NotImplementedError


class RouterAccount(_Shell):
    """The Router's lists, account and keys, blocking."""

    def _make_transport(self, ca_file: str | None) -> SyncTransport:
        return SyncTransport(ca_file)

    def models(self) -> list[dict[str, Any]]:
        """See `Account.models`."""
        return run(self.core.models())

    def providers(self, model: str | None = None, service_type: str | None = None) -> list[dict[str, Any]]:
        """See `Account.providers`."""
        return run(self.core.providers(model, service_type))

    def service_types(self) -> dict[str, int]:
        """See `Account.service_types`."""
        return run(self.core.service_types())

    def balance(self) -> Balance:
        """See `Account.balance`."""
        return run(self.core.balance())

    def funds(self) -> Funds:
        """See `Account.funds`."""
        return run(self.core.funds())

    def usage(self, *, limit: int = _PAGE, model: str | None = None) -> list[UsageEntry]:
        """See `Account.usage`."""
        return run(self.core.usage(limit=limit, model=model))

    def audit(self, receipts: Iterable[Receipt], *, limit: int = 10 * _PAGE) -> Audit:
        """See `Account.audit`."""
        return run(self.core.audit(receipts, limit=limit))

    def api_keys(self) -> list[ApiKeyRecord]:
        """See `Account.api_keys`."""
        return run(self.core.api_keys())

    def create_key(self, name: str, **settings: Any) -> ApiKeyRecord:
        """See `Account.create_key`."""
        return run(self.core.create_key(name, **settings))

    def update_key(self, key_id: str, **settings: Any) -> ApiKeyRecord:
        """See `Account.update_key`."""
        return run(self.core.update_key(key_id, **settings))

    def revoke_key(self, key_id: str) -> None:
        """See `Account.revoke_key`."""
        run(self.core.revoke_key(key_id))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRouterAccount(_Shell):
    """The same with an event loop."""

    def _make_transport(self, ca_file: str | None) -> AsyncTransport:
        return AsyncTransport(ca_file)

    async def models(self) -> list[dict[str, Any]]:
        """See `Account.models`."""
        return await self.core.models()

    async def providers(self, model: str | None = None, service_type: str | None = None) -> list[dict[str, Any]]:
        """See `Account.providers`."""
        return await self.core.providers(model, service_type)

    async def service_types(self) -> dict[str, int]:
        """See `Account.service_types`."""
        return await self.core.service_types()

    async def balance(self) -> Balance:
        """See `Account.balance`."""
        return await self.core.balance()

    async def funds(self) -> Funds:
        """See `Account.funds`."""
        return await self.core.funds()

    async def usage(self, *, limit: int = _PAGE, model: str | None = None) -> list[UsageEntry]:
        """See `Account.usage`."""
        return await self.core.usage(limit=limit, model=model)

    async def audit(self, receipts: Iterable[Receipt], *, limit: int = 10 * _PAGE) -> Audit:
        """See `Account.audit`."""
        return await self.core.audit(receipts, limit=limit)

    async def api_keys(self) -> list[ApiKeyRecord]:
        """See `Account.api_keys`."""
        return await self.core.api_keys()

    async def create_key(self, name: str, **settings: Any) -> ApiKeyRecord:
        """See `Account.create_key`."""
        return await self.core.create_key(name, **settings)

    async def update_key(self, key_id: str, **settings: Any) -> ApiKeyRecord:
        """See `Account.update_key`."""
        return await self.core.update_key(key_id, **settings)

    async def revoke_key(self, key_id: str) -> None:
        """See `Account.revoke_key`."""
        await self.core.revoke_key(key_id)

    async def close(self) -> None:
        """Close the connections of this event loop."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
