"""The two ways to be let in by a 0G provider: a wallet that signs sessions, or an API key made earlier.

Both read the sub-account in the same round trip as the service record, so that a missing, empty or unacknowledged
account, a revoked key and a stale generation are found before a prompt leaves the machine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from zg_core.backends.direct.refusals import clocks
from zg_core.backends.direct.session import (
    EPHEMERAL_TOKEN_ID,
    LIFETIME_MS,
    RENEW_BEFORE_MS,
    bare,
    make_token,
    read_token,
)
from zg_core.config import Secret
from zg_core.crypto import same_address
from zg_core.errors import InsufficientFunds, NotAcknowledged, SessionRejected
from zg_core.money import neuron
from zg_core.shown.redaction import learn
from zg_core.shown.tracebacks import forgetful
from zg_core.wallet import missing_credential

if TYPE_CHECKING:
    from zg_core.contracts.abi import Account
    from zg_core.contracts.reader import ChainReader
    from zg_core.http.transport import Transport
    from zg_core.wallet import Wallet

__all__ = ["ApiKeyCredential", "Credential", "NoCredential", "WalletCredential", "check_account"]

MINIMUM_RESERVE = 10**18  # neuron a sub-account must keep for the provider to serve at all (0g-direct §4.5)


class Credential(Protocol):
    """Whoever pays: gives the bearer token for a provider."""

    @property
    def address(self) -> str:
        """The account that pays."""
        ...

    async def token(self, chain: ChainReader, transport: Transport, provider: str) -> Secret:
        """A token that the provider will accept, as far as the chain tells."""
        ...

    def drop(self, provider: str) -> bool:
        """Forget the token for `provider`; False if no new one can be made."""
        ...

    def is_in(self, data: bytes) -> bool:
        """Whether the key, or a token, is part of `data`."""
        ...


@forgetful
class WalletCredential:
    """Signs 24 h session tokens and reuses each until 1 h is left, one per provider."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet
        self._tokens: dict[str, tuple[int, Secret]] = {}

    @property
    def address(self) -> str:
        """The wallet's address."""
        return self._wallet.address

    async def token(self, chain: ChainReader, transport: Transport, provider: str) -> Secret:
        """The cached session token, or a new one with the generation that the chain holds (``Account[9]``)."""
        if (token := self._cached(provider)) is not None:
            return token
        async with transport.lock(f"session {provider}"):
            if (token := self._cached(provider)) is not None:
                return token
            account = await read_account(chain, provider, self.address)
            now = _now_ms()
            token = make_token(self._wallet, provider, now_ms=now, generation=account.generation)
            self._tokens[provider] = (now + LIFETIME_MS, token)
            return token

    def drop(self, provider: str) -> bool:
        """Forget the session; the next call signs a new one."""
        self._tokens.pop(provider, None)  # another call may have dropped it already: a new one can be made all the same
        return True

    def is_in(self, data: bytes) -> bool:
        """Whether the wallet's key or a session token is part of `data`."""
        tokens = [token for _, token in list(self._tokens.values())]
        return self._wallet.is_in(data) or any(token.reveal().encode() in data for token in tokens)

    def _cached(self, provider: str) -> Secret | None:
        entry = self._tokens.get(provider)
        return entry[1] if entry is not None and entry[0] - _now_ms() > RENEW_BEFORE_MS else None

    def __repr__(self) -> str:
        return f"WalletCredential({self._wallet!r})"


