"""Whether reported token counts can be true of the bytes that went to and fro.

A provider signs its own count and bills by it, so no signature shows an inflated one. But a token is at least a byte,
and nobody can answer with more than was allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.jsontext import parse_json
from zg_core.pricing import PROMPT_ALLOWANCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.types import Usage

__all__ = ["USAGE_IMPLAUSIBLE", "implausible"]

USAGE_IMPLAUSIBLE = "usage_implausible"
"""The word among a receipt's flags."""

_LIMITS = ("max_completion_tokens", "max_tokens")
# Content that a request may name by address only, so that its bytes are not among those sent.
_BY_ADDRESS = (b'"image_url"', b'"file"', b'"video_url"', b'"audio_url"', b'"file_id"')


def implausible(usage: Usage | None, request: bytes, response_size: int) -> str:
    """Why `usage` cannot be true, "" if it can.

    Args:
        usage: The counts reported; None is what a provider that reports none has.
        request: The body sent, JSON.
        response_size: Bytes received.

    Example:
        >>> from zg_core.types import Usage
        >>> implausible(Usage(9, 7), b'{"max_tokens":5}', 400)
        '7 completion tokens, where the request allows 5'
    """
    if usage is None:
        return ""
    if usage.cached_tokens > usage.prompt_tokens:
        return f"{usage.cached_tokens} cached tokens, of {usage.prompt_tokens} prompt tokens"
    if usage.prompt_tokens > len(request) + PROMPT_ALLOWANCE and not any(name in request for name in _BY_ADDRESS):
        return f"{usage.prompt_tokens} prompt tokens, of {len(request)} bytes sent"
    if usage.completion_tokens > response_size:
        return f"{usage.completion_tokens} completion tokens, of {response_size} bytes received"
    allowed = min(_allowed(request), default=usage.completion_tokens)
    if usage.completion_tokens > allowed:
        return f"{usage.completion_tokens} completion tokens, where the request allows {allowed}"
    return ""


def _allowed(request: bytes) -> Iterator[int]:
    if not any(name.encode() in request for name in _LIMITS):
        return
    try:
        payload: Any = parse_json(request)
    except (ValueError, RecursionError):
        return
    for name in _LIMITS if isinstance(payload, dict) else ():
        limit = payload.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            yield limit
