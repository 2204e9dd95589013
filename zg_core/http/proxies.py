"""The proxy before the network, as the environment names it: ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` and so on.

Read here rather than by the HTTP library: the forms that people write differ more than any library takes, and a setting
that is wrong has to name its variable, and must not stop what is said to this machine.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zg_core.http.urls import Target

__all__ = ["Proxies", "Proxy"]

_SCHEMES = ("http", "https", "all")
_HOST = re.compile(r"[A-Za-z0-9._~:-]+")
_WITH_PORT = re.compile(r"\[?([^\[\]]*?)\]?:([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy.

    Attributes:
        url: Its URL, which may hold a password.
        source: The variable that names it.
    """

    url: str = field(repr=False)
    source: str

    def checked(self) -> str:
        """Its URL.

        Raises:
            ConfigError: it is none.
        """
        try:
            parts = urlsplit(self.url)
            right = bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise self.refused("it is no URL of a host")
        return self.url

    def refused(self, why: object) -> ConfigError:
        """The error for a proxy that cannot be used."""
        scheme, separator, rest = self.url.partition("://")
        shown = f"{scheme}{separator}{rest.rpartition('@')[2]}"
        hint = "write http://host:port, or take the variable away"
        if scheme.lower().startswith("socks"):
            hint = "pip install socksio, name an http:// proxy, or take the variable away"
        message = f"{self.source}={shown!r} is no proxy that can be used: {why}"
        return ConfigError(message, code="bad_proxy", hint=f"{hint}; NO_PROXY names hosts that need none")


class Proxies:
    """Which proxy a request goes through; requests to this machine go through none.

    Args:
        environ: The variables; None for those of the process, or where it has none, the settings of the system.

    Example:
        >>> from zg_core.http.urls import target_of
        >>> proxies = Proxies({"https_proxy": "proxy:3128", "NO_PROXY": "10.0.0.0/8, .example.org, [::1]"})
        >>> proxies.of(target_of("https://provider.example/"))
        Proxy(source='https_proxy')
        >>> [proxies.of(target_of(url)) for url in ("https://10.1.2.3/", "https://a.example.org/", "http://b.example/")]
        [None, None, None]
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ
        self._proxies = {scheme: proxy for scheme in _SCHEMES if (proxy := _named(scheme, env)) is not None}
        self._exempt = list(_entries(env.get("no_proxy") or env.get("NO_PROXY") or ""))
        self._system = environ is None and not self._proxies
        if self._system:  # Windows and macOS; elsewhere it is the environment again
            for scheme, url in urllib.request.getproxies().items():
                if scheme in _SCHEMES and url:
                    self._proxies[scheme] = Proxy(url, f"the system's {scheme} proxy")

    def __bool__(self) -> bool:
        """Whether any is set."""
        return bool(self._proxies)

    def of(self, target: Target) -> Proxy | None:
        """The proxy for a request to `target`, None where it goes there directly."""
        scheme, host, port = target.origin
        proxy = self._proxies.get(scheme) or self._proxies.get("all")
        if proxy is None or target.loopback or self._exempts(host.rstrip(".").lower(), port):
            return None
        return None if self._system and urllib.request.proxy_bypass(host) else proxy

    def _exempts(self, host: str, port: int) -> bool:
        for entry, only in self._exempt:
            if only is not None and only != port:
                continue
            if entry in ("*", host) or host.endswith(f".{entry}") or _is_inside(host, entry):
                return True
        return False


def _named(scheme: str, env: Mapping[str, str]) -> Proxy | None:
    name = f"{scheme}_proxy"  # the lower case wins, as everywhere
    if name not in env and not (scheme == "http" and "REQUEST_METHOD" in env):  # a CGI's caller can set HTTP_PROXY
        name = name.upper()
    url = env.get(name, "").strip()
    return Proxy(url if "://" in url else f"http://{url}", name) if url else None


def _entries(words: str) -> Iterator[tuple[str, int | None]]:
    """Hosts, ends of names and nets of a ``NO_PROXY``, each with the only port it is about; junk matches nothing."""
    for word in re.split(r"[,;\s]+", words.lower()):
        entry = word.partition("://")[2].partition("/")[0] if "://" in word else word
        port = None
        if (entry.count(":") == 1 or "]:" in entry) and (found := _WITH_PORT.fullmatch(entry)):
            entry, port = found[1], int(found[2])
        entry = entry if entry == "*" else entry.replace("[", "").replace("]", "").lstrip("*.").rstrip(".")
        if entry:
            yield entry, port


def _is_inside(host: str, net: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(net, strict=False)
    except ValueError:
        return False
