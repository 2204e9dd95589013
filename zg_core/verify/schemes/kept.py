"""Schemes by name: each makes a verdict again from what a receipt kept, and from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zg_core.verify.schemes.signed_hashes import SignatureDocument, examine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.exchange import Exchange
    from zg_core.types import Service
    from zg_core.verify.verdict import Verdict

__all__ = ["SCHEMES", "Scheme", "scheme_of"]


class Scheme(Protocol):
    """Makes a verdict again.

    It takes the exchange that the receipt is about, the record to measure against, the verdict that was kept, with its
    evidence, and the renames that the receipt's owner accepted.
    """

    def __call__(
        self, exchange: Exchange, service: Service, kept: Verdict, accept_models: Mapping[str, str] | None
    ) -> Verdict:
        """The verdict that the evidence gives."""
        ...


def signed_hashes(
    exchange: Exchange, service: Service, kept: Verdict, accept_models: Mapping[str, str] | None
) -> Verdict:
    """A key on chain signed two hashes, and for TeeTLS a routing proof (0g-direct §5.3)."""
    parts = kept.signed_text.split(":")
    routing = parts[2:] if len(parts) == 5 else []
    document = SignatureDocument(kept.signed_text, kept.signature, *routing)
    return examine(exchange, service, document, accept_models=accept_models)


SCHEMES: Mapping[str, Scheme] = {"signed_hashes": signed_hashes}
# The first version of receipts names no scheme; each backend that it knows has one.
_OF_BACKENDS = {"direct": "signed_hashes"}


def scheme_of(backend: str) -> Scheme | None:
    """The scheme of a backend's receipts; None if none is known here.

    Example:
        >>> scheme_of("direct") is SCHEMES["signed_hashes"], scheme_of("nobody")
        (True, None)
    """
    return SCHEMES.get(_OF_BACKENDS.get(backend, ""))
