"""TLS to exactly one certificate: compared byte for byte in the handshake, before the first byte of a request leaves.

Nothing else of it counts, as where a registry lists addresses without names: no authority, no host name. Trusting the
certificate instead would not do: one that may sign others vouches for any that its key has signed (opengradient §2.1).
"""

from __future__ import annotations

import hashlib
import ssl
from functools import lru_cache
from typing import Any

__all__ = ["pinned_context"]


class _Pinned:
    """Compares what the server shows with the pin of its context once the handshake is through."""

    def do_handshake(self, *arguments: Any) -> None:
        super().do_handshake(*arguments)  # type: ignore[misc]
        shown = self.getpeercert(True)  # type: ignore[attr-defined]
        if not shown or hashlib.sha256(shown).hexdigest() != self.context.pin:  # type: ignore[attr-defined]
            raise ssl.SSLCertVerificationError("the server shows another certificate than the one it is known by")


class _PinnedSocket(_Pinned, ssl.SSLSocket):
    pass


class _PinnedObject(_Pinned, ssl.SSLObject):
    pass


class _Context(ssl.SSLContext):
    sslsocket_class = _PinnedSocket
    sslobject_class = _PinnedObject
    pin: str


@lru_cache(maxsize=1024)
def pinned_context(certificate_sha256: str) -> ssl.SSLContext:
    """TLS settings for connections to whoever shows the certificate with this SHA-256 (lower-case hex).

    Example:
        >>> pinned_context("ab" * 32).check_hostname
        False
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the comparison is all there is, and it is stricter
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.pin = certificate_sha256
    context.set_alpn_protocols(["http/1.1"])
    return context