@forgetful
class ApiKeyCredential:
    """An API key (``app-sk-…``) used without a wallet: owner, provider, expiry and id are read from it.

    Raises:
        ConfigError: the key is malformed.
    """

    def __init__(self, key: Secret) -> None:
        self.claims = read_token(key)
        self._key = Secret(bare(key))
        learn(self._key.reveal())
        self._checked = False
        self.said_by: tuple[str, ...] = ()
        """Variables that named it and the provider, where it was variables."""

    @property
    def address(self) -> str:
        """The account that made the key."""
        return self.claims.address

    async def token(self, chain: ChainReader, transport: Transport, provider: str) -> Secret:
        """The key itself, after checking provider, expiry, revocation and generation.

        Raises:
            SessionRejected: it is for another provider, expired, or revoked.
        """
        claims = self.claims
        if not same_address(claims.provider, provider):
            said = f"the API key is for provider {claims.provider}, not {provider}"
            raise _rejected(said, "other_provider", provider, "; ".join(f"{name} says so" for name in self.said_by))
        if claims.expires_at and claims.expires_at <= _now_ms():
            clock = f"or set the clock: {clocks({})}"
            raise _rejected("the API key has expired", "expired", provider, clock)
        if self._checked:
            return self._key
        async with transport.lock(f"session {provider}"):
            if not self._checked:
                account = await read_account(chain, provider, self.address)
                revoked = claims.token_id != EPHEMERAL_TOKEN_ID and account.is_revoked(claims.token_id)
                if revoked or claims.generation != account.generation:
                    raise _rejected("the API key has been revoked", "revoked", provider)
                self._checked = True
        return self._key

    def drop(self, provider: str) -> bool:  # noqa: ARG002 - a key is for one provider
        """Check the key against the chain again before its next use; a key cannot be made anew without the wallet."""
        self._checked = False
        return False

    def is_in(self, data: bytes) -> bool:
        """Whether the key is part of `data`."""
        return self._key.reveal().encode() in data

    def __repr__(self) -> str:
        if not hasattr(self, "claims"):  # shown in the traceback of a constructor that refused its key
            return "ApiKeyCredential(malformed)"
        return f"ApiKeyCredential(owner={self.address!r}, token_id={self.claims.token_id})"


class NoCredential:
    """Nobody pays: good for reading only.

    Raises:
        ConfigError: by every use (code ``no_credential``).
    """

    @property
    def address(self) -> str:
        """Nobody's."""
        raise missing_credential()

    async def token(self, chain: ChainReader, transport: Transport, provider: str) -> Secret:  # noqa: ARG002 - as the others
        """There is none."""
        raise missing_credential()

    def drop(self, provider: str) -> bool:  # noqa: ARG002 - as the others
        """Nothing to forget."""
        return False

    def is_in(self, data: bytes) -> bool:  # noqa: ARG002 - as the others
        """Nothing to find."""
        return False


async def read_account(chain: ChainReader, provider: str, user: str) -> Account:
    """The sub-account, read fresh and fit to pay for a call.

    Raises:
        InsufficientFunds: missing, or below the provider's minimum.
        NotAcknowledged: owner or user has not acknowledged the signer.
    """
    service, account = await chain.service_and_account(provider, user)
    if not service.acknowledged:
        raise NotAcknowledged(
            f"the contract owner has not acknowledged the TEE signer of {provider}",
            code="service_not_acknowledged",
            hint="choose another provider (`zerog providers`)",
            provider=provider,
        )
    return check_account(account, provider, user)


def check_account(account: Account | None, provider: str, user: str) -> Account:
    """`account`, if a provider would serve it.

    Raises:
        InsufficientFunds: missing, or below the provider's minimum reserve (0g-direct §4.5).
        NotAcknowledged: the user has not acknowledged the provider's signer.
    """
    if account is None:
        raise InsufficientFunds(
            f"{user} has no sub-account at provider {provider}",
            code="no_account",
            hint=f"run `zerog deposit 3` if there is no ledger yet, then `zerog transfer {provider} 1.1`",
            provider=provider,
        )
    if account.usable < MINIMUM_RESERVE:
        raise InsufficientFunds(
            f"the sub-account of {user} at provider {provider} holds {neuron(account.usable)}, "
            f"the provider asks for at least {neuron(MINIMUM_RESERVE)} plus fees",
            code="balance_too_small",
            hint=f"run `zerog transfer {provider} 1.1`",
            provider=provider,
        )
    if not account.acknowledged:
        raise NotAcknowledged(
            f"{user} has not acknowledged the TEE signer of provider {provider}",
            hint=f"run `zerog acknowledge {provider}`",
            provider=provider,
        )
    return account


def credential_of(wallet: Wallet | None, api_key: Secret | None) -> Credential:
    """The credential for what was given; a wallet wins. With neither, what the chain says can be read all the same."""
    if wallet is not None:
        return WalletCredential(wallet)
    if api_key is not None:
        return ApiKeyCredential(api_key)
    return NoCredential()


def _rejected(message: str, code: str, provider: str, more: str = "") -> SessionRejected:
    hint = f"make a new key with `zerog keys create {provider}`" + (f", {more}" if more else "")
    return SessionRejected(message, code=code, hint=hint, provider=provider)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
