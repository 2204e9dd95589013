"""Attestations of the providers that a backend uses: made before the first prompt, then kept for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from zg_core.verify.attestation import attest

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord
    from zg_core.verify.attestation import AttestationOptions, AttestationReport

__all__ = ["Attestations"]

# A broker's quote is made at boot and served from then on (0g-direct §6.2), so asking more often proves nothing more.
_LONGEST = timedelta(hours=1)


class Attestations:
    """One report for each (provider, signing keys), until its collateral ends or for an hour.

    A report that does not reach the level asked for is not kept: the next call tries again.

    Args:
        transport: HTTP.
        options: What is allowed and where evidence is looked up.
        clock: The time (UTC).
    """

    def __init__(
        self,
        transport: Transport,
        options: AttestationOptions | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transport = transport
        self._options = options
        self._clock = clock
        self._kept: dict[tuple[str, str, str], tuple[datetime, AttestationReport]] = {}

    async def report(self, service: ServiceRecord, level: int, model: str | None = None) -> AttestationReport:
        """The attestation of `service` to `level`; made now, once for all who wait for it, if none is kept."""
        key = (service.provider, service.tee_signer, service.signer)
        if (kept := self._valid(key, level)) is not None:
            return kept
        async with self._transport.lock(f"attest {service.provider}"):
            if (kept := self._valid(key, level)) is not None:
                return kept
            now = self._clock()
            report = await attest(service, self._transport, level=level, model=model, now=now, options=self._options)
            if report.satisfies(level):
                end = now + _LONGEST
                self._kept[key] = (end if report.expires_at is None else min(end, report.expires_at), report)
            return report

    def _valid(self, key: tuple[str, str, str], level: int) -> AttestationReport | None:
        end, report = self._kept.get(key, (None, None))
        if end is None or report is None or self._clock() >= end or not report.satisfies(level):
            return None
        return report
