"""0G API keys: tokens that an application can use without the wallet, and the ledger of those that were made.

A key is a signed token with an id from 0 to 254 (0g-direct §3.1). The chain knows which ids are revoked, but not which
were given out: both official clients give id 0 to every key, so that revoking one ends all. The key ledger remembers
what it gave out, so that two live keys never share an id. It keeps a fingerprint, never the key itself.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from zg_core.backends.direct.money.accounts import address
from zg_core.backends.direct.session import EPHEMERAL_TOKEN_ID, bare, make_token
from zg_core.config import Secret
from zg_core.errors import ConfigError, ZeroGError
from zg_core.http.transport import run
from zg_core.shown.tracebacks import forgetful
from zg_core.store import Store, default_store_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.backends.direct.money.accounts import Accounts
    from zg_core.backends.direct.money.broker import AsyncBroker, Broker
    from zg_core.chain.transactions import TransactionResult
    from zg_core.contracts.abi import Account
    from zg_core.http.transport import Transport

__all__ = ["ApiKey", "ApiKeys", "AsyncApiKeys", "NewKey"]

DEFAULT_LIFETIME = timedelta(days=30)
Lifetime = timedelta | Literal["never"]
Status = Literal["live", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What the ledger remembers of a key.

    Attributes:
        provider: Where it can be used.
        token_id: Its id at the provider, 0 to 254.
        generation: The account's generation that it was made in; revoking all keys ends a generation.
        name: What its maker called it.
        created_at: When it was made (UTC).
        expires_at: When it ends (UTC), None for never.
        status: ``"live"``, ``"expired"`` or ``"revoked"``, by clock and chain.
        fingerprint: SHA-256 of the key, to tell which one an application has.
    """

    provider: str
    token_id: int
    generation: int
    name: str
    created_at: datetime
    expires_at: datetime | None
    status: Status
    fingerprint: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: `token` is shown here once and kept nowhere."""

    token: Secret
    key: ApiKey
    revocation: TransactionResult | None = None
    """After `rotate`: the transaction that revoked the old key."""


class _Keys:
    """All logic, as coroutines."""

    def __init__(
        self, accounts: Accounts, transport: Transport, store: Store, now: Callable[[], float] = time.time
    ) -> None:
        self._accounts = accounts
        self._transport = transport
        self._store = store
        self._now = now
        network = accounts.network
        self._scope = f"{network.chain_id}:{network.inference.lower()}"

    async def create(self, provider: str, expires_in: Lifetime, name: str) -> NewKey:
        """Give out a free id and sign a token with it."""
        provider = address(provider, "provider")
        now = self._now()
        expires = _expiry(now, expires_in)
        if len(name) > 200:
            raise ConfigError("the name of a key has at most 200 characters", code="bad_name")
        account = await self._accounts.own_account(provider)
        return await self._transport.blocking(self._issue, account, now, expires, name)

    async def known(self, provider: str | None) -> tuple[ApiKey, ...]:
        """The keys that the ledger knows, oldest first."""
        user = self._accounts.user()
        wanted = None if provider is None else address(provider, "provider")
        rows = await self._transport.blocking(self._rows, user, wanted)
        accounts: dict[str, Account | None] = {}
        for row in rows:
            if row["provider"] not in accounts:
                accounts[row["provider"]] = await self._accounts.chain.account(user, row["provider"])
        now = self._now()
        return tuple(_key(row, accounts[row["provider"]], now) for row in rows)

    async def revoke(self, provider: str, token_id: int) -> TransactionResult:
        """Revoke one id on chain."""
        provider = address(provider, "provider")
        _check_id(token_id)
        account = await self._accounts.own_account(provider)
        if account.is_revoked(token_id):
            raise ConfigError(
                f"key {token_id} at provider {provider} is revoked already",
                code="already_revoked",
                hint="see `zerog keys list`",
            )
        result = await self._accounts.inference_call("revokeToken(address,uint8)", [provider, token_id])
        await self._transport.blocking(self._mark_revoked, account, token_id)
        return result

    async def revoke_all(self, provider: str) -> TransactionResult:
        """End the generation of all keys and sessions."""
        provider = address(provider, "provider")
        account = await self._accounts.own_account(provider)
        result = await self._accounts.inference_call("revokeAllTokens(address)", [provider])
        await self._accounts.note_change(provider)
        await self._transport.blocking(self._mark_revoked, account, None)
        return result

    async def rotate(self, provider: str, token_id: int, expires_in: Lifetime, name: str | None) -> NewKey:
        """Make a new key, then revoke the old one."""
        provider = address(provider, "provider")
        _check_id(token_id)
        live = [key for key in await self.known(provider) if key.token_id == token_id and key.status == "live"]
        if not live:
            raise ConfigError(
                f"the ledger knows no live key {token_id} at provider {provider}",
                code="unknown_key",
                hint="see `zerog keys list`, or make a new one with `zerog keys create`",
            )
        made = await self.create(provider, expires_in, live[-1].name if name is None else name)
        try:
            result = await self.revoke(provider, token_id)
        except ZeroGError as error:
            error.message += (
                f"; the new key {made.key.token_id} was made (error.details['created']), the old one ({token_id}) was "
                "not revoked"
            )
            error.details["created"] = made
            raise
        return NewKey(made.token, made.key, result)

    # the ledger

    def _issue(self, account: Account, now: float, expires: float | None, name: str) -> NewKey:
        """Choose an id, sign, and write it down in one transaction, so that nobody else is given it meanwhile."""
        wallet = self._accounts.sender.wallet
        user, provider = account.user.lower(), account.provider.lower()
        owner: dict[str, Any] = {"scope": self._scope, "owner": user, "provider": provider}
        with self._store.transaction() as work:
            if self._store.kind == "postgresql":  # there is no row to hold yet
                work.run("SELECT pg_advisory_xact_lock(hashtext(:key))", key=":".join(owner.values()))
            rows = work.all(
                "SELECT token_id, expires, revoked FROM api_keys WHERE scope = :scope AND owner = :owner"
                " AND provider = :provider AND generation = :generation",
                **owner,
                generation=account.generation,
            )
            token_id = _free_id(account, rows, now)
            token = make_token(
                wallet,
                account.provider,
                now_ms=int(now * 1000),
                generation=account.generation,
                token_id=token_id,
                expires_at=0 if expires is None else int(expires * 1000),
            )
            row = {
                "generation": account.generation,
                "token_id": token_id,
                "name": name,
                "fingerprint": fingerprint(token),
                "created": now,
                "expires": expires,
            }
            work.run(
                "INSERT INTO api_keys (id, scope, owner, provider, generation, token_id, name, fingerprint, created,"
                " expires) VALUES (:id, :scope, :owner, :provider, :generation, :token_id, :name, :fingerprint,"
                " :created, :expires)",
                **owner,
                **row,
                id=uuid.uuid4().hex,
            )
        return NewKey(token, _key({**row, "provider": account.provider, "revoked": None}, account, now))

    def _mark_revoked(self, account: Account, token_id: int | None) -> None:
        with self._store.transaction() as work:
            work.run(
                "UPDATE api_keys SET revoked = :now WHERE scope = :scope AND owner = :owner AND provider = :provider"
                " AND generation <= :generation AND revoked IS NULL"
                " AND (:every = 1 OR (token_id = :token_id AND generation = :generation))",
                scope=self._scope,
                owner=account.user.lower(),
                provider=account.provider.lower(),
                generation=account.generation,
                every=int(token_id is None),
                token_id=-1 if token_id is None else token_id,
                now=self._now(),
            )

    def _rows(self, user: str, provider: str | None) -> list[Mapping[str, Any]]:
        with self._store.transaction() as work:
            rows = work.all(
                "SELECT provider, generation, token_id, name, fingerprint, created, expires, revoked FROM api_keys"
                " WHERE scope = :scope AND owner = :owner ORDER BY created, token_id",
                scope=self._scope,
                owner=user.lower(),
            )
        found = [{**row, "provider": address(row["provider"], "provider")} for row in rows]
        return [row for row in found if provider is None or row["provider"] == provider]


@forgetful
class _Shell:
    def __init__(
        self, broker: Broker | AsyncBroker, store: str | Store | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """Open the key ledger of a broker's wallet; nothing is read or sent yet.

        Args:
            broker: Whose wallet signs, and who sends.
            store: Where the ledger is kept; default the broker's store, or the file of the command line where that
                is ``memory:``, since a ledger that forgets would give out ids twice.
            now: Unix seconds.
        """
        if store is None:
            store = default_store_url() if broker.store.kind == "memory" else broker.store
        self.store = store if isinstance(store, Store) else Store.open(store)
        """Where the ledger is kept."""
        if self.store.kind == "memory":
            raise ConfigError(
                "the key ledger cannot be kept in memory: it would give out ids twice",
                code="bad_store",
                hint="pass store='sqlite:///path', or leave it out",
            )
        self._keys = _Keys(broker.core, broker.transport, self.store, now)


@forgetful
class ApiKeys(_Shell):
    """The API keys of a broker's wallet; blocking."""

    def __init__(self, broker: Broker, store: str | Store | None = None, now: Callable[[], float] = time.time) -> None:
        super().__init__(broker, store, now)

    def create(self, provider: str, *, expires_in: Lifetime = DEFAULT_LIFETIME, name: str = "") -> NewKey:
        """Make a key for `provider`; nothing is sent, the key is valid at once.

        Args:
            provider: Provider address.
            expires_in: How long it is valid, 30 days by default; ``"never"`` has to be said.
            name: What to call it.

        Raises:
            InsufficientFunds: there is no sub-account there (``no_account``), so nothing could revoke the key.
            ConfigError: all 255 ids are in use (``ids_exhausted``).
        """
        return run(self._keys.create(provider, expires_in, name))

    def list(self, provider: str | None = None) -> tuple[ApiKey, ...]:
        """The keys made here, oldest first, with what clock and chain say of them."""
        return run(self._keys.known(provider))

    def revoke(self, provider: str, token_id: int) -> TransactionResult:
        """Revoke one key on chain, also one that was made elsewhere; the provider may take 5 minutes to see it.

        Raises:
            ConfigError: no id of a key (``bad_token_id``), or revoked before (``already_revoked``); nothing was sent.
            InsufficientFunds: there is no sub-account there (``no_account``).
        """
        return run(self._keys.revoke(provider, token_id))

    def revoke_all(self, provider: str) -> TransactionResult:
        """Revoke every key and every session at `provider`, and free all ids.

        The wallet's own clients sign new sessions by themselves; the provider may refuse those for up to 2 minutes,
        which clients of this process wait for.
        """
        return run(self._keys.revoke_all(provider))

    def rotate(
        self, provider: str, token_id: int, *, expires_in: Lifetime = DEFAULT_LIFETIME, name: str | None = None
    ) -> NewKey:
        """Make a new key in place of a live one, then revoke that.

        Raises:
            ConfigError: the ledger knows no such live key (``unknown_key``).
            ZeroGError: the old one could not be revoked; the new key is in ``error.details["created"]``.
        """
        return run(self._keys.rotate(provider, token_id, expires_in, name))


