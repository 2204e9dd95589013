"""Level 2: is the quote signed by genuine hardware, and how up to date is that? dcap-qvl decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from zg_core.verify.attestation.collateral import Collateral

__all__ = ["Hardware", "NotGenuine", "check", "installed"]


class NotGenuine(Exception):
    """The quote does not verify; the message says which part does not."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What is known of the platform: its TCB status and the advisories that apply."""

    status: str
    advisories: tuple[str, ...]


def installed() -> bool:
    """Whether dcap-qvl is there."""
    import importlib.util

    return importlib.util.find_spec("dcap_qvl") is not None


def check(quote: bytes, collateral: Collateral, now: datetime, root: bytes | None = None) -> Hardware:
    """Verify certificate chains, revocation, and the signatures of quoting enclave and quote.

    Args:
        quote: The whole quote.
        collateral: Of its platform.
        now: The time to verify at.
        root: A root certificate (DER) instead of Intel's.

    Raises:
        NotGenuine: a signature, certificate, revocation list or measurement does not hold at `now`.
    """
    import dcap_qvl

    try:
        parsed = dcap_qvl.QuoteCollateralV3.from_json(collateral.text)
        seconds = int(now.timestamp())
        if root is None:
            report = dcap_qvl.verify(quote, parsed, seconds)
        else:
            report = dcap_qvl.verify_with_root_ca(quote, parsed, root, seconds)
    except ValueError as error:
        raise NotGenuine(str(error)[:300]) from None
    return Hardware(report.status, tuple(report.advisory_ids))
