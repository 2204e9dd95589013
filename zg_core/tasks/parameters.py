"""Which names a request may hold: OpenAI's parameters, and never a setting of the client, whose place is elsewhere."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from zg_core.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHAT", "EMBEDDINGS", "REQUEST_OPTIONS", "refuse_settings", "setting_named"]

CHAT = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "messages", "metadata", "modalities", "model", "moderation", "n", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
    "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options",
    "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
})  # fmt: skip
"""The parameters of OpenAI's chat API."""
EMBEDDINGS = frozenset({"dimensions", "encoding_format", "input", "model", "user"})
"""The parameters of OpenAI's embeddings API."""
REQUEST_OPTIONS = frozenset({"extra_body", "extra_headers", "extra_query", "timeout"})
"""What the official client takes beside the parameters of a call, and does not send as such."""

# A request may hold these names of settings, with such a value: then they are OpenAI's.
_SHARED: dict[str, type] = {"model": str, "store": bool, "stream": bool}
# In what people write and in schemas, names are the user's own.
_SHAPED = frozenset({"function_call", "functions", "input", "messages", "response_format", "tool_choice", "tools"})
_KEY = re.compile("(0x|0X)?[0-9a-fA-F]{64}")
_HOLDING = (dict, list, tuple)
_MOST = 10_000  # values that are looked into: what refers to itself comes to an end
_OPENAIS = (CHAT | EMBEDDINGS) - set(_SHARED)


def setting_named(name: object, value: object, settings: frozenset[str]) -> str | None:
    """The setting of the client that `name` means, in whichever spelling; None where it is none.

    Example:
        >>> setting_named("privateKey", "0x…", frozenset({"private_key"}))
        'private_key'
        >>> setting_named("store", True, frozenset({"store"})) is None  # OpenAI's
        True
    """
    own = _spellings(settings).get(_plain(str(name)))
    if own in _SHARED and (value is None or isinstance(value, _SHARED[own])):
        return None
    return own


def refuse_settings(body: Mapping[str, Any], settings: frozenset[str], place: str = "the request") -> None:
    """Refuse parameters among which there is a setting of the client: the provider would read it.

    Further down, in dictionaries and lists of parameters, names may mean anything; but what is called ``private_key``
    and is one is meant for nobody.

    Args:
        body: Parameters of a request.
        settings: Names of the client's settings.
        place: What holds them, for the message.

    Raises:
        ArgumentError: there is one (code ``setting_in_request``); nothing was sent.
    """
    for name, value in body.items():
        if value.__class__ in _HOLDING and name not in _SHAPED and (hidden := _private_key_in(value)) is not None:
            raise ArgumentError(
                f"{name} in {place} holds {hidden!r}, which the provider would read: it is a setting of the client",
                code="setting_in_request",
                hint="give private_key=… where the client or model is made",
            )
        if name in _OPENAIS or (name in _SHARED and value.__class__ is _SHARED[name]):
            continue
        if setting_named(name, value, settings) is not None:
            raise ArgumentError(
                f"{place} holds {name!r}, which the provider would read: it is a setting of the client",
                code="setting_in_request",
                hint=f"give {setting_named(name, value, settings)}=… where the client or model is made",
            )


def _private_key_in(value: Any) -> str | None:
    """The name under which a dictionary in `value` holds a private key."""
    left, seen = [value], 0
    while left and seen < _MOST:
        each, seen = left.pop(), seen + 1
        if isinstance(each, dict):
            for name, inner in each.items():
                if _plain(str(name)) == "privatekey" and isinstance(inner, str) and _KEY.fullmatch(inner.strip()):
                    return str(name)
            left += each.values()
        elif isinstance(each, list | tuple):
            left += each
    return None


@cache
def _spellings(settings: frozenset[str]) -> dict[str, str]:
    return {_plain(name): name for name in (*settings, *REQUEST_OPTIONS)}


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