@forgetful
class AsyncApiKeys(_Shell):
    """Async twin of `ApiKeys`."""

    def __init__(
        self, broker: AsyncBroker, store: str | Store | None = None, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(broker, store, now)

    async def create(self, provider: str, *, expires_in: Lifetime = DEFAULT_LIFETIME, name: str = "") -> NewKey:
        """See `ApiKeys.create`."""
        return await self._keys.create(provider, expires_in, name)

    async def list(self, provider: str | None = None) -> tuple[ApiKey, ...]:
        """See `ApiKeys.list`."""
        return await self._keys.known(provider)

    async def revoke(self, provider: str, token_id: int) -> TransactionResult:
        """See `ApiKeys.revoke`."""
        return await self._keys.revoke(provider, token_id)

    async def revoke_all(self, provider: str) -> TransactionResult:
        """See `ApiKeys.revoke_all`."""
        return await self._keys.revoke_all(provider)

    async def rotate(
        self, provider: str, token_id: int, *, expires_in: Lifetime = DEFAULT_LIFETIME, name: str | None = None
    ) -> NewKey:
        """See `ApiKeys.rotate`."""
        return await self._keys.rotate(provider, token_id, expires_in, name)


def fingerprint(token: Secret | str) -> str:
    """SHA-256 of a key, hex: tells keys apart without showing them."""
    return hashlib.sha256(bare(token if isinstance(token, Secret) else Secret(token)).encode()).hexdigest()


def _expiry(now: float, expires_in: object) -> float | None:
    if expires_in == "never":
        return None
    if not isinstance(expires_in, timedelta) or expires_in <= timedelta():
        raise ConfigError(
            "a key needs a lifetime",
            code="bad_lifetime",
            hint='expires_in=timedelta(days=30), or "never" for a key that stays valid until it is revoked',
        )
    return now + expires_in.total_seconds()


def _check_id(token_id: object) -> None:
    if isinstance(token_id, bool) or not isinstance(token_id, int) or not 0 <= token_id < EPHEMERAL_TOKEN_ID:
        raise ConfigError(
            f"{token_id!r} is no id of a key",
            code="bad_token_id",
            hint="ids are 0 to 254 (`zerog keys list`); sessions end with revoke_all",
        )


def _free_id(account: Account, rows: list[Mapping[str, Any]], now: float) -> int:
    """The lowest id that was never used; then the lowest whose keys have all expired."""
    given = {row["token_id"] for row in rows}
    live = {row["token_id"] for row in rows if row["expires"] is None or row["expires"] > now}
    free = [number for number in range(EPHEMERAL_TOKEN_ID) if not account.is_revoked(number) and number not in live]
    unused = [number for number in free if number not in given]
    if not free:
        raise ConfigError(
            f"all 255 key ids at provider {account.provider} are in use or revoked",
            code="ids_exhausted",
            hint=f"run `zerog keys revoke-all {account.provider}`: it ends all keys there and frees their ids",
        )
    return (unused or free)[0]


def _key(row: Mapping[str, Any], account: Account | None, now: float) -> ApiKey:
    expires = row["expires"]
    status: Status = "live"
    if row["revoked"] is not None or (
        account is not None and (account.generation != row["generation"] or account.is_revoked(row["token_id"]))
    ):
        status = "revoked"
    elif expires is not None and expires <= now:
        status = "expired"
    return ApiKey(
        provider=row["provider"],
        token_id=row["token_id"],
        generation=row["generation"],
        name=row["name"],
        created_at=datetime.fromtimestamp(row["created"], UTC),
        expires_at=None if expires is None else datetime.fromtimestamp(expires, UTC),
        status=status,
        fingerprint=row["fingerprint"],
    )
