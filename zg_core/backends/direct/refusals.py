"""What a provider's refusal means (0g-direct §4.6): status and body in, one error out.

The texts come from several broker versions, so only stable fragments are matched.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from zg_core.errors import (
    InsufficientFunds,
    ModelNotServed,
    NotAcknowledged,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    ZeroGError,
)
from zg_core.http.refusals import error_text, fate_of, retry_after
from zg_core.tasks.context import too_long
from zg_core.tasks.overflow import overflow_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.types import ServiceRecord

__all__ = ["clocks", "refusal"]

_OVERFLOWS = (400, 413, 422, 500)
# As vendors call a key that they do not know; our sessions are none of theirs.
_VENDOR_KEY = ("api key", "api_key", "api-key", "apikey")
_GATEWAY = (408, 499, 502, 504, 520, 524)  # in front of a provider that may go on and bill


def refusal(
    service: ServiceRecord,
    model: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    signed_here: bool = False,
) -> ZeroGError:
    """The error for a provider's response with `status` outside 200 to 299.

    Args:
        service: Who answered.
        model: What was asked for.
        status: The response's status.
        headers: Its headers, names in lower case.
        body: Its body.
        signed_here: Whether the session was signed by a wallet on this machine, so that it cannot be an old one.
    """
    text = error_text(body)
    low = text.lower()
    provider = service.provider
    said = f"provider {provider} answered {status}: {text}" if text else f"provider {provider} answered {status}"
    if 300 <= status < 400:
        hint = "the provider's URL is wrong on chain; choose another provider"
        return RequestError(f"provider {provider} redirects; not followed", code="redirect", hint=hint, status=status)
    fate = fate_of(status)
    if fate == "unreached":
        hint = "the network in front of the provider cannot reach it: retry later, or choose another provider"
        return ProviderUnavailable(said, hint=hint, retry_after=retry_after(headers), status=status)
    # A prompt that does not fit is refused before anything is served; some servers do it with 500, which brokers turn
    # into 400 (0g-direct §4.6). Whatever other words a 500 has, it may have been served.
    overflow = overflow_in(text, body) if status in _OVERFLOWS else None
    if fate == "unknown" and overflow is None:
        return _unknown(said, status)
    if status == 401 and "session" not in low and any(words in low for words in _VENDOR_KEY):
        hint = "the provider's own account with its vendor is refused, not yours: choose another provider"
        return ProviderUnavailable(said, hint=hint, retryable=False, status=status)
    if "validate session" in low or "authorization header" in low or status == 401:
        return _session(said, low, status, clocks(headers), signed_here=signed_here)
    if "insufficient balance" in low or "account not exist" in low:
        hint = f"run `zerog transfer {provider} 1.1` (a top-up is visible to the provider after up to 2 minutes)"
        return InsufficientFunds(said, hint=hint, provider=provider, status=status)
    if "not acknowledge" in low:
        if "service not acknowledge" in low:
            hint = "the contract owner has not acknowledged this provider's key yet; choose another provider"
        else:
            hint = f"run `zerog acknowledge {provider}`; it takes effect within 2 minutes"
        return NotAcknowledged(said, hint=hint, provider=provider, status=status)
    if "model not supported" in low or (status == 404 and "model" in low) or status == 410:
        return ModelNotServed(said, hint=f"this provider serves {service.model!r}", model=model, status=status)
    if status == 402:
        return PaymentRequired(said, hint="see `zerog account`", status=status)
    if status == 429:
        blocked = "too many invalid model" in low
        return RateLimited(
            said,
            code="model_blocked" if blocked else "rate_limited",
            retryable=not blocked,
            hint=f"use model {service.model!r}; the block lasts an hour"
            if blocked
            else "slow down, or spread the calls",
            retry_after=retry_after(headers, low),
            status=status,
        )
    if status == 503:
        hint = "retry later, or choose another provider"
        return ProviderUnavailable(said, hint=hint, retry_after=retry_after(headers, low), status=status)
    if overflow is not None:
        return too_long(said, *overflow, status=status)
    if "could not be read unambiguously" in low:
        return RequestError(said, code="bad_count", hint="send n once, as a number", status=status)
    if "response_format=url" in low or "image store" in low:
        return RequestError(said, code="no_image_store", hint='ask with response_format="b64_json"', status=status)
    if status == 413:
        return RequestError(said, code="too_large", hint="a request holds at most 32 MB", status=status)
    return RequestError(said, code="refused", hint="check the request", status=status)


def _unknown(said: str, status: int) -> OutcomeUnknown:
    code = "gateway_error" if status in _GATEWAY else "server_error"
    hint = "it may have been served and billed: the receipt (error.receipt) records it; retry only if paying twice is "
    return OutcomeUnknown(said, code=code, hint=f"{hint}acceptable, or choose another provider", status=status)


def _session(said: str, low: str, status: int, clocks: str, *, signed_here: bool) -> SessionRejected:
    if "future generation" in low:
        code, hint = "future_generation", "the provider has not seen the revocation yet; retry within 2 minutes"
    elif "revoked" in low:
        code, hint = "revoked", "make a new key with `zerog keys create`"
    elif "expired" in low:
        code, hint = "expired", f"make a new key with `zerog keys create`, or set the clock: {clocks}"
        if signed_here:  # less than a day ago by our clock, for a day
            hint = f"set this machine's clock: {clocks}; if it is right, choose another provider"
    elif "different provider" in low:
        code, hint = "other_provider", "make a key for this provider with `zerog keys create`"
    else:
        code, hint = "session_rejected", "check the wallet and the system clock, or make a key with `zerog keys create`"
    return SessionRejected(said, code=code, hint=hint, retryable=code == "future_generation", status=status)


def clocks(headers: Mapping[str, str]) -> str:
    """What this machine's clock says, and the provider's, where it tells: sessions are good for 24 h of both."""
    ours = f"this machine's says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        return ours
    return f"{ours}, the provider's {theirs:%Y-%m-%d %H:%M}"
