"""URLs: where a request goes, taken apart once per origin."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from zg_core.http.library import library
from zg_core.http.reach import LOOPBACK, objection
from zg_core.http.wires import Unsendable

__all__ = ["Target", "target_of"]

_PLAIN = re.compile(r"([a-z]+://[^/]*)(/[A-Za-z0-9\-._~!$&'()*+,;=:@/%?]*)")
_PORTS = {"http": 80, "https": 443}


class Target(NamedTuple):
    """Where a request goes.

    Attributes:
        origin: Scheme, host and port: what a connection is for.
        authority: The ``Host`` header.
        path: What follows the authority, query included.
    """

    origin: tuple[str, str, int]
    authority: bytes
    path: bytes

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine; nothing between may get to see what is said there."""
        host = self.origin[1].rstrip(".")
        return host == "localhost" or objection(host) == LOOPBACK


def target_of(url: str) -> Target:
    """Take a URL apart.

    Raises:
        Unsendable: it is none for HTTP, or names no host.

    Example:
        >>> target_of("http://localhost:8080/v1/models?x=1")
        Target(origin=('http', 'localhost', 8080), authority=b'localhost:8080', path=b'/v1/models?x=1')
    """
    if (found := _PLAIN.fullmatch(url)) is not None:  # as good as always: only the origin is looked up
        origin, host = _origin(found[1])
        return Target(origin, host, found[2].encode())
    origin, host = _origin(url)
    return Target(origin, host, _library_url(url).raw_path)


@lru_cache(maxsize=256)
def _origin(url: str) -> tuple[tuple[str, str, int], bytes]:
    parsed = _library_url(url)
    if parsed.scheme not in _PORTS:
        raise Unsendable(f"it is not http or https but {parsed.scheme!r}")
    if not parsed.host:
        raise Unsendable("it names no host")
    port = parsed.port or _PORTS[parsed.scheme]
    return (parsed.scheme, parsed.raw_host.decode("ascii").strip("[]"), port), parsed.netloc


def _library_url(url: str) -> Any:
    lib = library()
    try:
        return lib.URL(url)
    except (lib.InvalidURL, UnicodeError) as error:  # the last from "https://a..b"
        raise Unsendable(str(error)) from None
