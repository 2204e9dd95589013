"""Fetching what an attestation needs, as a coroutine over a transport; `examine` decides."""

from __future__ import annotations

import json
import math
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote as url_quote

from zg_core.errors import ConfigError, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.refusals import retry_after
from zg_core.http.timeouts import Timeouts
from zg_core.types import PROXY
from zg_core.verify.attestation import dcap, gpu
from zg_core.verify.attestation.collateral import Collateral
from zg_core.verify.attestation.evidence import Evidence
from zg_core.verify.attestation.examining import Problem, examine, has_gpu, subjects
from zg_core.verify.attestation.options import AttestationOptions
from zg_core.verify.attestation.pccs import CollateralUnavailable, fetch, forget
from zg_core.verify.attestation.quote import MalformedEvidence, NoReport
from zg_core.verify.attestation.report import AttestationReport, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord

__all__ = ["attest"]

_MAX_BYTES = 8 * 1024 * 1024
_MAX_NRAS_BYTES = 1024 * 1024
MAX_SECONDS = 60.0  # for one piece of evidence, with all attempts; one that drips can stay below every other bound
_READ_SECONDS = 30.0
# A gateway that is busy, or says something of its own in place of the report, may be over in a moment.
_DELAYS = (0.3, 1.0)
_PASSING = (429, 502, 503, 504)


async def attest(
    service: ServiceRecord,
    transport: Transport,
    *,
    level: int = Level.DCAP,
    model: str | None = None,
    now: datetime | None = None,
    options: AttestationOptions | None = None,
    on_step: Callable[[str], None] | None = None,
    sealing: dict[str, str] | None = None,
) -> AttestationReport:
    """Fetch the evidence of `service` and examine it up to `level`.

    Bad or missing evidence raises nothing: it is in the report.

    Args:
        service: The chain record.
        transport: HTTP.
        level: How far to look; see `Level`.
        model: For a separate model enclave, the model to ask for; the service's own by default.
        now: The time to verify at (UTC), now by default.
        options: What is accepted, and where evidence is looked up.
        on_step: Told, in words, what is done next.
        sealing: Asks the broker for the quote that shows its encryption key; gets the headers that came with it.
    """
    options = options or AttestationOptions()
    now = now or datetime.now(UTC)
    tell = on_step or (lambda _: None)
    found: dict[str, Evidence | MalformedEvidence | Problem] = {}
    collateral: dict[str, Collateral | Problem] = {}
    nras: dict[str, gpu.Answer | Problem] = {}
    nonces: dict[str, str] = {}
    for subject in subjects(service) if level >= Level.BINDING else ():
        tell(f"asking the {subject} for its report")
        nonces[subject] = secrets.token_hex(32)
        path = _path_of(subject, model or service.model, nonces[subject])
        heard = sealing if subject == "broker" else None
        evidence = found[subject] = await _evidence(service, transport, path, heard)
        if not isinstance(evidence, Evidence):
            continue
        if level >= Level.DCAP and dcap.installed():
            tell(f"looking up what Intel says about the {subject}'s platform")
            collateral[subject] = await _collateral(evidence, transport, options, now)
        if level >= Level.GPU and has_gpu(service, subject) and gpu.bound(evidence):
            tell(f"asking NVIDIA about the {subject}'s GPU")
            nras[subject] = await _nras(evidence, transport, options, now)
    report = examine(
        service,
        found,
        level=level,
        now=now,
        options=options,
        collateral=collateral,
        nras=nras,
        nonces=nonces,
    )
    _drop_unfit(report, found, collateral, options)
    return report


def _path_of(subject: str, model: str, nonce: str) -> str:
    if subject == "broker":  # which takes no nonce (0g-direct §6.2)
        return "/v1/quote"
    return f"{PROXY}/attestation/report?model={url_quote(model, safe='', errors='replace')}&nonce={nonce}"


