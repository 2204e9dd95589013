"""What a gateway's refusal means (opengradient §2.3, §2.9): status, headers and body in, one error out. No I/O."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from zg_core.backends.opengradient import challenge
from zg_core.errors import (
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    ZeroGError,
)
from zg_core.http.refusals import error_text, fate_of, retry_after
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_clock", "refusal"]


def check_clock(headers: Mapping[str, str], skew: int) -> None:
    """Refuse to sign where this machine's clock is not the gateway's: a permit's end would be another than is meant.

    Raises:
        ConfigError: they differ by more than `skew` seconds (code ``clock_off``).
    """
    try:
        there = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return
    off = time.time() - there
    if abs(off) > skew:
        raise ConfigError(
            f"this machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the gateway's; "
            "nothing was signed",
            code="clock_off",
            hint="set the clock (NTP), choose another provider, or allow more with OpenGradient(skew=…)",
        )


def refusal(
    provider: str, model: str, status: int, headers: Mapping[str, str], body: bytes, *, how: str = ""
) -> ZeroGError:
    """The error for a gateway's response with `status` outside 200 to 299.

    Args:
        provider: Who answered.
        model: What was asked for.
        status: Its status.
        headers: Its headers, names in lower case.
        body: Its body.
        how: What the request was let in with: ``"permit"``, ``"session"``, or ``""`` for nothing.
    """
    said = _object(body)
    text = error_text(body)
    words = f"gateway {provider} answered {status}" + (f": {text}" if text else "")
    if 300 <= status < 400:
        return RequestError(f"gateway {provider} redirects; not followed", code="redirect", status=status)
    if status == 402:
        return _payment(provider, words, headers, how)
    if status == 400 and "is not supported" in text and "odel" in text:
        return ModelNotServed(words, hint="see OpenGradientModel for names that are known", model=model, status=status)
    if status == 451 or said.get("moderation_blocked") or "moderation" in text:
        return RequestError(words, code="moderation_blocked", hint="change the prompt", status=status)
    if status == 413:
        return RequestError(words, code="too_large", hint="a request has at most 20 MiB", status=status)
    if status == 429:
        return RateLimited(words, status=status, retry_after=retry_after(headers))
    fate = fate_of(status)
    if fate == "unreached" and how != "permit":
        return ProviderUnavailable(words, status=status, retry_after=retry_after(headers))
    if status == 503 or said.get("retryable") is True:
        if how == "permit":  # it was shown a payment: nobody can tell whether it counts
            hint = "the receipt (error.receipt) records the permit; `receipt.settlement()` tells whether it was used"
            return ProviderUnavailable(words, retryable=False, status=status, hint=hint)
        return ProviderUnavailable(words, status=status if status in (429, 503) else 503, said_status=status)
    if status >= 500 or fate == "unknown":
        if how == "":
            return ProviderUnavailable(words, retryable=False, status=status)
        if said.get("source") == "provider" or "provider_status" in said:
            return RequestError(words, code="vendor_error", hint="the vendor behind the gateway refused", status=status)
        return OutcomeUnknown(words, code="gateway_error", status=status, hint="it may have been metered")
    return RequestError(words, status=status)


def _payment(provider: str, words: str, headers: Mapping[str, str], how: str) -> ZeroGError:
    try:
        asked = challenge.read(headers)
    except PaymentRequired as error:
        return error
    if how == "session":
        return SessionRejected(f"gateway {provider} says that the session is over", code="session_over", status=402)
    reason = "" if asked is None else asked.error
    if how == "permit":
        words = f"gateway {provider} refuses the payment: {reason or 'it does not say why'}"
        if "allowance" in reason:
            return InsufficientFunds(
                words, code="opg_not_approved", hint="run `zerog opengradient approve`", status=402, of_payer=True
            )
        if "balance" in reason:
            return InsufficientFunds(words, code="opg_insufficient", hint="buy OPG on Base", status=402, of_payer=True)
        hint = "no second permit is signed for the same call; see `zerog opengradient doctor`"
        return PaymentRequired(words, code="payment_refused", hint=hint, status=402)
    return PaymentRequired(words, code="payment_required", hint="see `zerog opengradient doctor`", status=402)


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = parse_json(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
