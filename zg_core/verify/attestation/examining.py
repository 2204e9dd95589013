"""The levels of an attestation, each decided from bytes that are given (0g-direct §6.5). No I/O."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from zg_core.config import check_url
from zg_core.crypto import same_address
from zg_core.errors import ConfigError
from zg_core.types import Kind
from zg_core.verify.attestation import dcap, gpu
from zg_core.verify.attestation.compose import composition_of
from zg_core.verify.attestation.events import compose_hash_of, foreign_events, replay, wrong_digests
from zg_core.verify.attestation.quote import MalformedEvidence, NoReport, read_report_data
from zg_core.verify.attestation.report import AttestationReport, Level, LevelResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from zg_core.types import ServiceRecord
    from zg_core.verify.attestation.collateral import Collateral
    from zg_core.verify.attestation.evidence import Evidence
    from zg_core.verify.attestation.options import AttestationOptions
    from zg_core.verify.attestation.quote import TdxQuote

__all__ = ["Problem", "binding", "chain", "config", "examine", "graphics", "hardware", "has_gpu", "subjects", "system"]

_LOCK_STEP = "the quote holds no nonce of ours: it is as fresh as the key, not as this moment"
# What dcap-qvl says when the collateral is to blame.
_UNFIT = (
    "Fmspc mismatch",
    "issue date is in the future",
    "Signature is invalid for tcb_info",
    "Signature is invalid for qe_identity",
    "Certificate chain is too short for TCB Info",
    "Certificate chain is too short for QE Identity",
)
_INSTALL = "dcap-qvl is not installed: pip install 'zerog-integrations[attestation]'"


class Problem(str):
    """Why evidence could not be had, in place of the evidence."""

    __slots__ = ()


def subjects(service: ServiceRecord) -> tuple[str, ...]:
    """Whose evidence there must be: the broker's, and the model enclave's where that is another one."""
    if service.kind is Kind.STANDARD:
        return ()
    return ("broker", "model") if service.kind is Kind.TEE_ML_SEPARATED else ("broker",)


def has_gpu(service: ServiceRecord, subject: str) -> bool:
    """Whether the model runs in that enclave: not at a vendor, and not in another enclave behind it."""
    return service.kind is not Kind.TEE_TLS and subject == subjects(service)[-1]


def examine(
    service: ServiceRecord,
    evidence: Mapping[str, Evidence | MalformedEvidence | Problem],
    *,
    level: int,
    now: datetime,
    options: AttestationOptions,
    collateral: Mapping[str, Collateral | Problem] | None = None,
    nras: Mapping[str, gpu.Answer | Problem] | None = None,
    nonces: Mapping[str, str] | None = None,
) -> AttestationReport:
    """Everything that the evidence shows, up to `level`.

    Args:
        service: The chain record to measure against.
        evidence: By subject: ``"broker"``, ``"model"``.
        level: The highest level to look at.
        now: The time to verify at (UTC).
        options: What is accepted.
        collateral: For level 2, by subject.
        nras: For level 4, NVIDIA's answers by subject.
        nonces: What the reports were asked with (hex), by subject; a quote that holds it was made for this request.
    """
    results = [chain(service)]
    platforms, answers = collateral or {}, nras or {}
    for subject in subjects(service):
        found = evidence.get(subject, Problem("it was not asked for"))
        if level >= Level.BINDING:
            results.append(binding(found, service, subject, (nonces or {}).get(subject, "")))
        if level >= Level.DCAP:
            results.append(hardware(found, platforms.get(subject), options, now, subject))
        if level >= Level.CONFIG:
            results += [config(found, options, subject), system(found, options, subject)]
        # where the model has an enclave of its own, there is no GPU behind the broker
        if level >= Level.GPU and subject == subjects(service)[-1]:
            results.append(graphics(found, answers.get(subject), service, subject))
    if service.kind is Kind.STANDARD:
        reason = "this service claims no enclave"
        results += [LevelResult(Level(n), Outcome.NOT_APPLICABLE, reason, "chain") for n in range(1, level + 1)]
    results.sort(key=lambda result: result.level)
    bodies = {subject: each.raw for subject, each in evidence.items() if hasattr(each, "raw")}
    ends = [_end(each, options) for each in platforms.values() if not isinstance(each, Problem)]
    end = min(ends, default=None)
    return AttestationReport(service.provider, service.signer, service.kind, now, tuple(results), end, bodies)


def _end(collateral: Collateral, options: AttestationOptions) -> datetime:
    """Until when collateral counts."""
    if options.collateral_max_age is None:
        return collateral.expires_at
    return min(collateral.expires_at, collateral.issued_at + options.collateral_max_age)


def chain(service: ServiceRecord) -> LevelResult:
    """Level 0: the record itself."""
    facts = {"signer": service.signer, "kind": str(service.kind), "acknowledged": service.acknowledged}
    facts["url"] = service.url
    if service.kind is not Kind.STANDARD and not service.signer:
        return LevelResult(Level.CHAIN, Outcome.FAIL, "the record names no signing key", "chain", facts)
    if not service.acknowledged:
        reason = "the contract owner has not acknowledged the signing key"
        return LevelResult(Level.CHAIN, Outcome.FAIL, reason, "chain", facts)
    try:
        check_url(service.url, "the provider's URL", private=service.private)
    except ConfigError as error:
        return LevelResult(Level.CHAIN, Outcome.FAIL, str(error), "chain", facts)
    reason = "the record names an acknowledged signing key"
    if service.kind is Kind.TEE_TLS:
        reason += "; the vendor that answers is outside the enclave, which only vouches for the connection to it"
    return LevelResult(Level.CHAIN, Outcome.PASS, reason, "chain", facts)


def _missing(found: object, level: Level, subject: str) -> LevelResult | None:
    if isinstance(found, Problem | NoReport):
        return LevelResult(level, Outcome.UNAVAILABLE, f"no report of the {subject}: {found}", subject)
    if isinstance(found, MalformedEvidence):
        return LevelResult(level, Outcome.FAIL, f"the report of the {subject} is malformed: {found}", subject)
    return None


def binding(
    found: Evidence | MalformedEvidence | Problem, service: ServiceRecord, subject: str, nonce: str = ""
) -> LevelResult:
    """Level 1: the quote names the key on chain, and is of no debug enclave."""
    if (missing := _missing(found, Level.BINDING, subject)) is not None:
        return missing
    evidence: Any = found
    quote = evidence.quote
    facts: dict[str, Any] = {
        "report_data": quote.report_data.hex(),
        "mr_td": quote.mr_td.hex(),
        "rtmrs": [register.hex() for register in quote.rtmrs],
        "os_image": list(_os_image(quote)),
        "debug": quote.debug,
    }

    def end(outcome: Outcome, reason: str) -> LevelResult:
        return LevelResult(Level.BINDING, outcome, reason, subject, facts)

    if quote.debug:
        return end(Outcome.FAIL, "the debug bit is set: the host can read the enclave's memory")
    try:
        bound = read_report_data(quote.report_data)
    except MalformedEvidence as error:
        return end(Outcome.FAIL, str(error))
    expected = service.signer if subject == "model" else service.tee_signer
    facts |= {"layout": bound.layout, "bound_signer": bound.signer, "expected_signer": expected}
    if not same_address(bound.signer, expected):
        return end(Outcome.FAIL, f"the quote is of {bound.signer}, the key on chain is {expected}")
    facts |= {"nonce": bound.nonce} if bound.nonce else {}
    facts["fresh"] = bool(nonce) and bound.nonce == nonce
    reason = "it was made for this request" if facts["fresh"] else _LOCK_STEP
    return end(Outcome.PASS, f"the quote names the key on chain; {reason}")


def hardware(
    found: Evidence | MalformedEvidence | Problem,
    collateral: Collateral | Problem | None,
    options: AttestationOptions,
    now: datetime,
    subject: str,
) -> LevelResult:
    """Level 2: signatures, revocation and TCB status."""
    if (missing := _missing(found, Level.DCAP, subject)) is not None:
        return missing
    evidence: Any = found

    def end(outcome: Outcome, reason: str, **facts: Any) -> LevelResult:
        return LevelResult(Level.DCAP, outcome, reason, subject, facts)

    if not dcap.installed():
        return end(Outcome.UNAVAILABLE, _INSTALL)
    if collateral is None or isinstance(collateral, Problem):
        return end(Outcome.UNAVAILABLE, f"no collateral: {collateral or 'none was given'}")
    if options.collateral_max_age is not None and now - collateral.issued_at > options.collateral_max_age:
        reason = f"the collateral is of {collateral.issued_at:%Y-%m-%d %H:%M} UTC, older than collateral_max_age allows"
        return end(Outcome.UNAVAILABLE, reason, collateral_of=collateral.issued_at.isoformat())
    try:
        platform = dcap.check(evidence.quote.raw, collateral, now, options.root)
    except dcap.NotGenuine as error:
        # Collateral of another time or platform, or that Intel did not sign, shows nothing about the quote.
        unfit = now >= collateral.expires_at or any(words in str(error) for words in _UNFIT)
        outcome = Outcome.UNAVAILABLE if unfit else Outcome.FAIL
        return end(outcome, f"the quote does not verify: {error}", collateral_until=collateral.expires_at.isoformat())
    facts = {
        "tcb_status": platform.status,
        "advisories": list(platform.advisories),
        "collateral_of": collateral.issued_at.isoformat(),
        "collateral_until": collateral.expires_at.isoformat(),
        "root": "Intel's" if options.root is None else "given: " + hashlib.sha256(options.root).hexdigest(),
    }
    if platform.status not in options.statuses:
        advice = f" ({', '.join(platform.advisories)})" if platform.advisories else ""
        reason = f"genuine hardware, but its TCB status is {platform.status}{advice}"
        return end(Outcome.FAIL, reason, **facts)
    return end(Outcome.PASS, f"signed by genuine hardware, TCB status {platform.status}", **facts)


def _os_image(quote: TdxQuote) -> tuple[str, str, str]:
    """What an operating system is known by: RTMR0 is the machine's shape, RTMR3 the application (0g-direct §6.2)."""
    return quote.mr_td.hex(), quote.rtmrs[1].hex(), quote.rtmrs[2].hex()