async def _evidence(
    service: ServiceRecord, transport: Transport, path: str, heard: dict[str, str] | None = None
) -> Evidence | MalformedEvidence | Problem:
    if heard is not None:
        path += "?legacy=false"
    try:
        request = provider_request("GET", service, path)
    except ConfigError as error:
        return Problem(str(error))
    deadline = time.monotonic() + MAX_SECONDS
    found: Evidence | MalformedEvidence | Problem = Problem("it takes too long")
    for delay in (*_DELAYS, math.inf):
        answer = await _get(transport, request, deadline)
        found = _read(answer)
        if heard is not None:
            heard.clear()
            heard.update(answer.headers)
        again = isinstance(found, NoReport) or answer.status in _PASSING
        pause = max(delay, answer.pause)
        if not again or time.monotonic() + pause >= deadline:
            break
        await transport.sleep(pause)
    return found


def _read(answer: _Answer) -> Evidence | MalformedEvidence | Problem:
    if isinstance(answer.body, Problem):
        return answer.body
    try:
        return Evidence.parse(answer.body)
    except MalformedEvidence as error:
        return error


async def _collateral(
    evidence: Evidence, transport: Transport, options: AttestationOptions, now: datetime
) -> Collateral | Problem:
    if isinstance(options.collateral, Collateral):
        return options.collateral
    try:
        return await fetch(transport, evidence.quote.raw, options.pccs_url, now, options.collateral_max_age)
    except CollateralUnavailable as error:
        return Problem(str(error))


def _drop_unfit(report: AttestationReport, found: Any, collateral: Any, options: AttestationOptions) -> None:
    """Forget collateral that was fetched, and with which a quote does not verify: the next look fetches it again."""
    for result in report.results:
        fetched = options.collateral is None and isinstance(collateral.get(result.subject), Collateral)
        if result.level == Level.DCAP and fetched and "tcb_status" not in result.evidence:
            forget(found[result.subject].quote.raw, options.pccs_url)


async def _nras(
    evidence: Evidence, transport: Transport, options: AttestationOptions, now: datetime
) -> gpu.Answer | Problem:
    if options.nras_url is None:
        return Problem("it is switched off")
    payload: dict[str, Any] = evidence.nvidia or {}
    deadline = time.monotonic() + MAX_SECONDS
    body, headers = json.dumps(payload).encode(), {"Content-Type": "application/json"}
    asking = Request("POST", options.nras_url, headers, body, public=False)
    answer = (await _get(transport, asking, deadline, _MAX_NRAS_BYTES)).body
    asking = Request("GET", options.nras_keys_url, public=False)
    keys = (await _get(transport, asking, deadline, _MAX_NRAS_BYTES)).body
    for part in (answer, keys):
        if isinstance(part, Problem):
            return part
    return gpu.judge(bytes(answer), bytes(keys), str(payload.get("nonce", "")), now)  # type: ignore[arg-type]


class _Answer(NamedTuple):
    """One answer: its status (0: there is none), its body or why there is none, and seconds to wait before the next."""

    status: int
    body: bytes | Problem
    pause: float = 0.0
    headers: Mapping[str, str] = {}


async def _get(transport: Transport, request: Request, deadline: float, limit: int = _MAX_BYTES) -> _Answer:
    left = deadline - time.monotonic()
    if left <= 0:
        return _Answer(0, Problem("it takes too long"))
    times = Timeouts(connect=min(10.0, left), read=min(_READ_SECONDS, left), whole=left)
    try:
        answer = await transport.send(replace(request, timeouts=times))
        body = await read_all(answer, limit, left)
    except (RequestError, BodyBroken) as error:
        return _Answer(0, Problem(str(error)))
    if answer.status != 200:
        problem = Problem(f"{request.url.partition('?')[0]} answered {answer.status}")
        return _Answer(answer.status, problem, retry_after(answer.headers) or 0.0)
    return _Answer(200, body, headers=answer.headers)
