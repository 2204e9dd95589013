"""A look at everything that a call needs, in that order, without paying (``zerog opengradient doctor``)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.backends.opengradient import challenge as asking
from zg_core.backends.opengradient.attesting import attested
from zg_core.backends.opengradient.funds import funds_of, short_of
from zg_core.backends.opengradient.models import wire_name
from zg_core.backends.opengradient.options import is_local
from zg_core.backends.opengradient.refusals import check_clock, refusal
from zg_core.backends.opengradient.registry import Registry
from zg_core.chain.rpc import JsonRpc
from zg_core.errors import ZeroGError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import encode_body
from zg_core.money import Amount
from zg_core.verify.attestation.report import Level, Outcome

if TYPE_CHECKING:
    from zg_core.backends.opengradient.options import OpenGradient
    from zg_core.backends.opengradient.registry import Enclave
    from zg_core.http.transport import Transport

__all__ = ["Finding", "examine"]

_TIMEOUTS = Timeouts(connect=10.0, read=30.0, whole=60.0)
_MOST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        step: ``"registry"``, ``"enclave"``, ``"attestation"``, ``"challenge"``, ``"policy"``, ``"funds"``.
        subject: What was looked at: an enclave's id, an address.
        outcome: ``"pass"``, ``"fail"``, or ``"unavailable"`` where it could not be looked at.
        said: What was found, in one sentence.
        code: Machine-readable reason of what failed.
    """

    step: str
    subject: str
    outcome: str
    said: str
    code: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


async def examine(
    options: OpenGradient, transport: Transport, urls: tuple[str, str], *, payer: str | None, model: str
) -> list[Finding]:
    """Look at registry, enclaves, attestations, challenges, what may be signed, and funds. Nothing is signed.

    Args:
        options: What is allowed.
        transport: HTTP.
        urls: JSON-RPC endpoints of the registry's chain and of the payment chain.
        payer: Whose funds to look at; None leaves them out.
        model: For which a gateway is asked.
    """
    registry_url, rpc_url = urls
    private = is_local(registry_url)
    listed = Registry(registry_url, options.registry, options.registry_chain_id, transport)
    try:
        active = await listed.active()
    except ZeroGError as error:
        return [_failed("registry", options.registry, error)]
    said = f"{len(active)} enclaves answer, by chain {options.registry_chain_id}"
    found = [Finding("registry", options.registry, "pass" if active else "fail", said, "" if active else "no_enclave")]
    most = 0
    for enclave in active.values():
        looked, asked = await _one(enclave, options, transport, model, private=private)
        found += looked
        most = max(most, asked)
    if payer is not None:
        found.append(await _funds(options, transport, rpc_url, payer, most))
    return found


async def _one(
    enclave: Enclave, options: OpenGradient, transport: Transport, model: str, *, private: bool
) -> tuple[list[Finding], int]:
    pin = hashlib.sha256(enclave.certificate).hexdigest()
    said = f"{enclave.endpoint}, pays {enclave.payment_address}, image {enclave.pcr_hash}"
    found = [Finding("enclave", enclave.tee_id, "pass", said)]
    report = await attested(enclave, options, transport, level=Level.CONFIG, pin=pin, private=private)
    for result in report.results:
        if result.level > Level.CHAIN:
            outcome = "pass" if result.outcome is Outcome.PASS else str(result.outcome)
            name = f"level {int(result.level)}: {result.explanation}"
            found.append(Finding("attestation", enclave.tee_id, outcome, name))
    try:
        challenge = await _challenge(enclave, options, transport, model, pin=pin, private=private)
    except ZeroGError as error:
        return [*found, _failed("challenge", enclave.tee_id, error)], 0
    if challenge is None:
        return [*found, Finding("challenge", enclave.tee_id, "pass", "the gateway asks for no payment")], 0
    first = challenge.terms[0]
    asked = f"{first.scheme}, {Amount(first.amount, 'OPG')} at most, to {first.pay_to}, for {first.lifetime} s"
    found.append(Finding("challenge", enclave.tee_id, "pass", asked))
    try:
        terms = asking.approved(challenge, options, enclave.payment_address)
    except ZeroGError as error:
        return [*found, _failed("policy", enclave.tee_id, error)], 0
    found.append(Finding("policy", enclave.tee_id, "pass", f"it would be signed (cap {options.cap})"))
    return found, terms.amount


async def _challenge(
    enclave: Enclave, options: OpenGradient, transport: Transport, model: str, *, pin: str, private: bool
) -> asking.Challenge | None:
    name = wire_name(model)
    body = encode_body({"model": name, "messages": [{"role": "user", "content": "."}], "max_tokens": 1})
    headers = {"Authorization": "Bearer 0x" + "0" * 40, "Content-Type": "application/json"}
    url = f"{enclave.endpoint}/v1/chat/completions"
    response = await transport.send(Request("POST", url, headers, body, _TIMEOUTS, public=not private, pin=pin))
    try:
        said = await read_all(response, _MOST)
    except BodyBroken:
        said = b""
    if 200 <= response.status < 300:
        return None
    if response.status != 402:
        raise refusal(enclave.tee_id, name, response.status, response.headers, said)
    check_clock(response.headers, options.skew)
    return asking.read(response.headers)


async def _funds(options: OpenGradient, transport: Transport, rpc_url: str, payer: str, most: int) -> Finding:
    try:
        funds = await funds_of(JsonRpc(rpc_url, transport), options.token, options.chain_id, payer)
    except ZeroGError as error:
        return _failed("funds", payer, error)
    said = f"{funds.balance} held, {funds.allowance} approved for payments"
    if most and (short := short_of(funds, most)) is not None:
        return Finding("funds", payer, "fail", f"{said}; a permit needs {Amount(most, 'OPG')}", short.code)
    return Finding("funds", payer, "pass", said)


def _failed(step: str, subject: str, error: ZeroGError) -> Finding:
    return Finding(step, subject, "fail", str(error), error.code)
