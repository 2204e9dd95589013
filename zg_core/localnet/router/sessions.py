"""How the Router is let in by a provider: as any other customer, with a session of its own wallet."""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING

from zg_core.localnet.base.keys import keccak256
from zg_core.localnet.provider.tokens import EPHEMERAL_TOKEN_ID

if TYPE_CHECKING:
    from zg_core.localnet.base.keys import Key

_HOUR = 3600


def session_token(key: Key, provider: str, now: float) -> str:
    """A session of the Router's own wallet with a provider (0g-direct §3.1)."""
    moment = int(now * 1000)
    message = json.dumps(
        {
            "address": key.address,
            "provider": provider,
            "timestamp": moment,
            "expiresAt": moment + _HOUR * 1000,
            "nonce": secrets.token_hex(16),
            "generation": 0,
            "tokenId": EPHEMERAL_TOKEN_ID,
        }
    )
    signature = "0x" + key.sign_message(keccak256(message.encode())).hex()
    return "app-sk-" + base64.b64encode(f"{message}|{signature}".encode()).decode()
