"""Which addresses a stranger's URL may lead to: those of the public internet, and no others.

Whoever registers a provider chooses its URL. Without this rule a record on chain makes the user's machine send requests
to itself, into its network or to a cloud's metadata service. The rule is pure: `check_host` judges what a URL says,
`reachable` what its name resolved to; only what `reachable` gives back may be dialled, because a name can resolve to
something else the next time.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LOOPBACK", "OWN_PROVIDERS", "OutOfReach", "check_host", "objection", "reachable"]

OWN_PROVIDERS = (
    "choose another provider; if you run this one yourself, or a VPN of yours gives names such addresses: "
    "allow_private_providers=True, ZEROG_ALLOW_PRIVATE_PROVIDERS=1 or --allow-private-providers"
)
"""The hint beside every refusal."""

LOOPBACK = "a loopback address"
"""What is said of this machine's own addresses."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is meant
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # all that is assigned to the internet so far
_NO_GLOBAL_V6 = tuple(
    ipaddress.IPv6Network(net)
    for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")  # Teredo and such, examples, 6to4, examples
)
_NO_GLOBAL_V4 = tuple(
    ipaddress.IPv4Network(net)
    for net in ("0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4")
)
_PRIVATE = tuple(
    ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")
)
_CARRIERS = ipaddress.IPv4Network("100.64.0.0/10")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: the last 32 bits are an IPv4 address
_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)")
# Names that never mean a machine on the internet (RFC 6761, 6762, 8375, ICANN's reservation of "internal", and what it
# never delegates because so many use it at home).
_OWN_NAMES = ("local", "internal", "home.arpa", "home", "corp", "lan")
_LOOPBACK_NAMES = ("localhost", "localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")


class OutOfReach(Exception):
    """The address may not be dialled for a stranger's URL; the text says why."""


def objection(address: str) -> str:
    """Why `address` is none of the public internet; "" if it is one.

    IPv4 addresses inside of IPv6 ones are looked at where the network translates them (NAT64), and refused in every
    other form.

    Args:
        address: An IPv4 or IPv6 address as text, with or without a zone.

    Example:
        >>> objection("169.254.169.254"), objection("fd00::1"), objection("64:ff9b::7f00:1"), objection("9.9.9.9")
        ('a link-local address', 'a private address', 'a loopback address', '')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no address"
    return _of_v4(parsed) if isinstance(parsed, ipaddress.IPv4Address) else _of_v6(parsed)


def _of_v4(address: ipaddress.IPv4Address) -> str:
    if (known := _kind(address)) is not None:
        return known
    if address in _CARRIERS:
        return "an address of a carrier's own network"
    return "a reserved address" if any(address in net for net in _NO_GLOBAL_V4) or not address.is_global else ""


def _of_v6(address: ipaddress.IPv6Address) -> str:
    inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64:
        return _of_v4(inner)
    if address.ipv4_mapped is not None:
        return "an IPv4 address in IPv6 form"
    if (known := _kind(address)) is not None:
        return known
    if address not in _GLOBAL_V6 or any(address in net for net in _NO_GLOBAL_V6):
        return "a reserved address"
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return _of_v4(inner)
    return ""


def _kind(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    if address.is_unspecified or address.is_loopback:
        return LOOPBACK
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    return "a private address" if any(address in net for net in _PRIVATE) else None


def check_host(host: str) -> None:
    """Refuse a host that is no public address or, by its name, no public machine.

    A name may still resolve to such an address; that is what `reachable` is for.

    Args:
        host: As in a URL, without brackets.

    Raises:
        OutOfReach: it is none.

    Example:
        >>> check_host("provider.example")
        >>> check_host("2130706433")
        Traceback (most recent call last):
        zg_core.http.reach.OutOfReach: a loopback address
    """
    name = host.strip("[]").lower().rstrip(".")
    if ":" in name:
        why = objection(name) if "%" not in name else "an address of one machine's own network"
    elif _NUMBER.fullmatch(name.rpartition(".")[2]):  # so it is an IPv4 address, in one of the forms that are around
        why = _objection_to_number(name)
    elif name.rpartition(".")[2] in _LOOPBACK_NAMES:
        why = LOOPBACK
    elif any(name == own or name.endswith(f".{own}") for own in _OWN_NAMES):
        why = "a private name"
    else:
        why = "" if name and "%" not in name else "no name"
    if why:
        raise OutOfReach(why)


def _objection_to_number(name: str) -> str:
    """Of ``127.0.0.1``, and also of ``127.1``, ``0x7f000001``, ``0177.0.0.1``, which resolvers take as well."""
    try:
        packed = socket.inet_aton(name)
    except (OSError, UnicodeError):
        return "no address"
    plain = str(ipaddress.IPv4Address(packed))
    return objection(plain) or ("" if plain == name else "an address in an unusual form")


def reachable(resolved: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those of the addresses that a stranger's name resolved to that may be dialled, in their order.

    Args:
        resolved: What ``getaddrinfo`` gave.

    Raises:
        OutOfReach: none may; the text names the first objection.
    """
    admitted: list[tuple[Any, ...]] = []
    why = ""
    for info in resolved:
        against = objection(str(info[4][0]))
        if not against:
            admitted.append(info)
        why = why or against
    if why and not admitted:
        raise OutOfReach(why)
    return admitted
