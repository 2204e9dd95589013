"""Session tokens and API keys, as a provider checks them (0g-direct §3.2)."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zg_core.localnet.base.keys import BadSignatureError, eip191_digest, keccak256, recover_address
from zg_core.localnet.model.json import check_depth

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.localnet.provider.settings import ProviderSettings

EPHEMERAL_TOKEN_ID = 255
"""The token id of a session; 0 to 254 are API keys, revocable one by one."""
_PREFIX = "Bearer app-sk-"


class SessionRejectedError(Exception):
    """A token is refused; the text is the provider's reason."""


class RevocationState(Protocol):
    """The part of a chain account the check reads."""

    @property
    def generation(self) -> int:
        """Tokens of any other generation are dead."""
        ...

    @property
    def revoked_bitmap(self) -> int:
        """Bit n is set when token id n is revoked."""
        ...


@dataclass(frozen=True)
class SessionToken:
    """The signed fields of a token. Times in unix milliseconds; `expires_at` 0 means never."""

    address: str
    provider: str
    timestamp: int
    expires_at: int
    nonce: str
    generation: int
    token_id: int


# JSON name, attribute, Go type and its bounds (None: a string)
_FIELDS: tuple[tuple[str, str, str, tuple[int, int] | None], ...] = (
    ("address", "address", "string", None),
    ("provider", "provider", "string", None),
    ("timestamp", "timestamp", "int64", (-(2**63), 2**63 - 1)),
    ("expiresAt", "expires_at", "int64", (-(2**63), 2**63 - 1)),
    ("nonce", "nonce", "string", None),
    ("generation", "generation", "uint64", (0, 2**64 - 1)),
    ("tokenId", "token_id", "uint8", (0, 255)),
)


def parse_message(text: str) -> SessionToken:
    """Read the JSON of a token; a missing field has its zero value, as in Go.

    Raises:
        SessionRejectedError: not an object of the expected types and ranges.
    """
    try:
        check_depth(text)
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SessionRejectedError(f"invalid session token format in Authorization: {error}") from None
    if not isinstance(document, dict):
        raise SessionRejectedError(
            "invalid session token format in Authorization: json: cannot unmarshal value into SessionToken"
        )
    values: dict[str, Any] = {}
    for name, attribute, go_type, bounds in _FIELDS:
        value = document.get(name)
        if value is None:
            values[attribute] = "" if bounds is None else 0
            continue
        if bounds is None:
            fits = isinstance(value, str)
        else:
            fits = isinstance(value, int) and not isinstance(value, bool) and bounds[0] <= value <= bounds[1]
        if not fits:
            raise SessionRejectedError(
                "invalid session token format in Authorization: "
                f"json: cannot unmarshal value into Go struct field SessionToken.{name} of type {go_type}"
            )
        values[attribute] = value
    return SessionToken(**values)


def split_header(header: str | None) -> tuple[str, str]:
    """The message and the signature in an Authorization header.

    Raises:
        SessionRejectedError: the header is missing or not of the form ``Bearer app-sk-`` + base64(message | signature).
    """
    if not header or not header.startswith(_PREFIX):
        raise SessionRejectedError(
            "missing or invalid Authorization header, must be Bearer app-sk-<base64(rawMessage:signature)>"
        )
    encoded = header[len(_PREFIX) :]
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise SessionRejectedError("invalid base64 in Authorization header: illegal base64 data") from None
    message, separator, signature = decoded.decode("utf-8", "surrogateescape").partition("|")
    if not separator:
        raise SessionRejectedError("invalid Authorization payload, expect base64(rawMessage:signature)")
    return message, signature


class TokenChecker:
    """Checks tokens in the provider's order and remembers good signatures for a while.

    Args:
        provider: the address tokens must name.
        settings: cache life and the longest session.
        now: the network's clock, unix seconds.
        account: the (cached) chain account of a user with this provider, or None where there is none.
    """

    def __init__(
        self,
        provider: str,
        settings: ProviderSettings,
        *,
        now: Callable[[], float],
        account: Callable[[str], RevocationState | None],
    ) -> None:
        self._provider = provider.lower()
        self._settings = settings
        self._now = now
        self._account = account
        self._good: dict[tuple[str, str, bytes, bytes], float] = {}

    def check(self, header: str | None, *, ahead: float = 0.0) -> SessionToken:
        """The token in an Authorization header, if it is valid now.

        Args:
            header: the header's value.
            ahead: seconds that the provider's clock is wrong by.

        Raises:
            SessionRejectedError: with the provider's reason.
        """
        message, signature = split_header(header)
        token = parse_message(message)
        if token.provider.lower() != self._provider:
            raise SessionRejectedError("session token is for different provider")
        if token.token_id == EPHEMERAL_TOKEN_ID:
            if token.expires_at == 0:
                raise SessionRejectedError("ephemeral token must have an expiration time")
            if token.expires_at - token.timestamp > self._settings.ephemeral_lifetime * 1000:
                raise SessionRejectedError("ephemeral token duration cannot exceed 24 hours")
        now = self._now() + ahead
        if token.expires_at > 0 and int(now) > token.expires_at // 1000:
            raise SessionRejectedError("session token expired")
        self._check_revocation(token)
        self._check_signature(token, message, signature, now)
        return token

    def _check_revocation(self, token: SessionToken) -> None:
        account = self._account(token.address)
        if account is None:  # no account yet: nothing to revoke, the balance check will refuse
            return
        if token.generation < account.generation:
            raise SessionRejectedError("session token has been revoked (generation expired)")
        if token.generation > account.generation:
            raise SessionRejectedError("invalid session token (future generation)")
        if token.token_id != EPHEMERAL_TOKEN_ID and account.revoked_bitmap >> token.token_id & 1:
            raise SessionRejectedError("session token has been revoked")

    def _check_signature(self, token: SessionToken, message: str, signature: str, now: float) -> None:
        digest = keccak256(message.encode("utf-8", "surrogateescape"))
        seen = (token.address, token.nonce, digest, keccak256(signature.encode("utf-8", "surrogateescape")))
        if self._good.get(seen, 0.0) > now:
            return
        if not signature.startswith(("0x", "0X")):
            reason = "empty hex string" if not signature else "hex string without 0x prefix"
            raise SessionRejectedError(f"invalid signature format: {reason}")
        digits = signature[2:]
        if len(digits) % 2:
            raise SessionRejectedError("invalid signature format: hex string of odd length")
        try:
            raw = bytes.fromhex(digits) if digits.isalnum() else b"" if not digits else None
        except ValueError:
            raw = None
        if raw is None:
            raise SessionRejectedError("invalid signature format: invalid hex string")
        if len(raw) != 65:
            raise SessionRejectedError("invalid signature length")
        try:
            signer = recover_address(eip191_digest(digest), raw)
        except BadSignatureError as error:
            raise SessionRejectedError(f"failed to recover public key from signature: {error}") from None
        if signer.lower() != token.address.lower():
            raise SessionRejectedError("signature verification failed: address mismatch")
        if len(self._good) > 10_000:
            self._good = {key: until for key, until in self._good.items() if until > now}
        self._good[seen] = now + self._settings.session_cache

    def forget(self) -> None:
        """Drop remembered signatures."""
        self._good.clear()
