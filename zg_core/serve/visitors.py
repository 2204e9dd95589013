"""Who may ask by name: programs and this server's own pages, by a name of this machine.

A browser sends requests of any page to 127.0.0.1. It says whose page it is (``Origin``, ``Sec-Fetch-Site``), and by
which name it came (``Host``): a name of a stranger's that resolves to 127.0.0.1 now is DNS rebinding. What is checked
here is not secret, so it stands in front of the token, not in its place.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["objection"]


def objection(headers: Iterable[tuple[bytes, bytes]], *, names: Collection[str] = (), beyond: bool = False) -> str:
    """Why a request with these headers is refused; "" where it is not.

    Args:
        headers: Names in lower case, as ASGI has them.
        names: Host names beside this machine's own.
        beyond: Whether the server listens beyond this machine: then it is asked by any address, too. A page that
            rebinds has a name, never an address.

    Example:
        >>> objection([(b"host", b"127.0.0.1:3000"), (b"origin", b"http://127.0.0.1:3000")])
        ''
        >>> objection([(b"host", b"127.0.0.1:3000"), (b"origin", b"https://evil.example")])
        'this server answers no web page but its own'
        >>> objection([(b"host", b"evil.example:3000")])
        'this server answers to names of this machine only'
    """
    hosts: list[str] = []
    origins: list[str] = []
    sites: list[str] = []
    for name, value in headers:
        if name == b"host":
            hosts.append(value.decode("latin-1").strip().lower())
        elif name == b"origin":
            origins.append(value.decode("latin-1").strip().lower())
        elif name == b"sec-fetch-site":
            sites.append(value.decode("latin-1").strip().lower())
    if len(hosts) != 1 or not _is_ours(hosts[0], names, beyond=beyond):
        return "this server answers to names of this machine only"
    if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
        return "this server answers no web page but its own"
    # A link, an image or a script of another page says no origin, but that it crosses sites.
    if not origins and any(site not in ("none", "same-origin") for site in sites):
        return "this server answers no web page but its own"
    return ""


def _is_ours(host: str, names: Collection[str], *, beyond: bool) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.netloc != host or parts.username is not None or parts.path or parts.query or parts.fragment:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in names:  # browsers keep these here (RFC 6761)
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or beyond
