"""What a provider says it has served to a wallet, and not yet charged (0g-direct §4.5)."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.session import make_token
from zg_core.config import SecretHeaders, check_url
from zg_core.errors import ProviderUnavailable
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.refusals import error_text
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord
    from zg_core.wallet import Wallet

__all__ = ["unsettled_fee"]

_MAX_BYTES = 64 * 1024
_MAX_SECONDS = 30.0
_TIMEOUTS = Timeouts(connect=10.0, read=15.0, whole=_MAX_SECONDS)
# The token is good for so long, so that clocks may differ by as much; it goes to the provider that it is for.
_SLACK_MS = 2 * 3600 * 1000
_NUMBER = re.compile(r"[0-9]{1,39}")
_MOST = 2**128
_HINT = "nothing was transferred; the next look tries again"


async def unsettled_fee(transport: Transport, wallet: Wallet, service: ServiceRecord, generation: int) -> int:
    """What a provider says it has served to `wallet` and not yet charged, in neuron.

    Args:
        transport: HTTP.
        wallet: Whose.
        service: Of the provider.
        generation: Of the wallet's keys there (``Account[9]``).

    Raises:
        ConfigError: the provider's URL is no place for a token.
        ProviderUnavailable: it does not say, or says what cannot be (``absurd_fee``), or its clock and this machine's
            are too far apart (``clock_skew``).
    """
    provider = service.provider
    check_url(service.url, f"the URL of provider {provider}", private=service.private)  # before anything is signed
    now = time.time_ns() // 1_000_000
    token = make_token(wallet, provider, now_ms=now, generation=generation, expires_at=now + _SLACK_MS)
    headers = SecretHeaders({"Authorization": f"Bearer {token.reveal()}"})
    path = f"/v1/user/{wallet.address}/unsettledfee"
    response = await transport.send(provider_request("GET", service, path, headers=headers, timeouts=_TIMEOUTS))
    try:
        content = await read_all(response, _MAX_BYTES, _MAX_SECONDS)
    except BodyBroken as error:
        raise _silent(provider, f"HTTP {response.status}, {error.reason}") from None
    if response.status != 200:
        text = error_text(content)
        if "expired" in text.lower():
            raise _skewed(provider, response.headers, now)
        raise _silent(provider, f"HTTP {response.status}{f': {text[:200]}' if text else ''}")
    try:
        body: Any = parse_json(content)
        fee = body["unsettledFee"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _silent(provider, "HTTP 200, no fee") from None
    if isinstance(fee, str) and _NUMBER.fullmatch(fee):
        fee = int(fee)
    if isinstance(fee, bool) or not isinstance(fee, int) or not 0 <= fee < _MOST:
        raise ProviderUnavailable(
            f"{provider} names unsettled fees that cannot be: {str(fee)[:60]!r}",
            code="absurd_fee",
            hint=_HINT,
            retryable=False,
            provider=provider,
        )
    return fee


def _silent(provider: str, why: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"{provider} does not tell the unsettled fees ({why})", hint=_HINT, provider=provider)


def _skewed(provider: str, headers: Mapping[str, str], now_ms: int) -> ProviderUnavailable:
    """The error where a token that was signed this second has expired."""
    said = headers.get("date", "")
    try:
        ahead = parsedate_to_datetime(said).timestamp() - now_ms / 1000
    except (TypeError, ValueError, OverflowError):
        ahead = 0.0
    by = f"; its clock is {abs(ahead) / 60:.0f} minutes {'ahead of' if ahead > 0 else 'behind'} this machine's"
    return ProviderUnavailable(
        f"{provider} takes a session that was signed this second for expired{by if abs(ahead) > 60 else ''}",
        code="clock_skew",
        hint="check the clock of this machine (date -u); if it is right, the provider's is wrong",
        retryable=False,
        provider=provider,
    )
