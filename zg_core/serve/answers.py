"""How answers are shown to others' clients: OpenAI-shaped errors, headers and the last comment of a stream.

Two rules. What an upstream says never decides anything on this side: of its headers only a few are passed on, each
letter by letter, and none whose name begins as ours. And what may have been billed is never answered with a status that
clients repeat by themselves (408, 409, 429, 5xx): a repetition would be paid again.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zg_core.errors import (
    AttestationError,
    BudgetExceeded,
    ChainError,
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    StreamTruncated,
    VerificationFailed,
    VerificationUnavailable,
    ZeroGError,
    never_served,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.receipts.model import Receipt

__all__ = [
    "GUARDS",
    "UNPROVEN",
    "HttpError",
    "comment",
    "error_body",
    "error_event",
    "facts_headers",
    "passed_on",
    "status_of",
]

Headers = list[tuple[bytes, bytes]]

GUARDS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]
"""What stands on every answer that holds strangers' words: no browser may take it for a page."""

UNPROVEN = 424
"""Failed Dependency: an answer came, or may have come, and must not be used; clients do not repeat it by themselves."""
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    UNPROVEN: "verification_error",
}
_PASSED_ON = frozenset({"zg-res-key", "x-request-id"})
_PLAIN_VALUE = re.compile(r"[\x21-\x7e]{1,200}")
_CONTENT_TYPE = re.compile(r"(application/json|text/event-stream|text/plain|text/vtt|text/srt)\b", re.IGNORECASE)
_STORE = frozenset({"store_unavailable", "store_too_new"})


class HttpError(Exception):
    """A request that is answered with an error before any backend is asked.

    Args:
        status: HTTP status.
        code: Machine-readable reason.
        message: One sentence.
        hint: What to change.
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


def status_of(error: ZeroGError | HttpError) -> int:
    """The HTTP status that says `error` to a client.

    Example:
        >>> status_of(VerificationFailed("x")), status_of(OutcomeUnknown("x")), status_of(BudgetExceeded("x"))
        (424, 424, 429)
    """
    if isinstance(error, HttpError):
        return error.status
    match error:
        case ConfigError():
            return 503 if error.code in _STORE else 400
        case BudgetExceeded():
            return 429
        case InsufficientFunds() | PaymentRequired():
            return 402
        case ChainError():
            return 503
        case VerificationFailed() | VerificationUnavailable() | AttestationError() | OutcomeUnknown():
            return UNPROVEN
        case StreamTruncated():
            return UNPROVEN
        case ModelNotServed():
            return 404
        case RateLimited():
            return 429
        case SessionRejected():
            return 502  # ours was refused there: the caller's token is good
        case ProviderUnavailable() if error.code == "connect_failed" or never_served(error):
            return 503
        case RequestError():
            said = error.details.get("status")
            refused = isinstance(said, int) and 400 <= said < 500 and said not in (401, 403, 407, 408, 409, 429)
            return said if refused else UNPROVEN  # type: ignore[return-value] # `refused` has seen that it is an int
        case _:
            return UNPROVEN


def error_body(error: ZeroGError | HttpError) -> dict[str, Any]:
    """The OpenAI-shaped body that says `error`; what is refused is not handed on in it."""
    status = status_of(error)
    kind = "insufficient_quota" if isinstance(error, BudgetExceeded) else _KINDS.get(status, "api_error")
    message = f"{error.message} (hint: {error.hint})" if error.hint else error.message
    said: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": error.code, "hint": error.hint}
    if isinstance(error, ZeroGError) and error.receipt is not None:
        said["zerog"] = facts(error.receipt)
    return {"error": said}


def error_headers(error: ZeroGError | HttpError) -> Headers:
    """What stands on the answer that says `error`."""
    found: Headers = [*GUARDS, (b"content-type", b"application/json")]
    again = isinstance(error, ZeroGError) and error.retryable and status_of(error) in (429, 503)
    found.append((b"x-should-retry", b"true" if again else b"false"))
    if isinstance(error, HttpError):
        if error.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        return found
    seconds = error.details.get("retry_after")
    if again and isinstance(seconds, int | float) and 0 <= seconds < 1e9:
        found.append((b"retry-after", str(math.ceil(seconds)).encode()))
    if error.receipt is not None:
        found += facts_headers(error.receipt)
    return found


def error_event(error: ZeroGError | HttpError) -> bytes:
    """The event that ends a stream in place of ``[DONE]``: official clients raise it."""
    return b"data: " + json.dumps(error_body(error)).encode() + b"\n\n"


def facts(receipt: Receipt) -> dict[str, Any]:
    """What is said of a call beside its answer. Amounts are decimal text in the smallest unit."""
    fee, verdict = receipt.fee, receipt.verdict
    return {
        "receipt": receipt.id,
        "verdict": str(verdict.status),
        "reason": str(verdict.reason),
        "provider": receipt.provider,
        "model": receipt.model,
        "chat_id": receipt.chat_id,
        "fee": str(fee.amount.units),
        "fee_exact": fee.exact,
        "fee_most": None if fee.most is None else str(fee.most),
        "unit": fee.amount.unit,
        "outcome": receipt.outcome,
    }


def comment(receipt: Receipt) -> bytes:
    """The comment that ends a stream: one line, whatever strangers wrote, because JSON escapes what is not ASCII."""
    return b": zerog " + json.dumps(facts(receipt), separators=(",", ":")).encode() + b"\n\n"


def facts_headers(receipt: Receipt, *, judged: bool = True) -> Headers:
    """``X-Zerog-*`` of a call; of one that is not `judged` yet, what is known when it begins."""
    said = facts(receipt)
    names = ["receipt", "provider", "model", *(["verdict", "reason", "chat_id", "fee", "fee_exact"] if judged else [])]
    found: Headers = []
    for name in names:
        value = said[name]
        text = str(value).lower() if isinstance(value, bool) else _header_text(str(value))
        if text:
            found.append((f"x-zerog-{name.replace('_', '-')}".encode(), text.encode()))
    if judged:
        found.append((b"x-zerog-fee-unit", said["unit"].encode()))
    return found


def passed_on(headers: Mapping[str, str], kind: str = "") -> Headers:
    """What of an upstream's headers is shown: its id of the reply, and what kind of content it is.

    Args:
        headers: The upstream's.
        kind: The kind of content, where that does not need to be heard from it: clients read by it.
    """
    known = _CONTENT_TYPE.match(kind or headers.get("content-type", "").strip())
    found: Headers = [(b"content-type", known[1].lower().encode() if known else b"application/json")]
    for name in _PASSED_ON & headers.keys():
        if _PLAIN_VALUE.fullmatch(headers[name]):
            found.append((name.encode(), headers[name].encode()))
    return found


def _header_text(text: str) -> str:
    """`text` of a stranger in a header: what could end it, or is not ASCII, in per cent."""
    return quote(text[:300], safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~", errors="replace").strip()
