"""Keys to which a prompt may be sealed: shown in a quote of genuine hardware, bound to the signer on chain (§10.3)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from zg_core.crypto import SignatureError, recover_personal_bytes, same_address
from zg_core.errors import AttestationError, VerificationUnavailable
from zg_core.sealing.envelopes import EnclaveKey
from zg_core.verify.attestation.attesting import attest
from zg_core.verify.attestation.evidence import Evidence
from zg_core.verify.attestation.quote import MalformedEvidence, read_report_data
from zg_core.verify.attestation.report import Level

if TYPE_CHECKING:
    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord
    from zg_core.verify.attestation.options import AttestationOptions
    from zg_core.verify.attestation.report import AttestationReport

__all__ = ["KEY_SECONDS", "SealingKeys"]

KEY_SECONDS = 300.0
"""For so long a key is used without another look (0g-router §10.3)."""
_OTHER = "choose another provider; a prompt is sealed to no key that is not proven"


class SealingKeys:
    """The keys of enclaves, each looked at before the first prompt, and again after five minutes.

    Args:
        transport: HTTP.
        level: How far the enclave must be attested, level 2 (genuine hardware) at the least.
        options: What is accepted, and where evidence is looked up.
        signed: Whether the key on chain must have signed the quote, below level 3: on genuine hardware anybody can
            start an enclave that shows a key of his own beside the signer's address.
    """

    def __init__(
        self, transport: Transport, level: int | None, options: AttestationOptions | None, *, signed: bool = True
    ) -> None:
        self._transport = transport
        self.level = max(level or 0, int(Level.DCAP))
        self._options = options
        self._signed = signed
        self._kept: dict[str, tuple[float, str, EnclaveKey, AttestationReport]] = {}

    async def of(self, service: ServiceRecord, model: str | None = None) -> tuple[EnclaveKey, AttestationReport]:
        """The key of a provider's enclave, and what is attested of it.

        Raises:
            AttestationError: the evidence does not hold: nothing may be sealed to it.
            VerificationUnavailable: it cannot be had.
        """
        if (kept := self._valid(service)) is not None:
            return kept
        async with self._transport.lock(f"sealing key {service.provider}"):
            if (kept := self._valid(service)) is not None:
                return kept
            began = time.monotonic()
            key, report = await self._look(service, model)
            self._kept[service.provider] = (began, service.tee_signer.lower(), key, report)
            return key, report

    def in_hand(self, provider: str) -> EnclaveKey | None:
        """The key that was looked at last; None if there is none."""
        kept = self._kept.get(provider)
        return None if kept is None else kept[2]

    def forget(self, provider: str) -> None:
        """Look again: the enclave says that it has another key."""
        self._kept.pop(provider, None)

    def _valid(self, service: ServiceRecord) -> tuple[EnclaveKey, AttestationReport] | None:
        kept = self._kept.get(service.provider)
        if kept is None or kept[1] != service.tee_signer.lower() or time.monotonic() - kept[0] > KEY_SECONDS:
            return None
        return kept[2], kept[3]

    async def _look(self, service: ServiceRecord, model: str | None) -> tuple[EnclaveKey, AttestationReport]:
        headers: dict[str, str] = {}
        report = await attest(
            service, self._transport, level=self.level, model=model, options=self._options, sealing=headers
        )
        if report.failed_by(self.level):
            said = f"no prompt is sealed to {service.provider}: {report.explain(self.level)}"
            raise AttestationError(said, code="attestation_failed", hint=_OTHER)
        if not report.satisfies(self.level):
            said = f"no prompt is sealed to {service.provider}: {report.explain(self.level)}"
            raise VerificationUnavailable(said, code="attestation_unavailable", hint=_OTHER)
        body = report.bodies.get("broker", b"")
        try:
            bound = read_report_data(Evidence.parse(body).quote.report_data)
        except MalformedEvidence as error:
            raise AttestationError(str(error), code="no_sealing_key", hint=_OTHER) from error
        # The older layout, whatever was asked for, cannot be told from a provider that was turned back.
        if bound.layout != "v1" or not same_address(bound.signer, service.tee_signer):
            said = f"the quote of {service.provider} shows no encryption key for the signer on chain"
            raise AttestationError(said, code="no_sealing_key", hint=_OTHER)
        if self._signed and self.level < Level.CONFIG and not _signed_by(service, body, headers):
            said = f"the key on chain did not sign the quote of {service.provider}, so it may be another enclave's"
            hint = "choose another provider; or attest=3 with the OS images and compose files that you believe in"
            raise AttestationError(said, code="quote_not_signed", hint=hint)
        return EnclaveKey(bytes.fromhex(bound.encryption_key), bound.signer), report


def _signed_by(service: ServiceRecord, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the signer on chain signed the whole answer (``ZG-Quote-Signature``, 0g-direct §6)."""
    signature = headers.get("zg-quote-signature", "")
    try:
        return same_address(recover_personal_bytes(body, signature), service.tee_signer)
    except SignatureError:
        return False
