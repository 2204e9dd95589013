"""What any refusal says: its text, how long to wait, and whether the request may have been served all the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from zg_core.errors import NEVER_REACHED
from zg_core.jsontext import parse_json
from zg_core.shown.redaction import blot

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["error_text", "fate_of", "retry_after"]

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")
_RESET = re.compile(
    r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]+)?)s)?(?:([0-9]{1,9}(?:\.[0-9]+)?)ms)?"
)
_WAIT = re.compile(r"wait ([0-9]{1,9}) seconds")


# What a server answers instead of serving (RFC 9110 §15.5, RFC 6585): it did not like the request, or has no time.
_REFUSED = frozenset(
    {
        400,
        401,
        402,
        403,
        404,
        405,
        406,
        407,
        409,
        410,
        411,
        412,
        413,
        414,
        415,
        416,
        417,
        421,
        422,
        425,
        426,
        428,
        429,
        431,
    }
    | {451, 503}
)
_PAGE = re.compile(rb"\A\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]*>([^<]{1,1000})", re.IGNORECASE)
_DATE = re.compile(r"[A-Za-z]{3,9},? [0-9A-Za-z: +-]{8,40}")


def fate_of(status: int) -> Literal["refused", "unreached", "unknown"]:
    """What became of a request that was answered with `status`, which is no success.

    ``"refused"``: whoever answered says that it serves nothing. ``"unreached"``: a content network in front could not
    connect to the server. All else may come from something in between, while the server behind it goes on and bills:
    500, 502, 504, 408, 499, 520, 524, 529, and whatever status nobody knows.

    Example:
        >>> fate_of(429), fate_of(522), fate_of(524), fate_of(599)
        ('refused', 'unreached', 'unknown', 'unknown')
    """
    if status in _REFUSED or 300 <= status < 400:
        return "refused"
    return "unreached" if status in NEVER_REACHED else "unknown"


def error_text(body: bytes) -> str:
    """The message inside an error body: ``error`` may be a text or an object (0g-direct §4.6). Tokens are blotted."""
    try:
        value = parse_json(body)
    except (ValueError, RecursionError):
        if _PAGE.match(body[:10_000]) is not None:
            title = _TITLE.search(body[:10_000])
            words = " ".join(title[1].decode("utf-8", "replace").split())[:200] if title else ""
            return blot(f"a web page, {words!r}" if words else "a web page")
        return blot(body.decode("utf-8", "replace").strip()[:2000])[:500]
    error = (value.get("error") or value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        error = error.get("message") or json.dumps(error)
    return blot(str(error))[:2000]


def retry_after(headers: Mapping[str, str], text: str = "") -> float | None:
    """Seconds to wait, from ``Retry-After``, the rate-limit reset headers, or the message; never negative.

    ``Retry-After`` is a number of seconds or a date (RFC 9110 §10.2.3); some servers give ``retry-after-ms`` beside it,
    which is finer.

    Example:
        >>> retry_after({"retry-after": "Wed, 21 Oct 2026 07:28:05 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"})
        5.0
    """
    if _SECONDS.fullmatch(value := headers.get("retry-after-ms", "").strip()):
        return float(value) / 1000
    if _SECONDS.fullmatch(value := headers.get("retry-after", "").strip()):
        return float(value)
    if (until := _moment(value)) is not None:
        # By the server's own clock where it shows it: ours may be minutes off.
        now = _moment(headers.get("date", "")) or datetime.now(UTC)
        ahead = (until - now).total_seconds()
        return max(0.0, ahead) if ahead > -86_400 else None
    waits = [
        seconds
        for name, value in headers.items()
        if name.startswith("x-ratelimit-reset")
        and headers.get(name.replace("reset", "remaining"), "0") == "0"
        and (seconds := _duration(value)) is not None
    ]
    if waits:
        return max(waits)
    match = _WAIT.search(text)
    return float(match[1]) if match else None


def _moment(value: str) -> datetime | None:
    """The time that an HTTP date says; None if it is none."""
    if _DATE.fullmatch(value.strip()) is None:
        return None
    from email.utils import parsedate_to_datetime  # with much behind it, and dates are rare

    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _duration(value: str) -> float | None:
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    match = _RESET.fullmatch(value)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
