"""What any refusal says: its text, how long to wait, and which statuses leave the outcome open."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from zg_core.jsontext import parse_json
from zg_core.redaction import blot

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GATEWAY", "error_text", "retry_after"]

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")
_RESET = re.compile(
    r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]+)?)s)?(?:([0-9]{1,9}(?:\.[0-9]+)?)ms)?"
)
_WAIT = re.compile(r"wait ([0-9]{1,9}) seconds")


GATEWAY = frozenset({502, 504})
"""Statuses of a gateway that had no answer from the provider behind it, which may go on and bill."""


def error_text(body: bytes) -> str:
    """The message inside an error body: ``error`` may be a text or an object (0g-direct §4.6). Tokens are blotted."""
    try:
        value = parse_json(body)
    except (ValueError, RecursionError):
        return blot(body.decode("utf-8", "replace").strip()[:2000])[:500]
    error = (value.get("error") or value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        error = error.get("message") or json.dumps(error)
    return blot(str(error))[:2000]


def retry_after(headers: Mapping[str, str], text: str = "") -> float | None:
    """Seconds to wait, from ``Retry-After``, the rate-limit reset headers, or the message; never negative."""
    if _SECONDS.fullmatch(value := headers.get("retry-after", "").strip()):
        return float(value)
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


def _duration(value: str) -> float | None:
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    match = _RESET.fullmatch(value)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
