"""Who may ask: the owner, by the server's token, and users, by keys with budgets of their own.

Of a key only its hash is kept, in the store; with the key alone, whoever reads the store can do nothing. A key is 256
random bits, so that one round of SHA-256 hides it as well as many would.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zg_core.config import Secret
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.serve.settings import Allowance, allowance_of
from zg_core.shown.redaction import learn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from zg_core.receipts.model import Receipt
    from zg_core.store import Store

__all__ = ["OWNER", "Access", "Caller", "Key", "Keys", "Refused", "caller_of", "new_token"]

_PREFIX = "zgk-"
_RUN = "serve:"
_FRESH = 2.0
"""Seconds for which the keys of the store are used as they were read: so long a revoked key still works."""


class Refused(Exception):
    """Whoever asks shows no token, or one that opens nothing here."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was made for a user.

    Attributes:
        id: What it is called in lists; says nothing of the key.
        name: Whose it is.
        allowance: What its calls may cost together.
        created: When it was made (UTC).
        revoked: When it was revoked, None while it works.
    """

    id: str
    name: str
    allowance: Allowance
    created: datetime
    revoked: datetime | None = None

    def run(self, now: datetime) -> str:
        """The name under which a budget counts its calls at `now`."""
        return f"serve-{self.id}-{now:%Y-%m-%d}" if self.allowance.period == "day" else f"serve-{self.id}"

    def spent(self, store: Store) -> Amount:
        """What its calls have cost, whoever answered, held amounts too: today's, where its budget is per day.

        Raises:
            ConfigError: the store cannot be used.
        """
        counter = f"run:%:{self.run(datetime.now(UTC))}"
        with store.transaction(durable=False) as work:
            rows = work.all("SELECT units FROM budget_totals WHERE scope LIKE :counter", counter=counter)
        return Amount(sum(int(row["units"]) for row in rows))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the owner (no key), or whoever has `key`."""

    key: Key | None = None

    @property
    def name(self) -> str:
        """What it is called in lists of calls."""
        return "owner" if self.key is None else self.key.name

    @property
    def run(self) -> str:
        """The run that its calls belong to in their receipts, which is how the store finds them; the owner's has none.

        Example:
            >>> Caller().run
            ''
        """
        return "" if self.key is None else f"{_RUN}{self.key.name}"

    @property
    def is_owner(self) -> bool:
        """Whether it may see what others asked."""
        return self.key is None


OWNER = Caller()
"""Whoever runs the server."""


def caller_of(receipt: Receipt) -> str:
    """Who asked for the call of a receipt, by name; "" where it does not say: the owner, or another program."""
    return receipt.run.removeprefix(_RUN) if receipt.run.startswith(_RUN) else ""


def new_token() -> Secret:
    """A token for the owner, of 256 random bits."""
    return Secret(f"zgo-{secrets.token_urlsafe(32)}")


class Keys:
    """The keys in one store.

    Args:
        store: Where their hashes are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, allowance: Allowance) -> tuple[Secret, Key]:
        """Make a key; the secret is shown this once, and kept nowhere.

        Raises:
            ConfigError: the name is none (code ``bad_key_name``) or taken (``key_exists``), or the store fails.
        """
        name = name.strip()
        if not 0 < len(name) <= 80 or not name.isprintable():
            raise ConfigError("a key's name is 1 to 80 printable characters", code="bad_key_name", hint="--name alice")
        secret = f"{_PREFIX}{secrets.token_urlsafe(32)}"
        key = Key(secrets.token_hex(4), name, allowance, datetime.now(UTC))
        with self._store.transaction() as work:
            if work.first("SELECT id FROM serve_keys WHERE name = :name AND revoked IS NULL", name=name) is not None:
                raise ConfigError(
                    f"there is a key for {name!r}",
                    code="key_exists",
                    hint="revoke it (`zerog serve keys revoke`), or choose another name",
                )
            work.run(
                "INSERT INTO serve_keys VALUES (:id, :hash, :name, :allowance, :created, NULL)",
                id=key.id,
                hash=_hash(secret.encode()),
                name=name,
                allowance=str(allowance),
                created=key.created.timestamp(),
            )
        learn(secret)
        return Secret(secret), key

    def all(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        return [_key(row) for row in self._rows()]

    def revoke(self, id_or_name: str) -> Key:
        """End a key; a running server that shares the store notices within two seconds.

        Raises:
            ConfigError: no working key has this id or name (code ``unknown_key``).
        """
        with self._store.transaction() as work:
            row = work.first(
                "SELECT * FROM serve_keys WHERE (id = :it OR name = :it) AND revoked IS NULL", lock=True, it=id_or_name
            )
            if row is None:
                raise ConfigError(
                    f"no working key is called {id_or_name[:80]!r}", code="unknown_key", hint="zerog serve keys list"
                )
            now = time.time()
            work.run("UPDATE serve_keys SET revoked = :now WHERE id = :id", now=now, id=row["id"])
        return _key({**row, "revoked": now})

    def working(self) -> dict[str, Key]:
        """Keys that work, by their hashes."""
        return {row["hash"]: _key(row) for row in self._rows() if row["revoked"] is None}

    def _rows(self) -> list[Mapping[str, Any]]:
        with self._store.transaction(durable=False) as work:
            return work.all("SELECT * FROM serve_keys ORDER BY created, id")


class Access:
    """Decides who asks.

    Args:
        token: The owner's; None takes everybody for the owner.
        keys: Of users.
        clock: Seconds that only go forward.
    """

    def __init__(self, token: Secret | None, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = None if token is None else _hash(token.reveal().encode())
        if token is not None:
            learn(token.reveal())
        self._keys = keys
        self._clock = clock
        self._known: dict[str, Key] = {}
        self._until = float("-inf")

    def stale(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether the keys have to be read (`read`), which blocks, before it is known who sends these headers."""
        secret = _secret(headers)
        if self._clock() >= self._until:
            return True  # a key may have been revoked
        return secret.startswith(_PREFIX.encode()) and _hash(secret) not in self._known  # or made

    def read(self) -> None:
        """Read the keys of the store.

        Raises:
            ConfigError: the store cannot be used.
        """
        until = self._clock() + _FRESH
        self._known, self._until = self._keys.working(), until

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who sends these headers.

        Raises:
            Refused: nobody that is known here.
        """
        secret = _secret(headers)
        if secret:
            found = _hash(secret)
            if self._token is not None and hmac.compare_digest(found, self._token):
                return OWNER
            if (key := self._known.get(found)) is not None:  # by a hash of what is shown: its timing tells nothing
                return Caller(key)
        if self._token is None and not secret.startswith(_PREFIX.encode()):
            return OWNER
        raise Refused("the token opens nothing here" if secret else "no token was shown")


def _secret(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What is shown as a token; nothing where two are, or in another form."""
    shown = [value for name, value in headers if name == b"authorization"]
    word, _, secret = (shown[0] if len(shown) == 1 else b"").partition(b" ")
    return secret.strip() if word.lower() == b"bearer" else b""


def _hash(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def _key(row: Mapping[str, Any]) -> Key:
    revoked = row["revoked"]
    return Key(
        row["id"],
        row["name"],
        allowance_of(row["allowance"]),
        datetime.fromtimestamp(row["created"], UTC),
        None if revoked is None else datetime.fromtimestamp(revoked, UTC),
    )
