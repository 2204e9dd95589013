"""0G session tokens: how one is made, read, and reused (0g-direct §3).

A token is a signed JSON message; whoever holds it can spend from the sub-account until it expires, so it is a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.config import Secret, conceal
from zg_core.crypto import SignatureError, checksum_address, is_address, keccak256, recover_personal_bytes, same_address
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.shown.redaction import learn
from zg_core.shown.tracebacks import clears_locals

if TYPE_CHECKING:
    from zg_core.wallet import Wallet

__all__ = ["EPHEMERAL_TOKEN_ID", "TokenClaims", "make_token", "read_token"]

PREFIX = "app-sk-"
EPHEMERAL_TOKEN_ID = 255  # 0g-direct §3.1
LIFETIME_MS = 24 * 3600 * 1000  # the longest the provider accepts for an ephemeral token (0g-direct §3.2)
RENEW_BEFORE_MS = 3600 * 1000  # reuse while more than 1 h is left (0g-direct §3.1)


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a session token or API key says; times are UTC milliseconds, `expires_at` 0 means never."""

    address: str
    provider: str
    timestamp: int
    expires_at: int
    nonce: str
    generation: int
    token_id: int

    def message(self) -> str:
        """The exact JSON text that is signed: compact, this key order (0g-direct §3.1)."""
        return json.dumps(
            {
                "address": self.address,
                "provider": self.provider,
                "timestamp": self.timestamp,
                "expiresAt": self.expires_at,
                "nonce": self.nonce,
                "generation": self.generation,
                "tokenId": self.token_id,
            },
            separators=(",", ":"),
        )


@clears_locals
def make_token(
    wallet: Wallet,
    provider: str,
    *,
    now_ms: int,
    generation: int,
    token_id: int = EPHEMERAL_TOKEN_ID,
    expires_at: int | None = None,
    nonce: str | None = None,
) -> Secret:
    """Sign a token for `provider`.

    Args:
        wallet: The account that pays.
        provider: Provider address, used as given.
        now_ms: UTC milliseconds.
        generation: ``Account[9]`` on chain, 0 without an account.
        token_id: 255 for a session, 0 to 254 for an API key.
        expires_at: UTC milliseconds; 24 h after `now_ms` by default, 0 for never (API keys only).
        nonce: Random by default.

    Returns:
        The text after ``Bearer``, beginning with ``app-sk-``.
    """
    expiry = now_ms + LIFETIME_MS if expires_at is None else expires_at
    claims = TokenClaims(wallet.address, provider, now_ms, expiry, nonce or secrets.token_hex(16), generation, token_id)
    message = claims.message()
    signature = wallet.sign_personal(keccak256(message.encode()))
    token = Secret(PREFIX + base64.b64encode(f"{message}|{signature}".encode()).decode())
    learn(token.reveal())
    return token


@clears_locals
def read_token(token: str | Secret) -> TokenClaims:
    """Read and check a token: its form and that its signature is its owner's. Expiry is not judged here.

    Raises:
        ConfigError: malformed, or signed by another account; the message never repeats the token.
    """
    token = conceal(token) or Secret("")
    claims = _claims(token)  # gives its reason back instead of raising: its locals hold the token
    if isinstance(claims, str):
        hint = "an API key begins with app-sk-; make one with `zerog keys create`"
        raise ConfigError(f"the API key is malformed: {claims}", code="bad_api_key", hint=hint)
    return claims


def _claims(token: Secret) -> TokenClaims | str:
    text = bare(token)
    if not text.startswith(PREFIX):
        return "it does not begin with app-sk-"
    try:
        message, bar, signature = base64.b64decode(text[len(PREFIX) :], validate=True).decode().partition("|")
        fields: Any = parse_json(message)
    except (binascii.Error, ValueError, RecursionError):
        return "it does not decode"
    if not bar or not isinstance(fields, dict):
        return "it holds no signed message"
    try:
        numbers = [fields[name] for name in ("timestamp", "expiresAt", "generation", "tokenId")]
        if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers) or numbers[3] > 255:
            return "a number in it is not a number"
        if not is_address(fields["address"]) or not is_address(fields["provider"]):
            return "it names no owner or provider"
        timestamp, expires_at, generation, token_id = numbers
        claims = TokenClaims(
            checksum_address(fields["address"]),
            checksum_address(fields["provider"]),
            timestamp,
            expires_at,
            str(fields["nonce"]),
            generation,
            token_id,
        )
        signer = recover_personal_bytes(keccak256(message.encode()), signature)
    except KeyError as error:
        return f"it lacks {error.args[0]!r}"
    except SignatureError:
        return "its signature is not one"
    if not same_address(signer, claims.address):
        return "it is not signed by the account it names"
    return claims


def bare(token: Secret) -> str:
    """The token as it follows ``Bearer``, whatever was pasted around it."""
    return token.reveal().strip().removeprefix("Bearer ").strip()
