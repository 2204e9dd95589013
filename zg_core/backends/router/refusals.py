"""What the Router's refusals mean (0g-router §7): status first, code second; nothing that it says is trusted far."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.errors import (
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
from zg_core.tasks.context import too_long
from zg_core.tasks.overflow import overflow_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.router.networks import RouterNetwork

__all__ = ["refusal", "request_id_of"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_HINTS = {
    "invalid_provider_header": "this package sends only headers that it knows: is something in between, or headers=?",
    "invalid_trust_mode": "trust_mode='verified' or 'private'",
    "invalid_max_price_usd": "max_price_usd='0.5' is USD per million tokens",
    "no_provider_within_max_price": "raise max_price_usd=, or name another model",
    "pinned_provider_exceeds_max_price": "raise max_price_usd=, or leave provider= out",
    "provider_model_mismatch": "that provider does not serve this model: leave provider= (and identity=) out",
    "model_not_capable": "leave the parameter out, or require_parameters=False, or name another model",
    "no_provider_for_trust_mode": "no provider of this model has that tier now, and the Router never goes lower: "
    "name another model, or trust_mode='verified'",
    "refund_pending": "a refund of your deposit is under way: retry once it is through",
    "usd_not_supported": "this model has no price in USD: use an account that pays in 0G",
    "video_job_failed": "make the job again",
}


def refusal(
    router: RouterNetwork, model: str, status: int, headers: Mapping[str, str], body: bytes, *, sealed: bool = False
) -> ZeroGError:
    """The error for a response of the Router with `status` outside 200 to 299.

    Args:
        router: Who answered.
        model: What was asked for.
        status: The response's status.
        headers: Its headers, names in lower case.
        body: Its body: an envelope of the Router's, a provider's own words, or a page of something in between.
        sealed: Whether the request was sealed.
    """
    code, own = _envelope(body)
    text = error_text(body)
    who = headers.get("zg-failure-source") or headers.get("x-zg-failure-source") or ""
    facts: dict[str, Any] = {"status": status, "request_id": request_id_of(headers, body)}
    facts |= {"failure_source": who} if who in ("client", "broker", "upstream") else {}
    said = (
        f"the Router answered {status}{f' ({code})' if code else ''}: {text}"
        if text
        else f"the Router answered {status}"
    )
    hint = _HINTS.get(code, "")
    if 300 <= status < 400:
        return RequestError("the Router redirects; not followed", code="redirect", hint="check base_url=", **facts)
    if status == 401:
        hint = f"keys are of one network: this is {router.name}; make one at {router.console}"
        return SessionRejected(said, code=code or "invalid_api_key", hint=hint, of_payer=True, **facts)
    if status == 402:
        hint = f"deposit 0G at {router.console}; the balance of 0G Direct is another one"
        error = InsufficientFunds if code in ("", "insufficient_balance") else PaymentRequired
        return error(said, code=code or "insufficient_balance", hint=hint, of_payer=True, **facts)
    if status == 403:
        hint = "the key itself may be pinned to a tier, to models or providers, or lack this scope: look at it in "
        return SessionRejected(said, code=code or "access_denied", hint=hint + router.console, **facts)
    if status == 404 and (code == "model_not_found" or "model" in text.lower()):
        hint = "`zerog router models` lists what there is; ids are the canonical ones"
        return ModelNotServed(said, code=code or "model_not_served", hint=hint, model=model, **facts)
    if status in (423, 425):
        return ProviderUnavailable(said, code=code or "refund_pending", hint=hint or _HINTS["refund_pending"], **facts)
    if status == 429:
        wait = _reset(headers) if (wait := retry_after(headers, text.lower())) is None else wait
        return RateLimited(said, code=code or "rate_limited", hint="slow down", retry_after=wait, **facts)
    if status == 503:
        # What is down for this model does not come back in seconds; a failed read of the chain does.
        lasting = code.startswith(("no_available", "no_provider", "no_providers"))
        hint = hint or ("name another model, or retry later" if lasting else "retry")
        return ProviderUnavailable(
            said,
            code=code or "provider_unavailable",
            hint=hint,
            retryable=not lasting,
            retry_after=retry_after(headers),
            **facts,
        )
    if status == 502 and own and code == "provider_error":  # its own word that it has tried all, before a byte came
        return ProviderUnavailable(said, code=code, hint="retry, or name another model", **facts)
    fate = fate_of(status)
    if fate == "unreached":
        return ProviderUnavailable(said, hint="retry later", retry_after=retry_after(headers), **facts)
    if fate == "unknown" and status not in (424, 501):
        hint = "it may have been served and billed: the Router's usage history says (zerog router usage)"
        return OutcomeUnknown(
            said,
            code="gateway_error" if status in (408, 499, 502, 504, 520, 524) else "server_error",
            hint=hint,
            **facts,
        )
    if (overflow := overflow_in(text, body)) is not None:
        return too_long(said, *overflow, **facts)
    if sealed and status == 400:
        hint = (
            hint or "this provider may not know this sealed form: choose another; it is never sent in the clear instead"
        )
        return RequestError(said, code=code or "seal_refused", hint=hint, **facts)
    if status == 410:
        hint = hint or "it is gone for good: make another"
        return RequestError(said, code=code or "api_key_revoked", hint=hint, **facts)
    if status == 413:
        return RequestError(said, code="too_large", hint="make the request smaller", **facts)
    return RequestError(said, code=code or "refused", hint=hint or "check the request", **facts)


def request_id_of(headers: Mapping[str, str], body: bytes = b"") -> str:
    """The Router's number of a request, from its header, else its envelope; "" if it says none that is one."""
    found = headers.get("x-request-id", "")
    if not found and body:
        try:
            value = parse_json(body)
        except (ValueError, RecursionError):
            value = None
        said = value.get("request_id") if isinstance(value, dict) else None
        found = said if isinstance(said, str) else ""
    return found if _REQUEST_ID.fullmatch(found) else ""


def _envelope(body: bytes) -> tuple[str, bool]:
    """The machine word of an error, and whether it is in the Router's own form."""
    try:
        value = parse_json(body)
    except (ValueError, RecursionError):
        return "", False
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return "", False
    code = error.get("code")
    word = code if isinstance(code, str) and re.fullmatch(r"[a-z0-9_]{1,64}", code) else ""
    return word, bool(word) and isinstance(error.get("type"), str)


def _reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the minute's requests are new: ``X-RateLimit-Reset-Requests`` is a time, not a duration (§7)."""
    value = headers.get("x-ratelimit-reset-requests", "")
    if headers.get("x-ratelimit-remaining-requests", "0") != "0":
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), 3600.0)
