"""Whether reported token counts can be true of the bytes that went to and fro.

A provider signs its own count and bills by it, so no signature shows an inflated one. But a token is at least a byte,
and nobody can answer with more than was allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.pricing import PROMPT_ALLOWANCE, Asked

if TYPE_CHECKING:
    from zg_core.types import Usage

__all__ = ["USAGE_IMPLAUSIBLE", "implausible"]

USAGE_IMPLAUSIBLE = "usage_implausible"
"""The word among a receipt's flags."""

# Content that a request may name by address only, so that its bytes are not among those sent.
_BY_ADDRESS = (b'"image_url"', b'"file"', b'"video_url"', b'"audio_url"', b'"file_id"')
_BY_ADDRESS_TOKENS = 4_000_000  # no model reads more


def implausible(usage: Usage | None, request: bytes, response_size: int, asked: Asked | None = None) -> str:
    """Why `usage` cannot be true, "" if it can.

    Args:
        usage: The counts reported; None is what a provider that reports none has.
        request: The body sent, JSON.
        response_size: Bytes received.
        asked: What `request` says of the length of its answer, where that was read already.

    Example:
        >>> from zg_core.types import Usage
        >>> implausible(Usage(9, 7), b'{"max_tokens":5}', 400)
        '7 completion tokens, where the request allows 5'
    """
    if usage is None:
        return ""
    asked = asked or Asked.read(request)
    if usage.images > asked.images:
        return f"{usage.images} images, where {asked.images} were asked for"
    if usage.seconds > asked.seconds:
        return f"{usage.seconds} seconds, of a recording of at most {asked.seconds}"
    if usage.cached_tokens > usage.prompt_tokens:
        return f"{usage.cached_tokens} cached tokens, of {usage.prompt_tokens} prompt tokens"
    more = usage.prompt_tokens - asked.size - PROMPT_ALLOWANCE
    if more > 0 and (more > _BY_ADDRESS_TOKENS or not any(name in request for name in _BY_ADDRESS)):
        return f"{usage.prompt_tokens} prompt tokens, of {asked.size} bytes sent"
    if usage.completion_tokens > response_size:
        return f"{usage.completion_tokens} completion tokens, of {response_size} bytes received"
    if asked.strictest is not None and usage.completion_tokens > (allowed := asked.strictest * asked.choices):
        return f"{usage.completion_tokens} completion tokens, where the request allows {allowed}"
    return ""
