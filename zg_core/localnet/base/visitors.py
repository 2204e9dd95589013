"""Who may ask a local network: programs of this machine, and web pages that this machine serves itself.

A browser sends requests of any page to 127.0.0.1. It says whose page it is (``Origin``, ``Sec-Fetch-Site``), and by
which name it came (``Host``): a name of the page's own that resolves to 127.0.0.1 now is DNS rebinding.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["objection"]


def objection(headers: Iterable[tuple[str, str]]) -> str:
    """Why a request with these headers is refused; "" where it is not.

    Example:
        >>> objection([("Host", "127.0.0.1:8545"), ("Origin", "http://localhost:3000")])
        ''
        >>> objection([("Host", "127.0.0.1:8545"), ("Origin", "https://evil.example")])
        'the local network answers no web page of another machine'
        >>> objection([("Host", "evil.example:8545")])
        'the local network answers to names of this machine only'
    """
    sites: list[str] = []
    has_origin = False
    for name, value in headers:
        match name.lower():
            case "host":
                if not _is_here(f"//{value}"):
                    return "the local network answers to names of this machine only"
            case "origin":
                has_origin = True
                if not value.startswith(("http://", "https://")) or not _is_here(value):
                    return "the local network answers no web page of another machine"
            case "sec-fetch-site":
                sites.append(value.strip().lower())
            case _:
                pass
    # A link, an image or a script of another page says no origin, but that it crosses sites.
    if not has_origin and any(site not in ("none", "same-origin") for site in sites):
        return "the local network answers no web page of another machine"
    return ""


def _is_here(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or parts.path or parts.query or parts.fragment:
        return False
    if host == "localhost" or host.endswith(".localhost"):  # browsers resolve these to this machine (RFC 6761)
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
