"""The HTTP library beside us: httpx2, or httpx where only that is installed or ``ZEROG_HTTP_LIBRARY=httpx`` asks.

It carries what goes through a proxy or a client that the user gives, reads URLs and knows the system's authorities.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["leaf_sha256", "library", "library_of", "ssl_context"]

_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@cache
def library() -> Any:
    """The HTTP library in use: module httpx2, or httpx."""
    names = ["httpx"] if os.environ.get("ZEROG_HTTP_LIBRARY") == "httpx" else ["httpx2", "httpx"]
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ModuleNotFoundError("neither httpx2 nor httpx is installed: pip install httpx2")


@cache
def ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """The TLS settings for the system's authorities, or for `ca_file`; shared, since making one costs about 20 ms.

    Raises:
        ConfigError: there is none in the file, nor in the one that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names.
    """
    import ssl

    named, place = f"ca_file={ca_file!r}", ca_file
    try:
        if ca_file is None:
            named, place = next(
                ((f"{name}={path!r}", path) for name in _CA_VARIABLES if (path := os.environ.get(name))), ("", None)
            )
            context: ssl.SSLContext = library().create_ssl_context()
            if named.startswith("SSL_CERT_DIR") and place is not None and not os.path.isdir(place):  # noqa: PTH112
                raise FileNotFoundError("there is no such directory")
        else:
            context = ssl.create_default_context(cafile=ca_file)
        context.set_alpn_protocols(["http/1.1"])
        return context
    except (OSError, ValueError) as error:
        if place is None:
            raise
        reason, hint = str(error), "give the path of a PEM file"
    hint += "" if ca_file is not None else ", or take the variable away: the system's authorities count then"
    raise ConfigError(f"{named} holds no certificate authority: {reason}", code="bad_ca_file", hint=hint)


def leaf_sha256(response: Any) -> str:
    """SHA-256 of the leaf certificate of the connection that carries `response`, "" for plain http."""
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = tls.getpeercert(True) if tls is not None else None
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


def library_of(client: Any, kind: str) -> Any:
    """The module that made `client`; it need not be the one we use ourselves."""
    for base in type(client).__mro__:
        name = base.__module__.partition(".")[0]
        if name in ("httpx", "httpx2") and isinstance(client, getattr(importlib.import_module(name), kind)):
            return importlib.import_module(name)
    raise ConfigError(
        f"a {type(client).__name__} is given where an httpx2.{kind} (or httpx.{kind}) is needed",
        code="bad_http_client",
        hint="blocking calls take a Client, asynchronous ones an AsyncClient",
    )