def system(found: Evidence | MalformedEvidence | Problem, options: AttestationOptions, subject: str) -> LevelResult:
    """Level 3, its other half: the OS image that measured all this is one to believe.

    Whoever starts a system of his own, on genuine hardware, measures what he likes; so without a list of OS images
    nothing is shown, whatever `config` says.
    """
    if (missing := _missing(found, Level.CONFIG, subject)) is not None:
        return missing
    evidence: Any = found
    image = _os_image(evidence.quote)
    facts: dict[str, Any] = {"os_image": list(image)}
    if options.os_images is None:
        reason = (
            "nobody said which OS images to believe (os_images), and on genuine hardware anybody can start one that "
            "measures what he likes"
        )
        return LevelResult(Level.CONFIG, Outcome.UNAVAILABLE, reason, subject, facts)
    if image not in options.os_images:
        reason = "the OS image is not on the list of those accepted"
        return LevelResult(Level.CONFIG, Outcome.FAIL, reason, subject, facts)
    return LevelResult(Level.CONFIG, Outcome.PASS, "the OS image is one of those given", subject, facts)


def config(found: Evidence | MalformedEvidence | Problem, options: AttestationOptions, subject: str) -> LevelResult:
    """Level 3, one half: event log, registers and compose file belong together and to the quote.

    That is what the operating system measured; whether that is to be believed says `system`.
    """
    if (missing := _missing(found, Level.CONFIG, subject)) is not None:
        return missing
    evidence: Any = found
    facts: dict[str, Any] = {}

    def end(outcome: Outcome, reason: str) -> LevelResult:
        return LevelResult(Level.CONFIG, outcome, reason, subject, facts)

    quote, events = evidence.quote, evidence.events
    if evidence.unread:
        reason = f"event log and compose file are in no form that is known here: {evidence.unread}"
        return end(Outcome.UNAVAILABLE, reason)
    if events is None or evidence.app_compose is None:
        return end(Outcome.UNAVAILABLE, "the report holds no event log and compose file in a form that can be checked")
    wrong = [register for register in range(4) if replay(events, register) != quote.rtmrs[register]]
    if wrong:
        return end(Outcome.FAIL, f"the event log does not give the quote's RTMR{wrong[0]}")
    if forged := wrong_digests(events):
        return end(Outcome.FAIL, f"the digest of the event {forged[0]!r} is not that of its content")
    if foreign := foreign_events(events):
        reason = f"register 3 holds the event {foreign[0]!r}, of a type whose meaning is not known"
        return end(Outcome.UNAVAILABLE, reason)
    try:
        measured = compose_hash_of(events)
    except MalformedEvidence as error:
        return end(Outcome.FAIL, str(error))
    shown = hashlib.sha256(evidence.app_compose.encode("utf-8", "surrogatepass")).digest()
    facts |= {"compose_hash": measured.hex(), "events": [event.name for event in events if event.register == 3]}
    if shown != measured:
        return end(Outcome.FAIL, "the compose file shown is not the one that was measured")
    runs = composition_of(evidence.app_compose)
    facts |= {"images": [image.to_dict() for image in runs.images], "loose": list(runs.loose)}
    # dstack's version 1 holds the hash itself, later ones commit to a digest of more (0g-direct §6.2).
    if quote.mr_config_id[0] == 1 and (quote.mr_config_id[1:33] != measured or any(quote.mr_config_id[33:])):
        return end(Outcome.FAIL, "mr_config_id holds another compose hash than the event log")
    if options.compose_hashes is not None and measured.hex() not in options.compose_hashes:
        return end(Outcome.FAIL, f"the compose hash {measured.hex()} is not on the list of those accepted")
    if options.require_pinned and not runs.pinned:
        outcome = Outcome.FAIL if runs.readable else Outcome.UNAVAILABLE
        return end(outcome, f"what runs is not pinned: {runs.loose[0]}")
    if quote.mr_config_id[0] != 1:
        return end(Outcome.UNAVAILABLE, "mr_config_id does not expose the compose hash")
    reason = "the compose file shown is the one that was measured"
    loose = [each for each in runs.images if not each.pinned]
    if loose:
        reason += f"; {len(loose)} of {len(runs.images)} images are not pinned, so their owners can change what runs"
    elif runs.loose:
        reason += f"; what runs is not pinned: {runs.loose[0]}"
    return end(Outcome.PASS, reason)


