"""Requests to a URL that a chain names: checked where it is used, and dialled on the public internet only.

Nothing else in the package makes a request of a service's URL; a test reads the code for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from zg_core.config import check_url
from zg_core.http.messages import Request
from zg_core.http.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.types import ServiceRecord

__all__ = ["provider_request", "provider_url"]


@lru_cache(maxsize=1024)
def provider_url(url: str, provider: str, private: bool) -> str:
    """The URL of a provider's record, if requests may be sent there; the same answer for the same words.

    Raises:
        ConfigError: as `check_url`.
    """
    return check_url(url, f"the URL of provider {provider}", private=private)


def provider_request(
    method: str,
    service: ServiceRecord,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeouts: Timeouts | None = None,
    once: bool = False,
) -> Request:
    """A request to the provider of a service.

    Args:
        method: ``"GET"`` or ``"POST"``.
        service: Its record.
        path: What follows the record's URL, with a query where there is one.
        headers: Headers, which may hold a token.
        body: Body.
        timeouts: How long it may take.
        once: Whether repeating it may cost money.

    Raises:
        ConfigError: the URL is none that may be used (codes ``bad_url``, ``insecure_url``).
    """
    private = service.private
    base = provider_url(service.url, service.provider, private)
    return Request(method, base + path, headers or {}, body, timeouts or Timeouts(), once, public=not private)
