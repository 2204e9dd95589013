"""Attestation of a gateway's enclave: its document is fetched over the pinned connection, and judged (§3.3)."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from zg_core.errors import RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.types import Kind
from zg_core.verify.attestation.nitro import MalformedDocument, NitroDocument, examine
from zg_core.verify.attestation.report import AttestationReport, Level, LevelResult, Outcome

if TYPE_CHECKING:
    from zg_core.backends.opengradient.options import OpenGradient
    from zg_core.backends.opengradient.registry import Enclave
    from zg_core.http.transport import Transport

__all__ = ["Attestations", "attested"]

_MOST_BYTES = 128 * 1024
_TIMEOUTS = Timeouts(connect=10.0, read=15.0, whole=30.0)
_NONCE_BYTES = 20
_KEPT = 3600.0
_NO_DOCUMENT = "the gateway serves no attestation document ({}); what is known of it is the registry's word"
_NO_IMAGES = "no images are named: OpenGradient(pcrs=[…]); it is the one that the registry names"


async def attested(
    enclave: Enclave, options: OpenGradient, transport: Transport, *, level: int, pin: str, private: bool
) -> AttestationReport:
    """What can be shown of an enclave, up to `level`."""
    now = datetime.now(UTC)
    facts = {"signer": enclave.tee_id, "url": enclave.endpoint, "pcr_hash": enclave.pcr_hash}
    active = "the registry lists the enclave, its key, certificate and image"
    results = [LevelResult(Level.CHAIN, Outcome.PASS, active, "chain", facts)]
    bodies: dict[str, bytes] = {}
    if level >= Level.BINDING:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        try:
            body = await _fetch(enclave, nonce, transport, pin=pin, private=private)
            bodies["gateway"] = body
            document = NitroDocument.parse(body)
        except (RequestError, BodyBroken, MalformedDocument) as error:
            said = error.message if isinstance(error, RequestError) else str(error)
            why = _NO_DOCUMENT.format(said)
            found = [LevelResult(Level(n), Outcome.UNAVAILABLE, why, "gateway") for n in range(1, 4)]
        else:
            images = options.pcrs or {enclave.pcr_hash}
            found = examine(
                document,
                now=now,
                nonce=nonce,
                certificate=enclave.certificate,
                public_key=enclave.public_key,
                pcr_hashes=images,
                root_sha256=options.nitro_root,
            )
            if options.pcrs is None:
                found = [_unnamed(each) for each in found]
        results += [each for each in found if each.level <= level]
        if level >= Level.GPU:
            results.append(LevelResult(Level.GPU, Outcome.NOT_APPLICABLE, "a gateway runs no model", "gateway"))
    ends = now + timedelta(seconds=_KEPT)
    return AttestationReport(enclave.tee_id, enclave.tee_id, Kind.TEE_TLS, now, tuple(results), ends, bodies)


def _unnamed(result: LevelResult) -> LevelResult:
    if result.level is not Level.CONFIG or result.outcome is not Outcome.PASS:
        return result
    return LevelResult(result.level, Outcome.UNAVAILABLE, _NO_IMAGES, result.subject, result.evidence)


async def _fetch(enclave: Enclave, nonce: bytes, transport: Transport, *, pin: str, private: bool) -> bytes:
    url = f"{enclave.endpoint}/enclave/attestation?nonce={nonce.hex()}"
    response = await transport.send(Request("GET", url, timeouts=_TIMEOUTS, public=not private, pin=pin))
    body = await read_all(response, _MOST_BYTES)
    if response.status != 200:
        raise RequestError(f"status {response.status}", code="no_attestation")
    return body


class Attestations:
    """One report for each enclave, for an hour; one that does not reach the level asked for is not kept.

    Args:
        options: What is accepted.
        transport: HTTP.
    """

    def __init__(self, options: OpenGradient, transport: Transport) -> None:
        self._options = options
        self._transport = transport
        self._kept: dict[str, tuple[float, AttestationReport]] = {}

    async def report(self, enclave: Enclave, level: int, *, pin: str, private: bool) -> AttestationReport:
        """The attestation of `enclave` to `level`; made now if none is kept."""
        key = enclave.tee_id + pin
        async with self._transport.lock(f"attest {enclave.tee_id}"):
            ends, report = self._kept.get(key, (0.0, None))
            if report is not None and time.monotonic() < ends and report.satisfies(level):
                return report
            report = await attested(enclave, self._options, self._transport, level=level, pin=pin, private=private)
            if report.satisfies(level):
                self._kept[key] = time.monotonic() + _KEPT, report
            return report