def graphics(
    found: Evidence | MalformedEvidence | Problem,
    answer: gpu.Answer | Problem | None,
    service: ServiceRecord,
    subject: str,
) -> LevelResult:
    """Level 4: the GPU's evidence, bound to the quote, and NVIDIA's verdict on it."""
    if (missing := _missing(found, Level.GPU, subject)) is not None:
        return missing
    evidence: Any = found

    def end(outcome: Outcome, reason: str, **facts: Any) -> LevelResult:
        return LevelResult(Level.GPU, outcome, reason, subject, facts)

    if service.kind is Kind.TEE_TLS:
        return end(Outcome.NOT_APPLICABLE, "the model runs at a vendor, outside this enclave")
    if evidence.nvidia is None:
        return end(Outcome.UNAVAILABLE, "the report holds no evidence of a GPU")
    if not gpu.bound(evidence):
        return end(Outcome.FAIL, "the GPU's evidence is not bound to this quote: its nonce is another")
    if answer is None or isinstance(answer, Problem):
        reason = f"bound to this quote, but NVIDIA was not asked: {answer or 'it is switched off'}"
        return end(Outcome.UNAVAILABLE, reason)
    if answer.problem:
        return end(Outcome.FAIL if answer.counts else Outcome.UNAVAILABLE, answer.problem, nvidia=answer.claims)
    return end(Outcome.PASS, "NVIDIA vouches for the GPU, bound to this quote", nvidia=answer.claims)
