"""Headers that a caller adds to a request: which ones may be, and none of those that we or HTTP itself need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zg_core.config import SecretHeaders
from zg_core.errors import ConfigError

__all__ = ["beside", "extra_headers"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# Who asks and pays, where to, and how the bytes are framed and coded: what is signed are these bytes.
_OURS = frozenset({
    "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type", "expect",
    "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
_REPLACING: Mapping[str, str] = {"accept": "Accept", "user-agent": "User-Agent"}
"""What every request has, as it is written there."""
_PAYMENT = ("payment", "x-payment", "x-upto-")


def extra_headers(given: object, name: str = "headers") -> Mapping[str, str]:
    """Headers to send beside our own.

    Args:
        given: Texts by name, or None.
        name: What the caller calls them, for the message.

    Raises:
        ConfigError: one of them is no header, or is ours to set (code ``bad_headers``). Values are not repeated: there
            may be a secret among them.

    Example:
        >>> extra_headers({"X-Team": "search"})
        SecretHeaders(X-Team)
    """
    if given is None:
        return SecretHeaders({})
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} is no mapping", code="bad_headers", hint=f'{name}={{"X-Name": "value"}}')
    for header, value in given.items():
        problem = _problem(header, value)
        if problem:
            raise ConfigError(f"{name}: {problem}", code="bad_headers", hint="take it out; see docs/chat-model.md")
    return SecretHeaders({_REPLACING.get(header.lower(), header): value for header, value in given.items()})


def beside(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Mapping[str, str]:
    """Headers of a client and of one call, which replace those of the same name, however it is written.

    Example:
        >>> beside(SecretHeaders({"X-Team": "search", "X-Run": "7"}), SecretHeaders({"x-team": "chat"}))
        SecretHeaders(X-Run, x-team)
    """
    if not theirs or not ours:
        return theirs or ours
    replaced = {name.lower() for name in theirs}
    return SecretHeaders({name: value for name, value in ours.items() if name.lower() not in replaced}, theirs)


def _problem(header: Any, value: Any) -> str:
    if not isinstance(header, str) or _NAME.fullmatch(header) is None:
        return f"{header!r} is no name of a header"
    if header.lower() in _OURS or header.lower().startswith(_PAYMENT):
        return f"{header} is ours to set"
    if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
        return f"the value of {header} is not plain text"
    return ""
