"""Requests to a URL that a chain names: checked where it is used, and dialled on the public internet only.

Nothing else in the package makes a request of a service's URL; a test reads the code for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.config import check_url
from zg_core.http.messages import Request
from zg_core.http.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["provider_request"]


def provider_request(
    method: str,
    url: str,
    path: str,
    *,
    provider: str,
    private: bool,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeouts: Timeouts | None = None,
    once: bool = False,
) -> Request:
    """A request to a provider.

    Args:
        method: ``"GET"`` or ``"POST"``.
        url: The URL of its record.
        path: What follows it, with a query where there is one.
        provider: Whose it is, for errors.
        private: Whether it may be on this machine or in a private network (`Network.private_providers`).
        headers: Headers, which may hold a token.
        body: Body.
        timeouts: How long it may take.
        once: Whether repeating it may cost money.

    Raises:
        ConfigError: the URL is none that may be used (codes ``bad_url``, ``insecure_url``).
    """
    base = check_url(url, f"the URL of provider {provider}", private=private)
    return Request(method, base + path, headers or {}, body, timeouts or Timeouts(), once, public=not private)
